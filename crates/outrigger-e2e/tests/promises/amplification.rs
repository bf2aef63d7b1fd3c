//! Retries of stacked services do not multiply, and what may not be repeated is not.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use http::{Method, Request};
use outrigger::{Body, Fleet};
use outrigger_dev::Agent;
use outrigger_testkit::{Scripted, Step};
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval};

use crate::stage::{Serving, agent, hop, member, ms, retrying, turn};

/// Requests a second, and for how long.
const RATE: u32 = 100;
const SPAN: Duration = Duration::from_secs(3);

/// caller → first → second → third → backend, each retrying.
struct Chain {
    caller: Fleet,
    hops: Vec<Serving>,
    backend: Scripted,
    _agent: Agent,
}

impl Chain {
    async fn start(backend: Scripted) -> Self {
        let agent = agent().await;
        let url = agent.url();
        let at = [backend.address()];
        let third = member("third", &url).rules(retrying()).endpoints("backend", at);
        let third = hop(third.expect("a name"), "backend").await;
        let second = hop(member("second", &url).rules(retrying()), "third").await;
        let first = hop(member("first", &url).rules(retrying()), "second").await;
        let mut hops = Vec::new();
        for hop in [third, second, first] {
            hops.push(hop.registered().await);
        }
        let caller = member("caller", &url).rules(retrying()).join().await.expect("joined");
        Self { caller, hops, backend, _agent: agent }
    }

    /// Sends at `RATE` for `SPAN`; says how many were sent, how many answered 200, and how long it
    /// took.
    async fn load(&self, method: Method) -> (u64, u64, Duration) {
        let begin = Instant::now();
        let mut ticks = interval(Duration::from_secs(1) / RATE);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
        let mut running = JoinSet::new();
        let mut sent = 0;
        while begin.elapsed() < SPAN {
            ticks.tick().await;
            let request = Request::builder()
                .method(method.clone())
                .uri(format!("http://first/{sent}"))
                .body(Body::empty());
            let (caller, request) = (self.caller.clone(), request.expect("a request"));
            running.spawn(async move {
                matches!(caller.send(request).await, Ok(answer) if answer.status() == 200)
            });
            sent += 1;
        }
        let answered = running.join_all().await.into_iter().filter(|good| *good).count();
        (sent, answered as u64, begin.elapsed())
    }

    async fn end(self) {
        for hop in self.hops.into_iter().rev() {
            hop.end().await;
        }
    }
}

/// The backend's share of failures, in twentieths.
async fn brownout(failing: u64) {
    let turns = AtomicU64::new(0);
    let backend = Scripted::start_with(move |_| {
        let turn = turns.fetch_add(1, Ordering::Relaxed);
        // Spread, and not in step with anybody's retries.
        let bad = turn.wrapping_mul(7) % 20 < failing;
        Step::answer(if bad { 500 } else { 200 })
    });
    let chain = Chain::start(backend.await.expect("a backend")).await;
    let (sent, answered, took) = chain.load(Method::GET).await;
    let saw = chain.backend.requests();
    // 1.2 of what was sent, and ten a second with the first second's in hand.
    let allowed = 1.2 * sent as f64 + 10.0 * (took.as_secs_f64() + 1.0);
    println!(
        "{} % errors over 3 hops: {sent} sent, {answered} answered 200, the backend saw {saw} \
         ({:.2} each), {allowed:.0} are allowed",
        failing * 5,
        saw as f64 / sent as f64
    );
    assert!(saw as f64 <= allowed, "{saw} requests for {sent}, {allowed:.0} allowed");
    assert!(saw >= sent, "every request came through to the backend at least once");
    let alone = sent * (20 - failing) / 20;
    assert!(answered >= alone * 9 / 10, "retries must not make it worse: {answered} of {sent}");
    chain.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_brownout_of_half_is_not_amplified_by_three_hops() {
    let _turn = turn().await;
    brownout(10).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backend_that_always_fails_is_not_amplified_by_three_hops() {
    let _turn = turn().await;
    brownout(20).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_post_is_never_delivered_twice_through_three_hops() {
    let _turn = turn().await;
    let turns = AtomicU64::new(0);
    let backend = Scripted::start_with(move |_| match turns.fetch_add(1, Ordering::Relaxed) % 5 {
        0 => Step::answer(503),
        1 => Step::answer(500).after(ms(2)),
        2 => Step::reset(),
        3 => Step::close(),
        _ => Step::answer(200),
    });
    let chain = Chain::start(backend.await.expect("a backend")).await;
    let (sent, answered, _) = chain.load(Method::POST).await;
    let mut deliveries = BTreeMap::<String, u32>::new();
    for seen in chain.backend.seen() {
        assert_eq!(seen.method, "POST");
        *deliveries.entry(seen.path).or_default() += 1;
    }
    let twice = deliveries.values().filter(|times| **times > 1).count();
    println!(
        "POST over 3 hops, 4 of 5 broken: {sent} sent, {answered} answered 200, {} delivered, \
         {twice} twice",
        deliveries.len()
    );
    assert_eq!(twice, 0, "{deliveries:?}");
    assert!(deliveries.len() as u64 * 10 >= sent * 9, "the test reaches its backend");
    assert!(answered > 0, "and gets answers");
    chain.end().await;
}
