//! Bodies, which are nobody's business on the way.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{sleep, timeout};

use crate::child::{Proxy, endpoint};
use crate::is_soak;

/// Byte number `n` of a body that does not repeat with any buffer's length.
const fn byte(n: u64) -> u8 {
    (n.wrapping_mul(2_654_435_761) >> 7) as u8
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_long_body_passes_unchanged_in_little_memory() {
    let proxy = Proxy::start(endpoint().await);
    proxy.ask_well(20).await;
    let length: u64 = if is_soak() { 1 << 30 } else { 64 << 20 };
    let before = proxy.rss();
    let tcp = proxy.connect().await;
    let (mut from, mut to) = tcp.into_split();
    // gzip, as far as its head goes: whoever unpacked it would choke.
    let head = format!(
        "POST /echo HTTP/1.1\r\nhost: a\r\ncontent-encoding: gzip\r\ncontent-length: {length}\r\n\r\n"
    );
    let saying = tokio::spawn(async move {
        to.write_all(head.as_bytes()).await.expect("sent");
        let mut at = 0;
        while at < length {
            let part: Vec<u8> = (at..at + 65_536).map(byte).collect();
            to.write_all(&part).await.expect("sent");
            at += 65_536;
        }
        to
    });
    let mut heard = Vec::new();
    while !heard.ends_with(b"\r\n\r\n") {
        heard.push(from.read_u8().await.expect("a head"));
    }
    let (mut at, mut most) = (0, 0);
    let mut part = vec![0; 1 << 20];
    let mut reader = tokio::io::BufReader::with_capacity(1 << 16, from);
    while at < length {
        let mut line = Vec::new();
        while !line.ends_with(b"\r\n") {
            line.push(reader.read_u8().await.expect("a chunk's size"));
        }
        let size = String::from_utf8_lossy(&line[..line.len() - 2]).into_owned();
        let size = usize::from_str_radix(&size, 16).expect("a size");
        reader.read_exact(&mut part[..size]).await.expect("a chunk");
        assert!((at..).zip(&part[..size]).all(|(n, &b)| b == byte(n)), "changed near {at}");
        at += size as u64;
        reader.read_exact(&mut part[..2]).await.expect("its end");
        most = most.max(proxy.rss());
    }
    saying.await.expect("all was sent");
    let grown = most.saturating_sub(before);
    println!(
        "promise 50: {} MiB there and back, byte for byte; memory + {} KiB at most",
        length >> 20,
        grown >> 10
    );
    assert!(grown <= 8 << 20, "{grown} B more than before");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_who_stops_holds_the_sender_back() {
    let proxy = Proxy::start(endpoint().await);
    proxy.ask_well(20).await;
    let before = proxy.rss();
    let mut tcp = proxy.connect().await;
    tcp.write_all(b"GET /long HTTP/1.1\r\nhost: a\r\n\r\n").await.expect("sent");
    sleep(Duration::from_millis(500)).await;
    let grown = proxy.rss().saturating_sub(before);
    println!("promise 50: an endless answer that nobody reads: memory + {} KiB", grown >> 10);
    assert!(grown <= 8 << 20, "{grown} B more than before");
    let mut part = vec![0; 65_536];
    assert!(tcp.read(&mut part).await.is_ok_and(|read| read > 0), "what is there can be read");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_caller_who_waits_to_be_asked_is_asked() {
    let proxy = Proxy::start(endpoint().await);
    let mut tcp = proxy.connect().await;
    tcp.write_all(
        b"POST /a HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\ncontent-length: 5\r\n\r\n",
    )
    .await
    .expect("sent");
    let mut heard = [0; 25];
    let asked = timeout(Duration::from_secs(5), tcp.read_exact(&mut heard)).await;
    asked.expect("in time").expect("an answer");
    assert_eq!(&heard, b"HTTP/1.1 100 Continue\r\n\r\n");
    tcp.write_all(b"abcde").await.expect("sent");
    let mut rest = vec![0; 15];
    tcp.read_exact(&mut rest).await.expect("an answer");
    assert_eq!(rest, b"HTTP/1.1 200 OK");
}
