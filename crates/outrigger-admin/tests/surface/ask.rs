//! A client that sends what it is told, byte by byte.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// An answer, read to its end.
#[derive(Debug, Default)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    headers: Vec<(String, String)>,
    pub(crate) body: String,
}

impl Answer {
    fn of(text: &str) -> Self {
        let (head, body) = text.split_once("\r\n\r\n").expect("a head");
        let mut lines = head.lines();
        let status = lines.next().and_then(|line| line.split(' ').nth(1)).expect("a status line");
        let headers = lines.filter_map(|line| line.split_once(": "));
        Self {
            status: status.parse().expect("a number"),
            headers: headers.map(|(n, v)| (n.to_lowercase(), v.to_owned())).collect(),
            body: body.to_owned(),
        }
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| &**value)
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).expect("JSON")
    }
}

pub(crate) async fn get(address: SocketAddr, path: &str) -> Answer {
    ask(address, "GET", path, &[]).await
}

/// Asks under the address itself, unless another `host` is among the headers.
pub(crate) async fn ask(
    address: SocketAddr,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
) -> Answer {
    let mut stream = send(address, method, path, headers, "close").await;
    let mut text = String::new();
    stream.read_to_string(&mut text).await.expect("a text");
    Answer::of(&text)
}

async fn send(
    address: SocketAddr,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    connection: &str,
) -> TcpStream {
    let mut head = format!("{method} {path} HTTP/1.1\r\nconnection: {connection}\r\n");
    if !headers.iter().any(|(name, _)| *name == "host") {
        head.push_str(&format!("host: {address}\r\n"));
    }
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str("\r\n");
    let mut stream = TcpStream::connect(address).await.expect("it listens");
    stream.write_all(head.as_bytes()).await.expect("sent");
    stream
}

/// A stream of events, as it comes.
#[derive(Debug)]
pub(crate) struct Listening {
    pub(crate) head: Answer,
    stream: TcpStream,
    seen: String,
}

pub(crate) async fn listen(address: SocketAddr, last: Option<&str>) -> Listening {
    let headers: Vec<_> = last.map(|last| ("last-event-id", last)).into_iter().collect();
    let stream = send(address, "GET", "/api/v1/events", &headers, "keep-alive").await;
    let mut listening = Listening { head: Answer::default(), stream, seen: String::new() };
    let text = listening.until("\r\n\r\n").await;
    listening.head = Answer::of(&text);
    listening
}

impl Listening {
    /// Everything up to and with a text, and what came with it.
    pub(crate) async fn until(&mut self, wanted: &str) -> String {
        while !self.seen.contains(wanted) {
            let mut piece = [0; 4096];
            let read = self.stream.read(&mut piece).await.expect("it is open");
            assert_ne!(read, 0, "the stream ended before {wanted:?}: {}", self.seen);
            self.seen.push_str(std::str::from_utf8(&piece[..read]).expect("text"));
        }
        let end = self.seen.find(wanted).expect("just seen") + wanted.len();
        // The rest of the line's message is wanted too, but for a head.
        let end = if wanted == "\r\n\r\n" { end } else { self.seen.len() };
        self.seen.drain(..end).collect()
    }

    /// What comes before the stream ends, without the marks of pieces.
    pub(crate) async fn rest(mut self) -> String {
        let mut rest = Vec::new();
        self.stream.read_to_end(&mut rest).await.expect("it ends in order");
        let rest = String::from_utf8(rest).expect("text");
        rest.trim_matches(['0', '\r', '\n']).to_owned()
    }
}
