//! Times, capacity, circuits, the caller's own limits: how much and how long.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use outrigger::core::{Event, FailureKind, Observe, Reason};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::fleet::{Caller, Registry, policy, text};

/// An endpoint that answers each connection's first request with these pieces, each after its time,
/// and then says nothing.
async fn streams(registry: &Registry, pieces: &'static [(u64, &'static str)]) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    registry.put(listener.local_addr().expect("an address"), |_| {});
    tokio::spawn(async move {
        while let Ok((mut tcp, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut head = [0; 4096];
                let _ = tcp.read(&mut head).await;
                for (wait, piece) in pieces {
                    tokio::time::sleep(Duration::from_millis(*wait)).await;
                    if tcp.write_all(piece.as_bytes()).await.is_err() {
                        return;
                    }
                }
                std::future::pending::<()>().await;
            });
        }
    });
}

const HEAD: &str =
    "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";
const EVENT: &str = "7\r\ndata:x\n\r\n";

#[tokio::test]
async fn idle_timeout_ends_a_stream_that_is_silent_and_timeout_does_not() {
    let registry = Registry::default();
    let pieces = &[(0, HEAD), (0, EVENT), (200, EVENT), (200, EVENT), (200, EVENT)];
    streams(&registry, pieces).await;
    registry.push(&policy("timeout: 300ms\nidle_timeout: 500ms"));
    let caller = registry.caller().await;
    let started = outrigger::tower::clock::now();
    let response = caller.get("/events").await.expect("a head");
    let error = response.into_body().bytes().await.expect_err("it falls silent");
    let kind = error.failed().map(|failed| failed.kind);
    assert_eq!(kind, Some(FailureKind::Timeout), "{error:?}");
    let took = started.elapsed();
    assert!(took >= Duration::from_millis(1_000), "600 ms of events, 500 ms of silence: {took:?}");
    assert!(took < Duration::from_secs(5), "{took:?}");
}

#[tokio::test]
async fn connect_timeout_bounds_the_handshake_too() {
    let registry = Registry::default();
    // It accepts, and never says a word of TLS.
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    registry.put(listener.local_addr().expect("an address"), |instance| {
        instance.protocol = outrigger::core::Protocol::Https;
    });
    registry.push(&policy("connect_timeout: 80ms\nretry: { attempts: 0 }\ntimeout: 20s\ntls: {}"));
    let caller = registry.caller().await;
    let started = outrigger::tower::clock::now();
    let error = caller.get("/").await.expect_err("no handshake");
    assert_eq!(error.reason(), Some(Reason::ConnectFailure), "{error:?}");
    let took = started.elapsed();
    assert!(took >= Duration::from_millis(80) && took < Duration::from_secs(5), "{took:?}");
}

#[tokio::test]
async fn per_try_timeout_leaves_time_for_another_try() {
    let registry = Registry::default();
    let tries = Arc::new(AtomicU32::new(0));
    let count = Arc::clone(&tries);
    let _endpoint = registry
        .endpoint_as(
            |_| {},
            move |_| {
                let is_first = count.fetch_add(1, Ordering::Relaxed) == 0;
                async move {
                    if is_first {
                        tokio::time::sleep(Duration::from_secs(30)).await;
                    }
                    text(200, "quick")
                }
            },
        )
        .await;
    registry.push(&policy(
        "timeout: 20s\nretry: { attempts: 1, when: [timeout], per_try_timeout: 100ms, \
         backoff: { base: 1ms, max: 1ms } }",
    ));
    let caller = registry.caller().await;
    let started = outrigger::tower::clock::now();
    assert_eq!(caller.text("/").await, "quick");
    let took = started.elapsed();
    assert!(took >= Duration::from_millis(100) && took < Duration::from_secs(10), "{took:?}");
    assert_eq!(tries.load(Ordering::Relaxed), 2);
}

#[tokio::test]
async fn body_limit_of_retry_says_what_is_kept_for_another_try() {
    let registry = Registry::default();
    let tries = Arc::new(AtomicU32::new(0));
    let count = Arc::clone(&tries);
    let _endpoint = registry
        .endpoint_as(
            |_| {},
            move |request| {
                count.fetch_add(1, Ordering::Relaxed);
                async move {
                    use http_body_util::BodyExt;
                    // Read, so that the connection is good for another request.
                    let _ = request.into_body().collect().await;
                    text(503, "no")
                }
            },
        )
        .await;
    registry.push(&policy(
        "eject: none\nretry: { attempts: 1, when: [503], methods: all, body_limit: 4B, \
         backoff: { base: 1ms, max: 1ms } }",
    ));
    let caller = registry.caller().await;
    for (body, wanted) in [("1234", 2), ("12345", 1)] {
        tries.store(0, Ordering::Relaxed);
        let response = caller.0.post("http://stock/", body).await.expect("an answer");
        assert_eq!(response.status(), 503);
        assert_eq!(tries.load(Ordering::Relaxed), wanted, "{body}");
    }
}

/// An endpoint that takes its time, and how many connections it saw.
async fn slow(registry: &Registry, ms: u64) -> Arc<AtomicU32> {
    let connections = Arc::new(AtomicU32::new(0));
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    registry.put(listener.local_addr().expect("an address"), |_| {});
    let count = Arc::clone(&connections);
    tokio::spawn(async move {
        while let Ok((mut tcp, _)) = listener.accept().await {
            count.fetch_add(1, Ordering::Relaxed);
            tokio::spawn(async move {
                let mut head = [0; 4096];
                // One request at a time, each in one segment.
                while let Ok(1..) = tcp.read(&mut head).await {
                    tokio::time::sleep(Duration::from_millis(ms)).await;
                    let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
                    if tcp.write_all(answer).await.is_err() {
                        return;
                    }
                }
            });
        }
    });
    connections
}

/// Whether each of so many calls at once was answered, or refused as overload.
async fn at_once(caller: &Caller, calls: usize) -> (usize, usize) {
    let tasks: Vec<_> = (0..calls)
        .map(|_| {
            let caller = caller.clone();
            tokio::spawn(async move {
                match caller.get("/").await {
                    Ok(response) => {
                        response.into_body().bytes().await.expect("whole");
                        true
                    }
                    Err(error) => {
                        assert_eq!(error.reason(), Some(Reason::Overloaded), "{error:?}");
                        false
                    }
                }
            })
        })
        .collect();
    let mut answered = 0;
    for task in tasks {
        answered += usize::from(task.await.expect("no panic"));
    }
    (answered, calls - answered)
}

#[tokio::test]
async fn max_connections_and_max_pending_bound_one_endpoint() {
    let registry = Registry::default();
    let connections = slow(&registry, 200).await;
    registry
        .push(&policy("retry: { attempts: 0 }\ncapacity: { max_connections: 2, max_pending: 3 }"));
    let caller = registry.caller().await;
    assert_eq!(at_once(&caller, 8).await, (5, 3), "two are served, three wait, three are refused");
    assert_eq!(connections.load(Ordering::Relaxed), 2);
}

#[tokio::test]
async fn an_adaptive_capacity_stands_below_max_requests() {
    let registry = Registry::default();
    slow(&registry, 100).await;
    registry.push(&policy(
        "retry: { attempts: 0 }\n\
         capacity: { max_requests: 50, adaptive: { initial: 2, min: 1, max: 2 } }",
    ));
    let caller = registry.caller().await;
    let (answered, refused) = at_once(&caller, 6).await;
    assert_eq!((answered, refused), (2, 4));
    let fixed = policy("retry: { attempts: 0 }\ncapacity: { max_requests: 50 }");
    registry.push(&fixed);
    caller.obeys(&fixed).await;
    assert_eq!(at_once(&caller, 6).await, (6, 0));
}

/// Requests that rules would have refused, by the rule's name.
#[derive(Debug, Default)]
pub(super) struct Spared(Mutex<Vec<(String, Reason)>>);

impl Spared {
    pub(super) fn of(&self, rule: &str) -> usize {
        let all = self.0.lock().expect("no panic within");
        all.iter().filter(|(name, _)| name == rule).count()
    }
}

impl Observe for Spared {
    fn observe(&self, event: &Event<'_>) {
        if let Event::Spared { rule, reason, .. } = event {
            self.0.lock().expect("no panic within").push(((*rule).to_owned(), *reason));
        }
    }
}

#[tokio::test]
async fn rules_in_observe_mode_count_and_refuse_nobody() {
    let registry = Registry::default();
    let _endpoint = registry.endpoint_as(|_| {}, |_| async { text(500, "no") }).await;
    registry.push(&policy(
        "eject: none\nretry: { attempts: 0 }\n\
         rate_limits: [ { name: own, rate: 1/h, burst: 2, mode: observe } ]\n\
         breaker: { mode: observe, min_calls: 5, open_for: 60s }",
    ));
    let spared = Arc::new(Spared::default());
    let builder = registry.builder().observer(Arc::clone(&spared) as Arc<dyn Observe>);
    let caller = Caller(builder.join().await.expect("valid settings"));
    for _ in 0..12 {
        assert_eq!(caller.get("/").await.expect("an answer").status(), 500);
    }
    assert_eq!(spared.of("own"), 10, "{spared:?}");
    assert_eq!(spared.of("breaker"), 7, "{spared:?}");
}

#[tokio::test]
async fn each_trigger_of_the_breaker_opens_it() {
    for (breaker, path, calls) in [
        ("consecutive_failures: 3, min_calls: 1000", "/bad", 3),
        ("failure_ratio: 0.5, min_calls: 4, window: 10", "/bad", 4),
        ("slow_call: { after: 20ms, ratio: 0.5 }, min_calls: 4, window: 10s", "/slow", 4),
    ] {
        let registry = Registry::default();
        let _endpoint = registry
            .endpoint_as(
                |_| {},
                |request| async move {
                    match request.uri().path() {
                        "/bad" => text(500, "no"),
                        _ => {
                            tokio::time::sleep(Duration::from_millis(30)).await;
                            text(200, "slow")
                        }
                    }
                },
            )
            .await;
        registry.push(&policy(&format!(
            "eject: none\nretry: {{ attempts: 0 }}\nbreaker: {{ {breaker}, open_for: 60s }}"
        )));
        let caller = registry.caller().await;
        for call in 0..calls {
            caller.get(path).await.unwrap_or_else(|error| panic!("{breaker}, {call}: {error:?}"));
        }
        let error = caller.get(path).await.expect_err(breaker);
        assert_eq!(error.reason(), Some(Reason::CircuitOpen), "{breaker}");
    }
}

#[tokio::test]
async fn probes_close_the_circuit_after_open_for() {
    let registry = Registry::default();
    let is_ill = Arc::new(std::sync::atomic::AtomicBool::new(true));
    let ill = Arc::clone(&is_ill);
    let _endpoint = registry
        .endpoint_as(
            |_| {},
            move |_| {
                let status = if ill.load(Ordering::Relaxed) { 500 } else { 200 };
                async move { text(status, Bytes::new()) }
            },
        )
        .await;
    registry.push(&policy(
        "eject: none\nretry: { attempts: 0 }\n\
         breaker: { consecutive_failures: 2, min_calls: 1000, open_for: 100ms, jitter: 0, probes: 2 }",
    ));
    let caller = registry.caller().await;
    for _ in 0..2 {
        caller.get("/").await.expect("an answer");
    }
    let refused = caller.get("/").await.expect_err("open");
    assert!(refused.retry_after().is_some_and(|after| after <= Duration::from_millis(100)));
    is_ill.store(false, Ordering::Relaxed);
    tokio::time::sleep(Duration::from_millis(120)).await;
    for probe in 0..3 {
        caller.get("/").await.unwrap_or_else(|error| panic!("probe {probe}: {error:?}"));
    }
    let circuits = caller.0.services()[0].circuits.clone();
    assert_eq!(format!("{:?}", circuits[0].state), "Closed", "{circuits:?}");
}
