//! Telemetry tells the truth: known faults, exact counts.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use outrigger_testkit::{Scripted, Step};

use crate::stage::{member, ms, retrying, turn};

/// The sum of all series of a counter whose labels hold all of these.
fn counter(page: &str, name: &str, labels: &[&str]) -> u64 {
    page.lines()
        .filter(|line| line.starts_with(name))
        .filter(|line| line[name.len()..].starts_with(['{', ' ']))
        .filter(|line| labels.iter().all(|label| line.contains(label)))
        .filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok())
        .sum()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_counter_equals_what_was_injected() {
    let _turn = turn().await;
    // What the endpoint does, in turn; each fault is followed by a whole answer, so that one
    // retry heals it.
    let did = Arc::new([const { AtomicU64::new(0) }; 4]);
    let turns = AtomicU64::new(0);
    let backend = Scripted::start_with({
        let did = Arc::clone(&did);
        move |_| {
            let (kind, step) = match turns.fetch_add(1, Ordering::Relaxed) % 12 {
                2 => (1, Step::answer(500)),
                5 => (2, Step::answer(503)),
                8 => (3, Step::reset()),
                _ => (0, Step::answer(200)),
            };
            did[kind].fetch_add(1, Ordering::Relaxed);
            step
        }
    });
    let backend = backend.await.expect("a backend");
    let mut rules = retrying();
    // Every fault is retried here: what is asked is whether it is counted.
    rules.retry.budget.ratio = outrigger::core::Ratio::ONE;
    rules.retry.budget.min_per_second = 1_000;
    rules.retry.backoff.base = ms(1);
    rules.retry.backoff.max = ms(2);
    let caller = member("caller", "none")
        .endpoints("backend", [backend.address()])
        .expect("a name")
        .rules(rules)
        .join()
        .await
        .expect("joined");

    const CALLS: u64 = 300;
    for _ in 0..CALLS {
        let answer = caller.get("http://backend/").await.expect("retries heal it");
        assert_eq!(answer.status(), 200);
        let _body = answer.into_body().bytes().await.expect("a body");
    }
    for _ in 0..7 {
        let refused = caller.get("http://nobody/").await;
        assert!(refused.is_err(), "nobody is there");
    }

    let did: Vec<u64> = did.iter().map(|count| count.load(Ordering::Relaxed)).collect();
    let [good, server_error, unavailable, reset] = did[..] else { panic!("{did:?}") };
    let mut page = String::new();
    caller.telemetry().metrics().encode(&mut page);
    let tries = |result: &str| {
        let result = format!("outrigger_result=\"{result}\"");
        counter(&page, "outrigger_tries_total", &["outrigger_service=\"backend\"", &result])
    };
    println!(
        "{CALLS} calls with {server_error} × 500, {unavailable} × 503, {reset} × reset injected: \
         counted {} × 5xx, {} × reset, {} retries, {} refusals",
        tries("5xx"),
        tries("reset"),
        counter(&page, "outrigger_retries_total", &["\"backend\""]),
        counter(&page, "outrigger_rejections_total", &["\"no_endpoint\""]),
    );
    assert_eq!(good, CALLS, "the script heals every call");
    assert_eq!(tries("2xx"), good, "{page}");
    assert_eq!(tries("5xx"), server_error + unavailable, "{page}");
    assert_eq!(tries("reset"), reset, "{page}");
    let faults = server_error + unavailable + reset;
    assert_eq!(counter(&page, "outrigger_retries_total", &["\"backend\""]), faults, "{page}");
    let rejections = ["\"nobody\"", "\"no_endpoint\""];
    assert_eq!(counter(&page, "outrigger_rejections_total", &rejections), 7, "{page}");
    let calls = "http_client_request_duration_seconds_count";
    assert_eq!(counter(&page, calls, &["\"backend\"", "\"200\""]), CALLS, "{page}");
}
