//! A change at the real Consul is in use as soon as anybody could know of it.
//!
//! Registration, rights, tokens and restarts at library level are tried in
//! `outrigger-consul/tests/real_agent.rs`, which the same gate runs.
#![expect(clippy::print_stdout, reason = "each prints its figure")]
#![expect(clippy::disallowed_methods, reason = "a foreign process runs on real time")]

use std::net::SocketAddr;
use std::sync::Mutex;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use outrigger::core::{Event, Observe};
use outrigger_e2e::consul::{RealConsul, Version};
use outrigger_e2e::process::until_some;
use outrigger_e2e::raw::Ask;

/// Changes per version.
const ROUNDS: u32 = 9;

/// When a set of so many instances came into use.
#[derive(Debug, Default)]
struct Sets(Mutex<Vec<(Instant, usize)>>);

impl Observe for Sets {
    fn observe(&self, event: &Event<'_>) {
        if let Event::SetChanged { instances, .. } = event {
            let mut sets = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            sets.push((Instant::now(), *instances));
        }
    }
}

impl Sets {
    fn reached(&self, wanted: usize) -> Option<Instant> {
        let sets = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        sets.iter().find(|(_, instances)| *instances == wanted).map(|(at, _)| *at)
    }
}

/// When a plain blocking query that waits on `index` has come back.
fn raw_query(consul: SocketAddr, index: u64) -> Instant {
    let path = format!("/v1/health/service/stock?index={index}&wait=30s&stale");
    let ask = Ask { timeout: Duration::from_secs(40), ..Ask::new("GET", &path) };
    let answer = ask.send(consul).expect("an answer");
    assert_eq!(answer.status, 200, "{answer}");
    Instant::now()
}

fn median(values: &mut [Duration]) -> Duration {
    values.sort_unstable();
    values[values.len() / 2]
}

async fn change_is_in_use_at_once(version: Version) {
    let Some(builder) = RealConsul::builder(version) else { return };
    let consul = builder.start().expect("consul starts");
    let register = |number: u32| {
        let body = format!(
            r#"{{"ID":"stock-{number}","Name":"stock","Address":"127.0.0.1","Port":{}}}"#,
            9_000 + number
        );
        let answer = consul.ask("PUT", "/v1/agent/service/register", body.as_bytes());
        assert!(answer.is_ok_and(|answer| answer.status == 200), "registered");
    };
    register(0);
    let sets = Arc::<Sets>::default();
    let caller = outrigger::builder("caller").consul(consul.url());
    let caller = caller.observer(Arc::clone(&sets) as _).join().await.expect("joined");
    // Nobody listens there; the call makes the watch begin.
    let _refused = caller.get("http://stock/").await;
    let limit = Duration::from_secs(10);
    assert!(until_some(limit, || sets.reached(1)).is_some(), "the first set comes into use");

    let (mut behind, mut whole) = (Vec::new(), Vec::new());
    for number in 1..=ROUNDS {
        // Changes are followed once a second; a single one is followed at once.
        tokio::time::sleep(Duration::from_millis(1_100)).await;
        let before = consul.ask("GET", "/v1/health/service/stock", b"").expect("an answer");
        let index = before.index().expect("an index");
        let address = consul.address();
        let query = std::thread::spawn(move || raw_query(address, index));
        // Both wait before the change is made.
        tokio::time::sleep(Duration::from_millis(100)).await;
        let made = Instant::now();
        register(number);
        let raw = tokio::task::spawn_blocking(|| query.join()).await;
        let raw = raw.expect("waited").expect("the query comes back");
        let wanted = number as usize + 1;
        let ours = until_some(limit, || sets.reached(wanted)).expect("the set comes into use");
        behind.push(ours.saturating_duration_since(raw));
        whole.push(ours.saturating_duration_since(made));
    }
    let (behind_at, whole_at) = (median(&mut behind), median(&mut whole));
    println!(
        "consul {}: {ROUNDS} changes in use {whole_at:.1?} after they were made, {behind_at:.1?} \
         after a plain blocking query told them (medians)",
        version.number()
    );
    assert!(behind_at <= Duration::from_millis(20), "{behind:?}");

    // Whoever leaves is still served for two seconds after it has left: callers must have heard of
    // it by then also when others come and go at the same time. A second by the watch's own pace,
    // and half as much again that a busy machine takes to run whoever is woken.
    let mut late = Vec::new();
    for number in ROUNDS + 1..=ROUNDS + 12 {
        late.push((number as usize + 1, Instant::now()));
        register(number);
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
    let last = late.last().map_or(0, |(wanted, _)| *wanted);
    assert!(until_some(limit, || sets.reached(last)).is_some(), "the last set comes into use");
    let known = |wanted: usize| (wanted..=last).filter_map(|size| sets.reached(size)).min();
    let took = late.iter().map(|(wanted, made)| {
        known(*wanted).expect("it came into use").saturating_duration_since(*made)
    });
    let most = took.max().unwrap_or_default();
    println!(
        "consul {}: 12 changes, four a second: each in use within {most:.2?}",
        version.number()
    );
    assert!(most <= Duration::from_millis(1_500), "{most:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_at_the_newest_consul_is_in_use_at_once() {
    change_is_in_use_at_once(Version::New).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_at_the_oldest_consul_is_in_use_at_once() {
    change_is_in_use_at_once(Version::Old).await;
}
