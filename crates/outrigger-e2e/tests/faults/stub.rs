//! An inventory written by hand: answers, closes, counts.

use std::io::{self, BufRead, BufReader, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

/// Serves until dropped.
pub(crate) struct Stub {
    address: SocketAddr,
    asked: Arc<AtomicU64>,
    ends: Arc<AtomicBool>,
}

impl Stub {
    pub(crate) fn start() -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let address = listener.local_addr()?;
        let (asked, ends) = (Arc::<AtomicU64>::default(), Arc::<AtomicBool>::default());
        thread::spawn({
            let (asked, ends) = (Arc::clone(&asked), Arc::clone(&ends));
            move || {
                for stream in listener.incoming().flatten() {
                    if ends.load(Ordering::Relaxed) {
                        return;
                    }
                    let asked = Arc::clone(&asked);
                    thread::spawn(move || serve(stream, &asked));
                }
            }
        });
        Ok(Self { address, asked, ends })
    }

    pub(crate) const fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn asked(&self) -> u64 {
        self.asked.load(Ordering::Relaxed)
    }
}

impl Drop for Stub {
    fn drop(&mut self) {
        self.ends.store(true, Ordering::Relaxed);
        // Wakes the accept loop, which then ends.
        let _woken = TcpStream::connect_timeout(&self.address, Duration::from_secs(1));
    }
}

/// Answers the requests of one connection, one after the other.
fn serve(mut stream: TcpStream, asked: &AtomicU64) {
    let Ok(reading) = stream.try_clone() else { return };
    let mut lines = BufReader::new(reading).lines();
    loop {
        let Some(Ok(first)) = lines.next() else { return };
        while lines.next().is_some_and(|line| line.is_ok_and(|line| !line.is_empty())) {}
        asked.fetch_add(1, Ordering::Relaxed);
        let path = first.split(' ').nth(1).unwrap_or_default();
        let id = path.rsplit('/').next().unwrap_or_default();
        let body = format!(r#"{{"id":{id},"on_hand":1,"served_by":"stub"}}"#);
        let answer = format!(
            "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        if stream.write_all(answer.as_bytes()).is_err() {
            return;
        }
    }
}
