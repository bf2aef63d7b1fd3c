//! Two policies taking turns under load: no request fails, and each runs wholly under one of them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use outrigger::core::Language;
use outrigger::tower::clock;

use crate::fleet::{Registry, header, policy, text};

/// What differs between the two: the subset that serves, a header that the request gets, one that
/// the response gets, and all that is shared besides.
fn side(side: &str, language: &str, timeout: &str) -> String {
    policy(&format!(
        "timeout: {timeout}
balance: {{ algorithm: {} }}
eject: {{ consecutive_errors: {} }}
retry: {{ attempts: 2, when: [connect_failure, refused_stream, 5xx] }}
breaker: {{ min_calls: {} }}
rate_limits: [ {{ rate: 100000/s, burst: {} }} ]
capacity: {{ max_requests: {} }}
subsets: {{ ours: {{ language: {language} }} }}
routes:
  - name: route-{side}
    match: {{ path_prefix: /x }}
    split: [ {{ subset: ours, weight: 100 }} ]
    headers: {{ request: {{ set: {{ x-side: {side} }} }}, response: {{ set: {{ x-policy: {side} }} }} }}
",
        if side == "a" { "peak_ewma" } else { "round_robin" },
        if side == "a" { 5 } else { 6 },
        if side == "a" { 20 } else { 30 },
        if side == "a" { 50_000 } else { 60_000 },
        if side == "a" { 10_000 } else { 20_000 },
    ))
}

/// Requests in flight at once; more would measure the machine.
const MOST: usize = 200;

/// Units: KiB of memory that is resident.
pub(crate) fn resident() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmRSS:"))?;
    line.split_whitespace().nth(1)?.parse().ok()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_request_fails_while_policies_take_turns_and_each_is_wholly_under_one() {
    let in_full = std::env::var_os("OUTRIGGER_SOAK").is_some();
    let (flips, rate) = if in_full { (1_000_u32, 1_000_u64) } else { (120, 400) };
    let every = Duration::from_millis(if in_full { 100 } else { 80 });

    let registry = Registry::default();
    let mut endpoints = Vec::new();
    for (language, name) in [(Language::Java, "java"), (Language::Rust, "rust")] {
        for _ in 0..2 {
            let answer = move |request: http::Request<hyper::body::Incoming>| async move {
                let side = header(request.headers(), "x-side").unwrap_or("none").to_owned();
                text(200, format!("{name} {side}"))
            };
            endpoints.push(registry.endpoint(language.clone(), answer).await);
        }
    }
    let (a, b) = (side("a", "java", "5s"), side("b", "rust", "6s"));
    registry.push(&a);
    let caller = registry.caller().await;
    assert_eq!(caller.text("/x").await, "java a");

    let stop = Arc::new(AtomicBool::new(false));
    let (sent, mixed) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let failed = Arc::new(std::sync::Mutex::new(Vec::new()));
    let load = {
        let (caller, stop, sent, mixed, failed) = (
            caller.clone(),
            Arc::clone(&stop),
            Arc::clone(&sent),
            Arc::clone(&mixed),
            Arc::clone(&failed),
        );
        tokio::spawn(async move {
            let (started, mut begun) = (clock::now(), 0);
            let mut calls = tokio::task::JoinSet::new();
            while !stop.load(Ordering::Relaxed) {
                let due = (started.elapsed().as_secs_f64() * rate as f64) as u64;
                // A machine that stands still for a while is not made up for wholly.
                begun = begun.max(due.saturating_sub(100));
                while calls.try_join_next().is_some() {}
                if begun >= due || calls.len() >= MOST {
                    tokio::time::sleep(Duration::from_millis(1)).await;
                    continue;
                }
                begun += 1;
                let (caller, sent, mixed, failed) =
                    (caller.clone(), Arc::clone(&sent), Arc::clone(&mixed), Arc::clone(&failed));
                calls.spawn(async move {
                    sent.fetch_add(1, Ordering::Relaxed);
                    let response = match caller.get("/x").await {
                        Ok(response) if response.status() == 200 => response,
                        Ok(response) => {
                            failed.lock().expect("whole").push(response.status().to_string());
                            return;
                        }
                        Err(error) => {
                            failed.lock().expect("whole").push(format!("{error:?}"));
                            return;
                        }
                    };
                    let by = header(response.headers(), "x-policy").unwrap_or("none").to_owned();
                    let body = response.into_body().text().await.expect("a text");
                    let is_whole = matches!((&*by, &*body), ("a", "java a") | ("b", "rust b"));
                    mixed.fetch_add(u64::from(!is_whole), Ordering::Relaxed);
                });
            }
            while calls.join_next().await.is_some() {}
        })
    };

    let began = clock::now();
    let mut slowest = Duration::ZERO;
    let mut early = None;
    for flip in 0..flips {
        let next = if flip % 2 == 0 { &b } else { &a };
        let started = clock::now();
        registry.push(next);
        caller.obeys(next).await;
        slowest = slowest.max(started.elapsed());
        tokio::time::sleep(every.saturating_sub(started.elapsed())).await;
        if flip == flips / 5 {
            early = resident();
        }
    }
    let late = resident();
    let span = began.elapsed();
    stop.store(true, Ordering::Relaxed);
    load.await.expect("the load ends");

    let (sent, mixed) = (sent.load(Ordering::Relaxed), mixed.load(Ordering::Relaxed));
    let failed = failed.lock().expect("whole");
    println!(
        "{flips} flips in {span:?}, {sent} requests, {} failed, {mixed} mixed, slowest {slowest:?}, \
         resident {early:?} to {late:?} KiB",
        failed.len()
    );
    assert!(failed.is_empty(), "{} of {sent}: {:?}", failed.len(), failed.first());
    assert_eq!(mixed, 0, "a request under two policies");
    // In the short run other tests, and other builds, have the same processors.
    let (most, more) = if in_full { (1, 8) } else { (3, 32) };
    assert!(slowest < Duration::from_secs(most), "obeyed after {slowest:?}");
    assert!(sent > u64::from(flips), "{sent}");
    if let (Some(early), Some(late)) = (early, late) {
        assert!(late < early + more * 1_024, "memory grows: {early} to {late} KiB");
    }
}
