//! Promises of the inbound limits, over the wire: what a 429 says is true (row 38), and keys without
//! end cost bounded memory and nobody's limit (row 39). `OUTRIGGER_SOAK=1` runs both in full.

use std::net::SocketAddr;
use std::time::Duration;

use outrigger::tower::clock;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::fleet::{header, policy};
use crate::flips::resident;
use crate::inbound::Stock;

fn in_full() -> bool {
    std::env::var_os("OUTRIGGER_SOAK").is_some()
}

#[tokio::test]
async fn a_client_that_obeys_a_429_is_not_told_another_one() {
    let rounds = if in_full() { 20 } else { 2 };
    let rates = ["1/s", "5/2s", "90/m", "200/m"];
    let rules: Vec<_> = rates
        .iter()
        .enumerate()
        .map(|(at, rate)| {
            format!(
                "    - {{ rate: {rate}, burst: 3, per: {{ header: x-user }}, match: {{ path_exact: /{at} }} }}\n"
            )
        })
        .collect();
    let text = policy(&format!("inbound:\n  rate_limits:\n{}", rules.concat()));
    let stock = std::sync::Arc::new(Stock::start(Some(&text), |builder| builder).await);
    let mut clients = JoinSet::new();
    for at in 0..rates.len() {
        for user in ["a", "b"] {
            let stock = std::sync::Arc::clone(&stock);
            clients.spawn(async move {
                let path = format!("/{at}");
                let (mut asked, mut refused) = (0_u32, 0_u32);
                for _ in 0..rounds {
                    // As many as it is told that there are, and no fewer.
                    let mut left = 1_u64;
                    while left > 0 {
                        let response = stock.send(&path, user, "").await;
                        asked += 1;
                        assert_eq!(response.status(), 200, "{path}: told that there are {left}");
                        left = number(&response, "ratelimit-remaining");
                    }
                    let response = stock.send(&path, user, "").await;
                    if response.status() == 200 {
                        // A token came in the meantime.
                        asked += 1;
                        continue;
                    }
                    refused += 1;
                    assert_eq!(response.status(), 429);
                    let wait = number(&response, "retry-after");
                    assert_eq!(wait, number(&response, "ratelimit-reset"));
                    tokio::time::sleep(Duration::from_secs(wait)).await;
                }
                (asked, refused)
            });
        }
    }
    let (mut asked, mut refused) = (0, 0);
    while let Some(client) = clients.join_next().await {
        let (more, once) = client.expect("no client is told a lie");
        (asked, refused) = (asked + more, refused + once);
    }
    println!("{asked} admitted, {refused} refusals obeyed, 0 refused after obeying");
    assert!(refused >= rounds, "{refused}");
}

fn number<B>(response: &http::Response<B>, name: &str) -> u64 {
    let value = header(response.headers(), name).and_then(|text| text.parse().ok());
    value.unwrap_or_else(|| panic!("no {name}: {:?}", response.headers()))
}

/// One connection on which requests are written many at a time.
struct Pipe {
    tcp: TcpStream,
    text: Vec<u8>,
    answers: Vec<u8>,
}

impl Pipe {
    async fn to(address: SocketAddr) -> Self {
        let tcp = TcpStream::connect(address).await.expect("it listens");
        tcp.set_nodelay(true).expect("settable");
        Self { tcp, text: Vec::new(), answers: Vec::new() }
    }

    /// Which of the keys were admitted, in their order.
    async fn ask(&mut self, keys: impl Iterator<Item = u64>) -> Vec<bool> {
        self.text.clear();
        self.answers.clear();
        let mut wanted = 0;
        for key in keys {
            let line = format!("GET / HTTP/1.1\r\nhost: stock\r\nx-key: {key}\r\n\r\n");
            self.text.extend_from_slice(line.as_bytes());
            wanted += 1;
        }
        self.tcp.write_all(&self.text).await.expect("written");
        let (mut admitted, mut from) = (Vec::with_capacity(wanted), 0);
        while admitted.len() < wanted {
            let read = self.tcp.read_buf(&mut self.answers).await.expect("read");
            assert!(read > 0, "it closes");
            // The status follows at once where a head begins; a body holds no such text.
            while let Some(at) = find(&self.answers[from..], b"HTTP/1.1 ") {
                let Some(status) = self.answers.get(from + at + 9..from + at + 12) else { break };
                admitted.push(status == b"200");
                from += at + 12;
            }
        }
        // The last body may still be on its way.
        while !self.is_whole() {
            let read = self.tcp.read_buf(&mut self.answers).await.expect("read");
            assert!(read > 0, "it closes");
        }
        admitted
    }

    /// Whether the last answer is there with all of its body.
    fn is_whole(&self) -> bool {
        let last = self.answers.windows(9).rposition(|window| window == b"HTTP/1.1 ").unwrap_or(0);
        let answer = &self.answers[last..];
        let Some(end) = find(answer, b"\r\n\r\n") else { return false };
        let head = String::from_utf8_lossy(&answer[..end]).to_ascii_lowercase();
        let length = head.split("content-length: ").nth(1).and_then(|rest| rest.lines().next());
        let length: usize = length.and_then(|text| text.parse().ok()).expect("a length");
        answer.len() >= end + 4 + length
    }
}

fn find(text: &[u8], what: &[u8]) -> Option<usize> {
    text.windows(what.len()).position(|window| window == what)
}

const HOT: u64 = 100;

/// What became of the hot keys and of single requests while others came with `keys` keys.
struct Storm {
    /// Admitted for each hot key.
    hot: Vec<u64>,
    span: Duration,
    p99: Duration,
}

/// So many requests, of keys from so many on, beside hot keys that ask for more than they may.
async fn storm(address: SocketAddr, requests: u64, first: u64, distinct: u64, batch: u64) -> Storm {
    let began = clock::now();
    let cold = tokio::spawn(async move {
        let mut pipe = Pipe::to(address).await;
        let mut at = 0;
        while at < requests {
            let until = (at + batch).min(requests);
            pipe.ask((at..until).map(|n| first + n % distinct)).await;
            at = until;
        }
    });
    let mut hot = vec![0; HOT as usize];
    let mut pipe = Pipe::to(address).await;
    let mut single = Pipe::to(address).await;
    let mut spans = Vec::new();
    // Twenty times a second: twice what each may.
    let mut ticks = tokio::time::interval(Duration::from_millis(50));
    while !cold.is_finished() {
        ticks.tick().await;
        for (key, admitted) in pipe.ask(0..HOT).await.into_iter().enumerate() {
            hot[key] += u64::from(admitted);
        }
        let started = clock::now();
        single.ask(std::iter::once(HOT)).await;
        spans.push(started.elapsed());
    }
    let span = began.elapsed();
    cold.await.expect("the storm ends");
    spans.sort_unstable();
    Storm { hot, span, p99: spans[spans.len() * 99 / 100] }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_without_end_cost_bounded_memory_and_nobodys_limit() {
    let (requests, max_keys) = if in_full() { (10_000_000, 65_536) } else { (16_000, 2_048) };
    let batch = if in_full() { 200 } else { 50 };
    let text = policy(&format!(
        "inbound: {{ rate_limits: [ {{ rate: 10/s, burst: 10, per: {{ header: x-key }}, max_keys: {max_keys} }} ] }}"
    ));
    let stock = Stock::start(Some(&text), |builder| builder).await;
    // The same load with few keys, so that what is compared is the keys.
    let few = storm(stock.address, requests / 10, 1_000, 100, batch).await;
    let before = resident().expect("it is Linux");
    let many = storm(stock.address, requests, 1_000_000, requests, batch).await;
    let after = resident().expect("it is Linux");
    let more = after.saturating_sub(before);

    // What the hot keys left in their buckets before counts to their second run.
    let most = 10.0 * many.span.as_secs_f64() + 10.0;
    let least = 10.0 * many.span.as_secs_f64();
    let (low, high) = (many.hot.iter().min().copied(), many.hot.iter().max().copied());
    println!(
        "{requests} keys in {:?}: {more} KiB more, hot keys {low:?} to {high:?} of {least:.0} to {most:.0}, \
         p99 {:?} (few keys: {:?})",
        many.span, many.p99, few.p99
    );
    assert!(more <= 64 << 10, "{more} KiB");
    for (key, admitted) in many.hot.iter().enumerate() {
        let admitted = *admitted as f64;
        assert!(admitted <= most * 1.02 + 1.0, "key {key}: {admitted} of {most}");
        // A loaded machine asks less often than it should; the full run is for a quiet one.
        if in_full() {
            assert!(admitted >= least * 0.98, "key {key}: {admitted} of {least}");
        }
    }
    if in_full() {
        assert!(many.p99 <= few.p99 * 2, "{:?} for {:?}", many.p99, few.p99);
    }
}
