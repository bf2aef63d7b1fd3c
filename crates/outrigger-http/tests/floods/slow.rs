//! Clients that take their time.

use std::time::Duration;

use socket2::SockRef;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::child::{BODY_TIMEOUT, HEADER_TIMEOUT, IDLE_TIMEOUT, Proxy, endpoint, now, p99};
use crate::is_soak;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    HalfHead,
    Trickle,
    Idle,
    SlowBody,
    SlowReader,
}

/// Waits until the peer has closed; gives back how long that took.
async fn closed(mut tcp: TcpStream, kind: Kind) -> Duration {
    let began = now();
    let mut heard = [0; 1_024];
    let mut moved: u32 = 0;
    loop {
        // One byte a second, in the direction that is meant.
        let is_over = match kind {
            Kind::HalfHead | Kind::Idle => tcp.read(&mut heard).await.is_ok_and(|read| read == 0),
            Kind::Trickle | Kind::SlowBody => {
                let read = timeout(Duration::from_secs(1), tcp.read(&mut heard)).await;
                match read {
                    Ok(Ok(0) | Err(_)) => true,
                    Ok(Ok(_)) => false,
                    Err(_) => tcp.write_all(b"a").await.is_err(),
                }
            }
            Kind::SlowReader => {
                sleep(Duration::from_secs(1)).await;
                // What the kernel has taken comes even after the end: told by the descriptors.
                tcp.read(&mut heard[..1]).await.is_err()
            }
        };
        moved += 1;
        if is_over || moved > 60 {
            return began.elapsed();
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slow_clients_cost_little_and_are_shown_the_door() {
    let proxy = Proxy::start(endpoint().await);
    // As many as file descriptors allow.
    let each: usize = if is_soak() { 5_000 } else { 750 };
    let (warm, failed) = proxy.ask_well(100).await;
    assert_eq!(failed, 0);
    let (before, fds) = (proxy.rss(), proxy.fds());
    let mut open = Vec::new();
    for n in 0..2 * each {
        let kind = if n % 2 == 0 { Kind::HalfHead } else { Kind::Idle };
        let mut tcp = proxy.connect().await;
        if kind == Kind::HalfHead {
            tcp.write_all(b"GET /a HTTP/1.1\r\nhost: a\r\nx-long: aaaaaaaaaaaaaaaaaaaaaaaa")
                .await
                .expect("sent");
        }
        open.push((tcp, kind));
    }
    for _ in 0..20 {
        let mut tcp = proxy.connect().await;
        tcp.write_all(b"GET /a HT").await.expect("sent");
        open.push((tcp, Kind::Trickle));
        let mut tcp = proxy.connect().await;
        tcp.write_all(b"POST /a HTTP/1.1\r\nhost: a\r\ncontent-length: 1000\r\n\r\na")
            .await
            .expect("sent");
        open.push((tcp, Kind::SlowBody));
        let mut tcp = proxy.connect().await;
        SockRef::from(&tcp).set_recv_buffer_size(4_096).expect("settable");
        tcp.write_all(b"GET /long HTTP/1.1\r\nhost: a\r\n\r\n").await.expect("sent");
        open.push((tcp, Kind::SlowReader));
    }
    let mut waiting = JoinSet::new();
    let mut readers = JoinSet::new();
    for (tcp, kind) in open {
        let set = if kind == Kind::SlowReader { &mut readers } else { &mut waiting };
        set.spawn(async move { (kind, closed(tcp, kind).await) });
    }
    let began = now();
    sleep(Duration::from_millis(300)).await;
    // What a slow reader is behind with is held up to hyper's own bound, and told apart.
    let grown = proxy.rss().saturating_sub(before);
    let per_connection = grown / (2 * each + 60) as u64;
    let (took, failed) = proxy.ask_well(300).await;
    assert_eq!(failed, 0, "good clients are served");
    let mut longest = Duration::ZERO;
    while let Some(ended) = waiting.join_next().await {
        let (kind, took) = ended.expect("no panic");
        let limit = match kind {
            Kind::HalfHead | Kind::Trickle => HEADER_TIMEOUT,
            // The first head has the header's time; nothing was ever said.
            Kind::Idle => IDLE_TIMEOUT.max(HEADER_TIMEOUT),
            Kind::SlowBody | Kind::SlowReader => BODY_TIMEOUT,
        };
        assert!(took <= limit + Duration::from_secs(5), "{kind:?} was let go after {took:?}");
        longest = longest.max(took);
    }
    // The endpoint's end of a reader's answer goes with it.
    while proxy.fds() > fds + 2 {
        let held = began.elapsed();
        let limit = BODY_TIMEOUT + Duration::from_secs(5);
        assert!(held <= limit, "{} descriptors more than before after {held:?}", proxy.fds() - fds);
        longest = longest.max(held);
        sleep(Duration::from_millis(50)).await;
    }
    println!(
        "promise 45: {} slow clients: {} B each; a good one's p99 {:?} \
         (alone {:?}), 0 failed; all closed after {longest:?} at most",
        2 * each + 60,
        per_connection,
        p99(&took),
        p99(&warm),
    );
    assert!(per_connection <= 24 * 1_024, "{per_connection} B for each connection");
    let most = Duration::from_millis(if is_soak() { 20 } else { 100 });
    assert!(p99(&took) <= most, "{:?}", p99(&took));
}
