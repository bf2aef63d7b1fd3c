//! The start gate: nobody is told of an application before it takes connections and is well.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

use super::Say;
use crate::child::{Listening, Processes, listening};

/// How long a program may take to listen, and to be well, before that is said. It is waited for
/// all the same.
pub const START_LIMIT: Duration = Duration::from_secs(30);

/// How long one attempt to connect, or one question, may take.
const PATIENCE: Duration = Duration::from_secs(2);

/// What is waited for.
#[derive(Clone, Debug)]
pub(super) struct Gate {
    pub(super) port: u16,
    pub(super) health: Option<String>,
    /// The program's first process.
    pub(super) pid: i32,
    pub(super) adopts: bool,
    pub(super) limit: Duration,
}

impl Gate {
    /// Waits until the application takes connections and is well. Says what is wrong meanwhile.
    pub(super) async fn pass(&self, say: &Say) {
        let mut waited = Waited::new(self.limit);
        let mut told = Told::default();
        while !accepts(self.port).await {
            if waited.is_second() {
                let processes = Processes::of(self.pid, self.adopts);
                if let Some(text) = told.elsewhere(listening(&processes).as_ref(), self.port) {
                    say(&text);
                }
            }
            if let Some(so_long) = waited.step().await {
                say(&format!(
                    "the program does not listen on port {} after {so_long}s; still waiting, and \
                     announcing nothing (PORT in its environment says where to listen)",
                    self.port
                ));
            }
        }
        let Some(path) = &self.health else { return };
        let mut waited = Waited::new(self.limit);
        loop {
            let answer = ask(self.port, path).await;
            if matches!(answer, Some(200..=299)) {
                return;
            }
            if let Some(so_long) = waited.step().await {
                let answer = match answer {
                    Some(status) => format!("answers {status}"),
                    None => "does not answer".to_owned(),
                };
                say(&format!(
                    "{path} of the program {answer} after {so_long}s; still waiting, and \
                     announcing nothing (another path: --health PATH)"
                ));
            }
        }
    }
}

/// How long something has been waited for, and when that is worth a word: at the limit, at twice
/// that, and so on.
struct Waited {
    so_far: Duration,
    next: Duration,
}

impl Waited {
    const fn new(limit: Duration) -> Self {
        Self { so_far: Duration::ZERO, next: limit }
    }

    /// Whether a second or more has passed: before that, everything starts.
    fn is_second(&self) -> bool {
        self.so_far >= Duration::from_secs(1)
    }

    /// Waits for a moment, longer later on; the seconds so far when a word is due.
    async fn step(&mut self) -> Option<u64> {
        let step = match self.so_far.as_secs() {
            0..2 => Duration::from_millis(20),
            2..10 => Duration::from_millis(100),
            _ => Duration::from_millis(250),
        };
        sleep(step).await;
        self.so_far += step;
        if self.so_far < self.next {
            return None;
        }
        self.next = self.so_far * 2;
        Some(self.so_far.as_secs())
    }
}

/// What was said about where the program listens.
#[derive(Debug, Default)]
struct Told(Option<String>);

impl Told {
    /// Something new to say about a program that listens, and not where it was told to.
    fn elsewhere(&mut self, listening: Option<&Listening>, port: u16) -> Option<String> {
        let found = listening?;
        if found.addresses.is_empty() || found.reaches(port) {
            return None;
        }
        let list: Vec<String> = found.addresses.iter().map(ToString::to_string).collect();
        let list = list.join(", ");
        let advice = match found.addresses.iter().find(|address| address.port() == port) {
            Some(_) => "let it listen on 127.0.0.1, or on all addresses".to_owned(),
            None => match found.addresses.first() {
                Some(first) if found.addresses.len() == 1 => {
                    format!("let it read PORT, or tell its port: --port {}", first.port())
                }
                _ => "let it read PORT, or tell its port: --port N".to_owned(),
            },
        };
        let text = format!(
            "the program listens on {list}, and not on 127.0.0.1:{port}: nobody will be told of \
             it; {advice}"
        );
        if self.0.as_ref() == Some(&text) {
            return None;
        }
        self.0 = Some(text.clone());
        Some(text)
    }
}

/// Whether somebody takes connections on a port of this machine.
pub(super) async fn accepts(port: u16) -> bool {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    match timeout(PATIENCE, TcpStream::connect(address)).await {
        // TCP lets a socket connect to itself, when the system picks this very port for it.
        Ok(Ok(stream)) => stream.local_addr().is_ok_and(|own| own != address),
        _ => false,
    }
}

/// The status that a path answers with.
async fn ask(port: u16, path: &str) -> Option<u16> {
    let asking = async {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.ok()?;
        let head = format!(
            "GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUser-Agent: outrigger\r\n\
             Connection: close\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).await.ok()?;
        let mut line = Vec::new();
        // The status line is all that matters: `HTTP/1.1 200 OK`.
        while !line.contains(&b'\n') && line.len() < 1_024 {
            if stream.read_buf(&mut line).await.ok()? == 0 {
                break;
            }
        }
        let line = String::from_utf8_lossy(&line).into_owned();
        let mut words = line.split_whitespace();
        words.next().filter(|version| version.starts_with("HTTP/1."))?;
        words.next()?.parse().ok()
    };
    timeout(PATIENCE, asking).await.ok().flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listening(addresses: &[&str]) -> Listening {
        let addresses = addresses.iter().map(|a| a.parse().expect("an address")).collect();
        Listening { addresses }
    }

    #[test]
    fn another_port_is_named_once_with_what_to_do() {
        let mut told = Told::default();
        let found = listening(&["0.0.0.0:8000"]);
        let text = told.elsewhere(Some(&found), 8080).expect("said");
        assert!(text.contains("0.0.0.0:8000") && text.contains("--port 8000"), "{text}");
        assert_eq!(told.elsewhere(Some(&found), 8080), None, "once is enough");
        let text = told.elsewhere(Some(&listening(&["[::1]:8080"])), 8080).expect("said");
        assert!(text.contains("let it listen on 127.0.0.1"), "{text}");
    }

    #[test]
    fn the_right_port_and_no_port_are_nothing_to_talk_about() {
        let mut told = Told::default();
        for addresses in [&["127.0.0.1:8080"][..], &["[::]:8080", "127.0.0.1:9229"], &[]] {
            assert_eq!(told.elsewhere(Some(&listening(addresses)), 8080), None, "{addresses:?}");
        }
        assert_eq!(told.elsewhere(None, 8080), None);
    }
}
