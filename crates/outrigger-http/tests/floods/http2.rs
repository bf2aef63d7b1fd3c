//! HTTP/2 frames that ask for work and bring none.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{sleep, timeout};

use crate::child::{Proxy, endpoint, now, p99};
use crate::is_soak;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
/// GET / of host a, by HPACK's own table.
const GET: [u8; 6] = [0x82, 0x86, 0x84, 0x41, 1, b'a'];
const POST: [u8; 6] = [0x83, 0x86, 0x84, 0x41, 1, b'a'];

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("not that long").to_be_bytes();
    let mut frame = vec![length[1], length[2], length[3], kind, flags];
    frame.extend_from_slice(&stream.to_be_bytes());
    frame.extend_from_slice(payload);
    frame
}

#[derive(Clone, Copy, Debug)]
enum Flood {
    RapidReset,
    Continuation,
    EmptyData,
    Ping,
    Settings,
    WindowUpdate,
    Priority,
    Unknown,
}

impl Flood {
    const ALL: [Self; 8] = [
        Self::RapidReset,
        Self::Continuation,
        Self::EmptyData,
        Self::Ping,
        Self::Settings,
        Self::WindowUpdate,
        Self::Priority,
        Self::Unknown,
    ];

    /// What comes first, and the frames that follow for as long as the connection lasts.
    fn frames(self) -> (Vec<u8>, Vec<u8>) {
        match self {
            Self::RapidReset => {
                let mut all = Vec::new();
                for stream in (1..20_000).step_by(2) {
                    all.extend(frame(1, 5, stream, &GET));
                    all.extend(frame(3, 0, stream, &[0, 0, 0, 8]));
                }
                (Vec::new(), all)
            }
            Self::Continuation => (frame(1, 1, 1, &GET), frame(9, 0, 1, &[]).repeat(10_000)),
            Self::EmptyData => (frame(1, 4, 1, &POST), frame(0, 0, 1, &[]).repeat(10_000)),
            Self::Ping => (Vec::new(), frame(6, 0, 0, &[0; 8]).repeat(10_000)),
            Self::Settings => (Vec::new(), frame(4, 0, 0, &[0, 3, 0, 0, 0, 100]).repeat(10_000)),
            Self::WindowUpdate => (Vec::new(), frame(8, 0, 0, &[0, 0, 0, 1]).repeat(10_000)),
            Self::Priority => (Vec::new(), frame(2, 0, 1, &[0, 0, 0, 0, 1]).repeat(10_000)),
            Self::Unknown => (Vec::new(), frame(0x7f, 0, 0, &[]).repeat(10_000)),
        }
    }
}

/// Floods until told to stop, anew ten times a second when it is thrown out; tells how often that
/// was.
async fn flood(proxy: &Proxy, kind: Flood, length: Duration) -> u32 {
    let began = now();
    let (first, rest) = kind.frames();
    let mut thrown_out = 0;
    while began.elapsed() < length {
        let mut tcp = proxy.connect().await;
        let (mut from, mut to) = tcp.split();
        let say = async {
            let mut said =
                to.write_all(PREFACE).await.is_ok() && to.write_all(&first).await.is_ok();
            while said && began.elapsed() < length {
                said = to.write_all(&rest).await.is_ok();
            }
        };
        let hear = async {
            let mut heard = [0; 16_384];
            while from.read(&mut heard).await.is_ok_and(|read| read > 0) {}
        };
        // Closed or reset: either half tells.
        let ended = timeout(length.saturating_sub(began.elapsed()), async {
            tokio::select! { () = say => {}, () = hear => {} }
        });
        if ended.await.is_ok() {
            thrown_out += 1;
        }
        sleep(Duration::from_millis(100)).await;
    }
    thrown_out
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_of_frames_costs_a_tenth_of_a_core_at_most() {
    let proxy = Proxy::start(endpoint().await);
    let length = Duration::from_millis(if is_soak() { 60_000 } else { 1_500 });
    let (alone, failed) = proxy.ask_well(300).await;
    assert_eq!(failed, 0);
    for kind in Flood::ALL {
        let (cpu, began) = (proxy.cpu(), now());
        let thrown_out = flood(&proxy, kind, length).await;
        let spent = (proxy.cpu() - cpu).as_secs_f64() / began.elapsed().as_secs_f64();
        let (_, (took, failed)) =
            tokio::join!(flood(&proxy, kind, Duration::from_secs(1)), proxy.ask_well(150));
        println!(
            "promise 47: {kind:?}: {:.1} % of a core, thrown out {thrown_out} times in {length:?}; a \
             good client's p99 {:?} (alone {:?}), {failed} failed",
            spent * 100.0,
            p99(&took),
            p99(&alone),
        );
        assert!(thrown_out > 0, "{kind:?} is put up with");
        assert!(spent <= 0.10, "{kind:?} costs {spent:.3} of a core");
        assert_eq!(failed, 0, "good clients are served");
        let most = if is_soak() { p99(&alone) * 2 } else { p99(&alone) * 10 };
        assert!(p99(&took) <= most.max(Duration::from_millis(20)), "{kind:?}: {:?}", p99(&took));
    }
}
