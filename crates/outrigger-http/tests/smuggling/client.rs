//! A client of HTTP/1.1 that says what it is told to, and judges what comes of it.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::corpus::{self, Case};

/// What came of one payload.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    pub(crate) statuses: Vec<u16>,
    /// Of the last answer.
    pub(crate) last_head: String,
    pub(crate) is_canary_answered: bool,
    /// The connection ended by itself, within the time.
    pub(crate) is_closed: bool,
}

const CANARY: &str = "GET /canary HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
pub(crate) const PATIENCE: Duration = Duration::from_secs(5);

/// Sends one payload, and behind as many answers as are `expected` a request that shows whether the
/// connection is still in step.
pub(crate) async fn ask(
    address: SocketAddr,
    payload: &[u8],
    expected: usize,
    patience: Duration,
) -> Outcome {
    let mut tcp = TcpStream::connect(address).await.expect("it listens");
    let (mut from, mut to) = tcp.split();
    let (tell, told) = tokio::sync::oneshot::channel();
    let saying = async {
        // A server that refuses early may have closed.
        let _ = to.write_all(payload).await;
        let _ = told.await;
        let _ = to.write_all(CANARY.as_bytes()).await;
    };
    let hearing = async {
        let mut heard = Vec::new();
        let mut tell = Some(tell);
        let mut is_closed = false;
        loop {
            if answers(&heard).len() >= expected
                && let Some(tell) = tell.take()
            {
                let _ = tell.send(());
            }
            let mut part = [0; 16_384];
            match timeout(patience, from.read(&mut part)).await {
                Ok(Ok(0) | Err(_)) => {
                    is_closed = true;
                    break;
                }
                Ok(Ok(read)) => heard.extend_from_slice(&part[..read]),
                Err(_) => break,
            }
        }
        drop(tell);
        (heard, is_closed)
    };
    let ((heard, is_closed), ()) = tokio::join!(hearing, saying);
    let answers = answers(&heard);
    let is_canary = |(_, _, body): &&(u16, String, String)| body.starts_with("GET /canary");
    Outcome {
        statuses: answers
            .iter()
            .filter(|answer| !is_canary(answer))
            .map(|(status, ..)| *status)
            .collect(),
        last_head: answers.last().map(|(_, head, _)| head.clone()).unwrap_or_default(),
        is_canary_answered: answers.iter().any(|answer| is_canary(&answer)),
        is_closed,
    }
}

/// Splits what was heard into (status, head, body); 1xx are passed over.
fn answers(heard: &[u8]) -> Vec<(u16, String, String)> {
    let mut answers = Vec::new();
    let mut rest = heard;
    while let Some(end) = rest.windows(4).position(|four| four == b"\r\n\r\n") {
        let head = String::from_utf8_lossy(&rest[..end + 4]).to_ascii_lowercase();
        rest = &rest[end + 4..];
        let status = head.get(9..12).and_then(|digits| digits.parse().ok()).unwrap_or(0);
        if (100..200).contains(&status) {
            continue;
        }
        let mut body = Vec::new();
        if let Some(length) = head.split("content-length: ").nth(1) {
            let length: usize =
                length.split("\r\n").next().and_then(|digits| digits.parse().ok()).unwrap_or(0);
            if rest.len() < length {
                break;
            }
            body.extend_from_slice(&rest[..length]);
            rest = &rest[length..];
        } else if head.contains("transfer-encoding: chunked") {
            let Some(end) = rest.windows(5).position(|five| five == b"0\r\n\r\n") else { break };
            body.extend_from_slice(&rest[..end]);
            rest = &rest[end + 5..];
        }
        answers.push((status, head, String::from_utf8_lossy(&body).into_owned()));
    }
    answers
}

/// `ok N`, `ok N then S` or `S`, as (answered, refused with).
pub(crate) fn expected(case: &Case) -> (usize, Option<u16>) {
    let words: Vec<_> = case.verdict.split(' ').collect();
    match words[..] {
        ["ok", answered] => (answered.parse().expect("a number"), None),
        ["ok", answered, "then", status] => {
            (answered.parse().expect("a number"), Some(status.parse().expect("a status")))
        }
        ["closed"] => (0, None),
        [status] => (0, Some(status.parse().expect("a status"))),
        _ => panic!("no verdict: {}", case.verdict),
    }
}

/// Says what is wrong, if anything is.
pub(crate) fn judge(case: &Case, outcome: &Outcome, seen: &[String]) -> Result<(), String> {
    let (answered, refused) = expected(case);
    let mut wanted = vec![200; answered];
    wanted.extend(refused);
    if outcome.statuses != wanted {
        return Err(format!("answered {:?}, not {wanted:?}", outcome.statuses));
    }
    if !outcome.is_closed {
        return Err("the connection hangs".to_owned());
    }
    if refused.is_some() {
        for part in ["x-outrigger-reason: bad_request\r\n", "connection: close\r\n"] {
            if !outcome.last_head.contains(part) {
                return Err(format!("no {part:?} in {:?}", outcome.last_head));
            }
        }
        if outcome.is_canary_answered {
            return Err("what follows a refusal was answered".to_owned());
        }
    }
    let whole = answered + usize::from(outcome.is_canary_answered);
    if seen.len() != whole || seen.iter().any(|line| line.contains("smuggled")) {
        return Err(format!("{whole} were answered, the endpoint saw {seen:?}"));
    }
    Ok(())
}

pub(crate) fn cases() -> Vec<Case> {
    corpus::cases(include_str!("../corpus/http1.txt"))
}
