//! The endpoint behind: it reads what comes to the letter, and counts.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

/// What an endpoint has seen, in whole requests.
#[derive(Clone, Debug, Default)]
pub(crate) struct Seen(Arc<Mutex<Vec<String>>>);

impl Seen {
    /// Their request lines, since this was asked the last time.
    pub(crate) fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().expect("not poisoned"))
    }
}

pub(crate) async fn start() -> (SocketAddr, Seen) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback has a free port");
    let address = listener.local_addr().expect("bound");
    let seen = Seen::default();
    let shared = seen.clone();
    tokio::spawn(async move {
        while let Ok((tcp, _)) = listener.accept().await {
            tokio::spawn(serve(tcp, shared.clone()));
        }
    });
    (address, seen)
}

async fn serve(tcp: TcpStream, seen: Seen) {
    let _ = tcp.set_nodelay(true);
    let mut tcp = BufReader::new(tcp);
    while let Some(line) = request(&mut tcp).await {
        let body = if line.starts_with("HEAD") { String::new() } else { line.clone() };
        seen.0.lock().expect("not poisoned").push(line);
        let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len());
        if tcp.get_mut().write_all(answer.as_bytes()).await.is_err() {
            return;
        }
    }
}

/// Reads one request to its end; gives back `METHOD target`.
async fn request(tcp: &mut BufReader<TcpStream>) -> Option<String> {
    let first = line(tcp).await?;
    let (mut length, mut is_chunked) = (0, false);
    loop {
        let line = line(tcp).await?;
        if line.is_empty() {
            break;
        }
        let (name, value) = line.split_once(':')?;
        match &*name.to_ascii_lowercase() {
            "content-length" => length = value.trim().parse().ok()?,
            "transfer-encoding" => is_chunked = true,
            _ => {}
        }
    }
    // What other proxies let through must not end this one.
    if length > 1 << 20 {
        return None;
    }
    if is_chunked {
        loop {
            let size = usize::from_str_radix(&line(tcp).await?, 16).ok()?;
            if size == 0 {
                while !line(tcp).await?.is_empty() {}
                break;
            }
            tcp.read_exact(&mut vec![0; size + 2]).await.ok()?;
        }
    } else {
        tcp.read_exact(&mut vec![0; length]).await.ok()?;
    }
    Some(first.rsplit_once(' ')?.0.to_owned())
}

async fn line(tcp: &mut BufReader<TcpStream>) -> Option<String> {
    let mut line = Vec::new();
    while !line.ends_with(b"\r\n") {
        line.push(tcp.read_u8().await.ok()?);
    }
    line.truncate(line.len() - 2);
    Some(String::from_utf8_lossy(&line).into_owned())
}
