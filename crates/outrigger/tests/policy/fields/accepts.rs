//! `inbound`: what the service's own side does.

use std::sync::Arc;
use std::time::Duration;

use outrigger::core::Observe;

use super::bounds::Spared;
use crate::fleet::{header, policy};
use crate::inbound::Stock;

#[tokio::test]
async fn rates_per_query_path_and_address_have_buckets_of_their_own() {
    for (per, asked) in [
        ("{ query: user }", [("/a?user=1", 200), ("/b?user=1", 429), ("/a?user=2", 200)]),
        ("path", [("/a?x=1", 200), ("/a?x=2", 429), ("/b", 200)]),
        ("client_address", [("/a", 200), ("/b", 429), ("/c", 429)]),
        ("service", [("/a", 200), ("/b", 429), ("/c", 429)]),
    ] {
        let rules =
            format!("inbound: {{ rate_limits: [ {{ rate: 1/h, burst: 1, per: {per} }} ] }}");
        let stock = Stock::start(Some(&policy(&rules)), |builder| builder).await;
        for (path, wanted) in asked {
            assert_eq!(stock.status(path, "a", "").await, wanted, "{per}: {path}");
        }
    }
}

#[tokio::test]
async fn max_keys_bounds_the_buckets_and_when_full_says_what_then() {
    // The table has room for up to twice as many as are asked for.
    for (when_full, admitted) in [("refuse", 128), ("share", 130)] {
        let rules = format!(
            "inbound: {{ rate_limits: [ {{ rate: 1/h, burst: 2, per: {{ query: user }}, \
             max_keys: 64, when_full: {when_full} }} ] }}"
        );
        let stock = Stock::start(Some(&policy(&rules)), |builder| builder).await;
        let mut seen = 0;
        for user in 0..400 {
            let status = stock.status(&format!("/?user={user}"), "a", "").await;
            seen += usize::from(status == 200);
        }
        // Each user asks once, and none of the buckets is full again within the hour: as many are
        // let in as there are buckets, and with `share` two more by the one that the rest share.
        assert!(seen <= admitted, "{when_full}: {seen} of 400 were let in");
        assert!(seen >= 64, "{when_full}: {seen} of 400 were let in");
    }
}

#[tokio::test]
async fn a_rate_in_observe_mode_counts_and_refuses_nobody() {
    let spared = Arc::new(Spared::default());
    let observer = Arc::clone(&spared) as Arc<dyn Observe>;
    let rules = "inbound: { rate_limits: [ { name: trial, rate: 1/h, burst: 1, mode: observe } ] }";
    let stock = Stock::start(Some(&policy(rules)), |builder| builder.observer(observer)).await;
    for _ in 0..4 {
        assert_eq!(stock.status("/", "a", "").await, 200);
    }
    assert_eq!(spared.of("trial"), 3);
}

#[tokio::test]
async fn an_adaptive_concurrency_stands_below_max_in_flight() {
    let rules =
        "inbound: { concurrency: { max_in_flight: 50, adaptive: { initial: 1, min: 1, max: 1 } } }";
    let stock = Stock::start(Some(&policy(rules)), |builder| builder).await;
    let (one, two) = tokio::join!(stock.status("/slow", "a", ""), stock.status("/slow", "b", ""));
    let mut both = [one, two];
    both.sort_unstable();
    assert_eq!(both, [200, 503]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn shed_turns_some_away_while_the_processors_are_busy_and_lets_some_in() {
    let busy = Arc::new(std::sync::atomic::AtomicBool::new(true));
    let burn = || {
        let burning = Arc::clone(&busy);
        std::thread::spawn(move || {
            let mut n = 1_u64;
            while burning.load(std::sync::atomic::Ordering::Relaxed) {
                n = std::hint::black_box(n.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1));
            }
        })
    };
    let burners = [burn(), burn()];
    let rules = policy("inbound: { shed: { cpu_above: 0.1 } }");
    let mut stock = Stock::start(Some(&rules), |builder| builder).await;
    let (mut shed, mut served) = (0_u32, 0_u32);
    let both = async {
        while shed < 5 || served < 5 {
            let response = stock.send("/", "a", "").await;
            match response.status().as_u16() {
                200 => served += 1,
                503 => {
                    assert_eq!(
                        header(response.headers(), "x-outrigger-reason"),
                        Some("overloaded")
                    );
                    assert_eq!(header(response.headers(), "retry-after"), Some("1"));
                    shed += 1;
                }
                other => panic!("{other}"),
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    let in_time = tokio::time::timeout(Duration::from_secs(20), both).await;
    let page = |stock: &Stock| {
        let mut page = String::new();
        stock.fleet.telemetry().metrics().encode(&mut page);
        page
    };
    let during = page(&stock);
    // Without the section nobody is turned away, and whoever watches hears that it is over.
    stock.push(&policy("inbound: { body_limit: 1MiB }")).await;
    busy.store(false, std::sync::atomic::Ordering::Relaxed);
    for burner in burners {
        burner.join().expect("no panic");
    }
    assert!(in_time.is_ok(), "{shed} shed, {served} served");
    assert!(during.contains("outrigger_shedding{outrigger_service=\"stock\"} 1"), "{during}");
    assert_eq!(stock.status("/", "a", "").await, 200);
    let after = page(&stock);
    assert!(after.contains("outrigger_shedding{outrigger_service=\"stock\"} 0"), "{after}");
}
