//! An agent that answers byte for byte.

use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

/// Most bytes of a question that are read.
const LONGEST: usize = 1 << 20;

/// One question, as far as it matters here.
pub(super) struct Question {
    /// Path and query.
    pub(super) target: String,
}

impl Question {
    /// The index it waits on; 0 when it does not wait.
    pub(super) fn index(&self) -> u64 {
        let query = self.target.split_once('?').map_or("", |(_, query)| query);
        let index = query.split('&').find_map(|pair| pair.strip_prefix("index="));
        index.and_then(|index| index.parse().ok()).unwrap_or(0)
    }
}

/// What is done about a question.
#[derive(Clone)]
pub(super) enum Act {
    /// Writes these bytes and keeps the connection.
    Answer(Vec<u8>),
    /// Writes these bytes and closes.
    AnswerAndClose(Vec<u8>),
    /// Writes this head, and then the same piece for ever.
    Endless(Vec<u8>, Vec<u8>),
    /// Writes one byte after each pause.
    Trickle(Vec<u8>, Duration),
    /// Never answers.
    Hang,
    /// Answers after a pause.
    Later(Duration, Vec<u8>),
    /// Closes with a reset.
    Reset,
}

/// Decides what is done about a question.
pub(super) type Script = dyn Fn(&Question) -> Act + Send + Sync;

/// Serves until it is dropped, and all connections with it.
pub(super) async fn serve(listener: TcpListener, script: Arc<Script>) {
    let mut running = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        // Those that have ended are forgotten.
        while running.try_join_next().is_some() {}
        let script = Arc::clone(&script);
        running.spawn(async move { converse(stream, &*script).await });
    }
}

async fn converse(mut stream: TcpStream, script: &Script) {
    let mut buffer = Vec::new();
    while let Some(question) = read(&mut stream, &mut buffer).await {
        let written = match script(&question) {
            Act::Answer(bytes) => stream.write_all(&bytes).await.is_ok(),
            Act::AnswerAndClose(bytes) => {
                // Whether the client still listens is its affair.
                let _written = stream.write_all(&bytes).await;
                false
            }
            Act::Endless(head, piece) => {
                let mut written = stream.write_all(&head).await;
                while written.is_ok() {
                    written = stream.write_all(&piece).await;
                }
                false
            }
            Act::Trickle(bytes, pause) => trickle(&mut stream, &bytes, pause).await,
            Act::Later(pause, bytes) => {
                // A question that is given up is not answered: as the real agent, look at both.
                let mut one = [0];
                tokio::select! {
                    () = tokio::time::sleep(pause) => stream.write_all(&bytes).await.is_ok(),
                    _ = stream.read(&mut one) => false,
                }
            }
            Act::Hang => {
                let mut rest = Vec::new();
                let _until_it_ends = stream.read_to_end(&mut rest).await;
                false
            }
            Act::Reset => {
                // Where that cannot be set it is a plain close, which is as hostile.
                let _reset = stream.set_zero_linger();
                false
            }
        };
        if !written {
            return;
        }
    }
}

async fn trickle(stream: &mut TcpStream, bytes: &[u8], pause: Duration) -> bool {
    for byte in bytes {
        if stream.write_all(&[*byte]).await.is_err() {
            return false;
        }
        tokio::time::sleep(pause).await;
    }
    true
}

async fn read(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> Option<Question> {
    let end = loop {
        if let Some(end) = buffer.windows(4).position(|four| four == b"\r\n\r\n") {
            break end + 4;
        }
        if buffer.len() > LONGEST || stream.read_buf(buffer).await.ok()? == 0 {
            return None;
        }
    };
    let head = String::from_utf8_lossy(&buffer[..end]).into_owned();
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        let named = name.eq_ignore_ascii_case("content-length");
        if named { value.trim().parse::<usize>().ok() } else { None }
    });
    let end = end + length.unwrap_or(0).min(LONGEST);
    while buffer.len() < end {
        if stream.read_buf(buffer).await.ok()? == 0 {
            return None;
        }
    }
    buffer.drain(..end);
    let target = head.split(' ').nth(1).unwrap_or_default().to_owned();
    Some(Question { target })
}

/// A whole answer with an index.
pub(super) fn ok(index: u64, body: &str) -> Vec<u8> {
    answer("200 OK", &[("X-Consul-Index", &index.to_string())], body.as_bytes())
}

/// A whole answer.
pub(super) fn answer(status: &str, headers: &[(&str, &str)], body: &[u8]) -> Vec<u8> {
    let mut head = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n", body.len());
    for (name, value) in headers {
        head.push_str(name);
        head.push_str(": ");
        head.push_str(value);
        head.push_str("\r\n");
    }
    let mut whole = (head + "\r\n").into_bytes();
    whole.extend_from_slice(body);
    whole
}

/// One entry of a service's health.
pub(super) fn entry(service: &str, address: &str, port: &str) -> String {
    format!(
        r#"{{"Node":{{"Node":"n1","Address":"","Datacenter":"dc1"}},"Service":{{"ID":"{service}-{port}","Service":"{service}","Tags":["rust"],"Address":"{address}","Meta":{{"version":"1.0.0"}},"Port":{port},"Weights":{{"Passing":1,"Warning":1}}}},"Checks":[{{"Status":"passing"}}]}}"#
    )
}
