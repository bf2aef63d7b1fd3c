//! HTTP/2, frame by frame.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::corpus::{self, Case};
use crate::{endpoint, proxy};

/// What came of one payload.
#[derive(Debug, Default)]
struct Outcome {
    statuses: Vec<u16>,
    is_reset: bool,
    is_goaway: bool,
    is_canary_answered: bool,
}

const PATIENCE: Duration = Duration::from_secs(5);
const CANARY: u32 = 201;

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("not that long").to_be_bytes();
    let mut frame = vec![length[1], length[2], length[3], kind, flags];
    frame.extend_from_slice(&stream.to_be_bytes());
    frame.extend_from_slice(payload);
    frame
}

/// An HPACK string, not compressed.
fn string(text: &[u8]) -> Vec<u8> {
    let mut encoded = Vec::new();
    if text.len() < 127 {
        encoded.push(text.len() as u8);
    } else {
        encoded.push(127);
        let mut rest = text.len() - 127;
        while rest >= 128 {
            encoded.push(rest as u8 | 128);
            rest >>= 7;
        }
        encoded.push(rest as u8);
    }
    encoded.extend_from_slice(text);
    encoded
}

/// Fields as literals that nobody keeps.
fn block(fields: &[&str]) -> Vec<u8> {
    let mut block = Vec::new();
    for field in fields {
        // A name may begin with a colon, or be empty.
        let colon = match field.strip_prefix(": ") {
            Some(_) => 0,
            None => 1 + field[1..].find(": ").expect("name: value"),
        };
        block.push(0);
        block.extend(string(&corpus::unescape(&field[..colon])));
        block.extend(string(&corpus::unescape(&field[colon + 2..])));
    }
    block
}

fn hex(text: &str) -> Vec<u8> {
    let digit = |at| u8::from_str_radix(&text[at..at + 2], 16).expect("two digits");
    (0..text.len()).step_by(2).map(digit).collect()
}

fn read_line(line: &str) -> Vec<u8> {
    let line = corpus::repeat(line);
    let (head, rest) = line.split_once(" |").expect("a frame and what is in it");
    let rest = rest.strip_prefix(' ').unwrap_or(rest);
    let words: Vec<_> = head.split(' ').collect();
    let [name, stream, flags] = words[..] else { panic!("no frame: {line}") };
    let stream = stream.parse().expect("a stream");
    let flags = flags.split('+').fold(0, |flags, flag| {
        flags
            | match flag {
                "end" | "ack" => 1,
                "head" => 4,
                "pad" => 8,
                "-" => 0,
                other => panic!("no flag: {other}"),
            }
    });
    match name {
        "HEADERS" | "CONTINUATION" => {
            let fields: Vec<_> = rest.split(" | ").collect();
            frame(if name == "HEADERS" { 1 } else { 9 }, flags, stream, &block(&fields))
        }
        "DATA" => frame(0, flags, stream, &corpus::unescape(rest)),
        _ => {
            let kind = match name {
                "PRIORITY" => 2,
                "RST" => 3,
                "SETTINGS" => 4,
                "PUSH" => 5,
                "PING" => 6,
                "WINDOW" => 8,
                _ => u8::from_str_radix(name.strip_prefix('X').expect("a frame"), 16).expect("hex"),
            };
            frame(kind, flags, stream, &hex(rest.trim()))
        }
    }
}

/// The status of a header block, of which it is the first field.
fn status(mut block: &[u8]) -> u16 {
    // Changes of the table's size.
    while let [first, rest @ ..] = block
        && first & 0xe0 == 0x20
    {
        block = rest;
    }
    match block {
        [first @ 0x88..=0x8e, ..] => [200, 204, 206, 304, 400, 404, 500][usize::from(first - 0x88)],
        [0x48 | 0x08 | 0x18, length, rest @ ..] if length & 0x80 == 0 => {
            let digits = &rest[..usize::from(*length)];
            std::str::from_utf8(digits).ok().and_then(|text| text.parse().ok()).unwrap_or(0)
        }
        [0x48 | 0x08 | 0x18, length, rest @ ..] => huffman(&rest[..usize::from(length & 0x7f)]),
        _ => 0,
    }
}

/// Three digits in HPACK's code: `0`, `1` and `2` have five bits, the others six.
fn huffman(bytes: &[u8]) -> u16 {
    let bits: Vec<u8> =
        bytes.iter().flat_map(|byte| (0..8).rev().map(move |at| byte >> at & 1)).collect();
    let value = |from: usize, count: usize| {
        bits.get(from..from + count).map_or(0xff, |bits| bits.iter().fold(0, |v, b| v << 1 | b))
    };
    let (mut at, mut number) = (0, 0);
    for _ in 0..3 {
        let five = value(at, 5);
        if five < 3 {
            number = number * 10 + u16::from(five);
            at += 5;
        } else {
            number = number * 10 + u16::from(value(at, 6).wrapping_sub(0b01_1001)) + 3;
            at += 6;
        }
    }
    number
}

async fn ask(address: SocketAddr, payload: &[u8], is_over: impl Fn(&Outcome) -> bool) -> Outcome {
    let mut tcp = TcpStream::connect(address).await.expect("it listens");
    tcp.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await.expect("sent");
    tcp.write_all(&frame(4, 0, 0, &[])).await.expect("sent");
    let _ = tcp.write_all(payload).await;
    let mut outcome = Outcome::default();
    let mut has_canary = false;
    loop {
        if !has_canary && is_over(&outcome) && !outcome.is_goaway {
            has_canary = true;
            let fields = [":method: GET", ":scheme: http", ":path: /canary", ":authority: a"];
            let _ = tcp.write_all(&frame(1, 5, CANARY, &block(&fields))).await;
        }
        let mut head = [0; 9];
        match timeout(PATIENCE, tcp.read_exact(&mut head)).await {
            Ok(Ok(_)) => {}
            Ok(Err(_)) => {
                // Closed without a goodbye, which a refusal of the whole connection may be.
                outcome.is_goaway = true;
                return outcome;
            }
            Err(_) => return outcome,
        }
        let length = usize::from(head[0]) << 16 | usize::from(head[1]) << 8 | usize::from(head[2]);
        let mut payload = vec![0; length];
        if tcp.read_exact(&mut payload).await.is_err() {
            outcome.is_goaway = true;
            return outcome;
        }
        let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
        match head[3] {
            1 if stream == CANARY => {
                outcome.is_canary_answered = status(&payload) == 200;
                return outcome;
            }
            1 => outcome.statuses.push(status(&payload)),
            3 => outcome.is_reset = true,
            4 if head[4] & 1 == 0 => drop(tcp.write_all(&frame(4, 1, 0, &[])).await),
            6 if head[4] & 1 == 0 => drop(tcp.write_all(&frame(6, 1, 0, &payload)).await),
            // The first half of a graceful end says no error.
            7 if payload[4..8] != [0; 4] => outcome.is_goaway = true,
            _ => {}
        }
        if outcome.is_goaway {
            // What else is said before the end does not matter.
            return outcome;
        }
    }
}

fn holds(verdict: &str, outcome: &Outcome) -> bool {
    match verdict.split_once(' ') {
        Some(("ok", answered)) => {
            let answered: usize = answered.parse().expect("a number");
            outcome.statuses == vec![200; answered]
        }
        _ => match verdict {
            "reset" => outcome.is_reset && outcome.statuses.is_empty(),
            "goaway" => outcome.is_goaway && outcome.statuses.iter().all(|status| *status == 200),
            status => outcome.statuses == [status.parse::<u16>().expect("a status")],
        },
    }
}

fn judge(case: &Case, outcome: &Outcome, seen: &[String]) -> Result<(), String> {
    if !case.verdict.split('|').any(|verdict| holds(verdict, outcome)) {
        return Err(format!("{outcome:?} is not {}", case.verdict));
    }
    if !outcome.is_goaway && !outcome.is_canary_answered {
        return Err(format!("the connection is out of step: {outcome:?}"));
    }
    let answered = outcome.statuses.iter().filter(|status| **status == 200).count()
        + usize::from(outcome.is_canary_answered);
    // What ends at its head may have been forwarded before the frame came that broke it.
    let most = answered + usize::from(outcome.is_reset || outcome.is_goaway);
    let is_count_right = (answered..=most).contains(&seen.len());
    if !is_count_right || seen.iter().any(|line| line.contains("smuggled")) {
        return Err(format!("{answered} were answered, the endpoint saw {seen:?}"));
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_payload_over_http2_makes_two_readers_disagree() {
    let (to, seen) = endpoint::start().await;
    let address = proxy::start(to).await;
    let cases = corpus::cases(include_str!("../corpus/http2.txt"));
    let (mut wrong, mut refused) = (Vec::new(), 0);
    for case in &cases {
        let payload: Vec<u8> = case.lines.iter().flat_map(|line| read_line(line)).collect();
        let is_over = |outcome: &Outcome| {
            outcome.is_goaway || case.verdict.split('|').any(|verdict| holds(verdict, outcome))
        };
        let outcome = ask(address, &payload, is_over).await;
        refused += usize::from(!case.verdict.starts_with("ok"));
        if let Err(why) = judge(case, &outcome, &seen.take()) {
            wrong.push(format!("{}: {why}", case.title));
        }
    }
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
    println!(
        "promise 41: {} payloads over HTTP/2: {refused} refused by 400, 431, RST_STREAM or GOAWAY, \
         the endpoint saw just what was answered, 0 disagreed",
        cases.len()
    );
}
