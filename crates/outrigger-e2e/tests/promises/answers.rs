//! A service without endpoints is refused at once, with a reason.

use std::time::Instant;

use outrigger::core::{Reason, Rejected};
use outrigger_e2e::raw::Ask;

use crate::stage::{agent, hop, member, ms, quantile, turn};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_without_endpoints_is_refused_within_ten_milliseconds() {
    let _turn = turn().await;
    let agent = agent().await;
    let caller = member("caller", &agent.url()).join().await.expect("joined");

    let begin = Instant::now();
    let first = caller.get("http://nobody/").await.expect_err("nobody is there");
    let first_took = begin.elapsed();
    assert!(matches!(first.rejected(), Some(Rejected::NoEndpoint { .. })), "{first:?}");
    assert!(first_took <= ms(3_000 + 500), "the first word may take 3 s: {first_took:?}");

    let mut took = Vec::new();
    for _ in 0..100 {
        let begin = Instant::now();
        let error = caller.get("http://nobody/").await.expect_err("nobody is there");
        took.push(begin.elapsed());
        assert_eq!(error.reason(), Some(Reason::NoEndpoint));
        assert_eq!(error.status(), Some(503));
    }
    // One in ten may have waited for a busy machine.
    let (p90, max) = (quantile(&mut took, 0.9), quantile(&mut took, 1.0));
    println!("no endpoint: first {first_took:.1?}, then p90 {p90:.2?}, max {max:.2?} of 100");
    assert!(p90 <= ms(10), "{p90:?}");

    // A service that meets it answers for it by the contract's table.
    let middle = hop(member("middle", &agent.url()), "nobody").await.registered().await;
    let address = middle.address;
    let ask = move || Ask::new("GET", "/").send(address).expect("an answer");
    let answer = tokio::task::spawn_blocking(move || [ask(), ask()][1].clone()).await;
    let answer = answer.expect("asked");
    assert_eq!(answer.status, 503, "{answer}");
    assert_eq!(answer.header("x-outrigger-reason"), Some("no_endpoint"));
    middle.end().await;
}
