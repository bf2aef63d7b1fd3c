//! A client just large enough for these tests.

use std::io;
use std::time::Duration;

use outrigger_dev::{Agent, Builder};
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// Longer than anything takes that is not stuck.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) async fn start(builder: Builder) -> Agent {
    builder.bind(([127, 0, 0, 1], 0).into()).await.expect("the agent starts")
}

/// Sends a request on its own connection; status and body come back.
pub(crate) async fn ask(
    agent: &Agent,
    method: &str,
    path: &str,
    body: &str,
) -> io::Result<(u16, String)> {
    let mut socket = TcpStream::connect(agent.address()).await?;
    let length = body.len();
    // In one piece: a second small write would wait for the acknowledgement of the first.
    let request = format!(
        "{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}"
    );
    socket.write_all(request.as_bytes()).await?;
    let mut all = Vec::new();
    socket.read_to_end(&mut all).await?;
    let text = String::from_utf8_lossy(&all).into_owned();
    let status = text.split(' ').nth(1).and_then(|s| s.parse().ok());
    let body = text.split_once("\r\n\r\n").map(|(_, body)| body.to_owned());
    status.zip(body).ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
}

pub(crate) async fn get(agent: &Agent, path: &str) -> Value {
    let (status, body) = ask(agent, "GET", path, "").await.expect("an answer");
    assert_eq!(status, 200, "{path}: {body}");
    serde_json::from_str(&body).expect("JSON")
}

pub(crate) async fn put(agent: &Agent, path: &str, body: &Value) {
    let body = if body.is_null() { String::new() } else { body.to_string() };
    let (status, text) = ask(agent, "PUT", path, &body).await.expect("an answer");
    assert_eq!(status, 200, "{path}: {text}");
}

/// Waits, by blocking queries, until a service looks as wanted.
pub(crate) async fn until(agent: &Agent, path: &str, wanted: impl Fn(&Value) -> bool) -> Value {
    let wait = async {
        loop {
            let value = get(agent, path).await;
            if wanted(&value) {
                return value;
            }
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, wait).await.expect("the condition comes true")
}
