//! One connection of a scripted endpoint.

use bytes::Bytes;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::sleep;

use super::{Act, Seen, State};

/// Most bytes of a head, or of a body, that are read.
const MOST: u64 = 64 * 1_048_576;

/// Serves requests until the connection ends or is reset.
pub(super) async fn serve(
    tcp: TcpStream,
    number: u64,
    state: &State,
    mut resets: watch::Receiver<u64>,
) {
    // Small answers of several writes would wait for the peer's delayed acknowledgement.
    let _ = tcp.set_nodelay(true);
    let mut stream = BufReader::new(tcp);
    let is_reset = tokio::select! {
        end = requests(&mut stream, number, state) => end == End::Reset,
        _ = resets.changed() => true,
    };
    if is_reset {
        // Closing with a zero linger sends RST.
        let _ = stream.get_ref().set_zero_linger();
    }
}

#[derive(PartialEq, Eq)]
enum End {
    Closed,
    Reset,
}

async fn requests(stream: &mut BufReader<TcpStream>, number: u64, state: &State) -> End {
    while let Some(mut seen) = read(stream).await {
        seen.connection = number;
        let step = state.take_note(&seen);
        if !step.after.is_zero() {
            sleep(step.after).await;
        }
        let is_last = seen.header("connection").is_some_and(|v| v.eq_ignore_ascii_case("close"));
        let wrote = match step.act {
            Act::Answer { status, headers, body } => {
                let mut bytes = head(status, &headers, body.len());
                if seen.method != "HEAD" && has_body(status) {
                    bytes.extend_from_slice(&body);
                }
                stream.write_all(&bytes).await
            }
            Act::Trickle { status, body, every } => {
                let mut bytes = head(status, &[], body.len());
                bytes.extend_from_slice(&body);
                let mut wrote = Ok(());
                for byte in bytes {
                    sleep(every).await;
                    wrote = stream.write_all(&[byte]).await;
                    if wrote.is_err() {
                        break;
                    }
                }
                wrote
            }
            Act::BreakOff { status, body } => {
                let mut bytes = head(status, &[], body.len());
                bytes.extend_from_slice(&body[..body.len() / 2]);
                let _ = stream.write_all(&bytes).await;
                return End::Reset;
            }
            Act::Raw(bytes) => stream.write_all(&bytes).await,
            Act::RawThenClose(bytes) => {
                let _ = stream.write_all(&bytes).await;
                return End::Closed;
            }
            Act::Endless { head, piece } => {
                let _ = stream.write_all(&head).await;
                while stream.write_all(&piece).await.is_ok() {}
                return End::Closed;
            }
            Act::Reset => return End::Reset,
            Act::Close => return End::Closed,
            Act::HalfClose => {
                let _ = stream.shutdown().await;
                until_gone(stream).await;
                return End::Closed;
            }
            Act::Stall => {
                until_gone(stream).await;
                return End::Closed;
            }
        };
        if wrote.is_err() || is_last {
            break;
        }
    }
    End::Closed
}

async fn until_gone(stream: &mut BufReader<TcpStream>) {
    let mut bytes = [0; 4096];
    while let Ok(1..) = stream.read(&mut bytes).await {}
}

const fn has_body(status: u16) -> bool {
    !matches!(status, 100..=199 | 204 | 304)
}

fn head(status: u16, headers: &[(String, String)], length: usize) -> Vec<u8> {
    let mut head = format!("HTTP/1.1 {status} Scripted\r\n");
    if has_body(status) {
        head.push_str(&format!("content-length: {length}\r\n"));
    }
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str("\r\n");
    head.into_bytes()
}

/// Reads one request; `None` when the caller has gone or speaks no HTTP/1.
async fn read(stream: &mut BufReader<TcpStream>) -> Option<Seen> {
    let mut seen = Seen::default();
    let line = read_line(stream).await?;
    let mut words = line.split(' ');
    seen.method = words.next()?.to_owned();
    seen.path = words.next()?.to_owned();
    loop {
        let line = read_line(stream).await?;
        if line.is_empty() {
            break;
        }
        let (name, value) = line.split_once(':')?;
        seen.headers.push((name.trim().to_ascii_lowercase(), value.trim().to_owned()));
    }
    if seen.header("expect").is_some_and(|v| v.eq_ignore_ascii_case("100-continue")) {
        stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").await.ok()?;
    }
    let is_chunked = seen
        .header("transfer-encoding")
        .is_some_and(|value| value.to_ascii_lowercase().contains("chunked"));
    seen.body = if is_chunked {
        read_chunks(stream).await?
    } else {
        let length = seen.header("content-length").map_or(Some(0), |v| v.parse().ok())?;
        read_exactly(stream, length).await?.into()
    };
    Some(seen)
}

async fn read_line(stream: &mut BufReader<TcpStream>) -> Option<String> {
    let mut line = Vec::new();
    let read = stream.take(MOST).read_until(b'\n', &mut line).await.ok()?;
    if read == 0 || line.pop() != Some(b'\n') {
        return None;
    }
    if line.last() == Some(&b'\r') {
        line.pop();
    }
    Some(String::from_utf8_lossy(&line).into_owned())
}

async fn read_exactly(stream: &mut BufReader<TcpStream>, length: u64) -> Option<Vec<u8>> {
    if length > MOST {
        return None;
    }
    let mut bytes = Vec::new();
    let read = stream.take(length).read_to_end(&mut bytes).await.ok()?;
    (read as u64 == length).then_some(bytes)
}

async fn read_chunks(stream: &mut BufReader<TcpStream>) -> Option<Bytes> {
    let mut body = Vec::new();
    loop {
        let line = read_line(stream).await?;
        let size = u64::from_str_radix(line.split(';').next()?.trim(), 16).ok()?;
        if size == 0 {
            while !read_line(stream).await?.is_empty() {}
            return Some(body.into());
        }
        body.extend_from_slice(&read_exactly(stream, size).await?);
        if body.len() as u64 > MOST || !read_line(stream).await?.is_empty() {
            return None;
        }
    }
}
