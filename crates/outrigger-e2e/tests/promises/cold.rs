//! A start while the registry is away.

use std::time::Instant;

use outrigger::core::{Freshness, Reason};
use outrigger_dev::Agent;
use tokio::time::sleep;

use crate::stage::{Serving, agent, free_address, member, ms, text, turn, within};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_start_without_a_registry_refuses_with_a_reason_and_connects_when_it_comes() {
    let _turn = turn().await;
    let address = free_address().await;
    let url = format!("http://{address}");
    let stock = Serving::start(member("stock", &url), |_, _| async { text("42") }).await;
    let caller = member("caller", &url).join().await.expect("joining needs no registry");

    let begin = Instant::now();
    let error = caller.get("http://stock/").await.expect_err("nobody is known");
    let first = begin.elapsed();
    assert_eq!((error.reason(), error.status()), (Some(Reason::NoEndpoint), Some(503)));
    assert!(first <= ms(3_500), "at most 3 s for the first word: {first:?}");
    // Long enough for a backoff without a bound to have grown past the promise.
    sleep(ms(6_000)).await;

    let agent = Agent::builder().bind(address).await.expect("the agent's port is still free");
    let up = Instant::now();
    let connected = async {
        loop {
            if caller.get("http://stock/").await.is_ok_and(|answer| answer.status() == 200) {
                return up.elapsed();
            }
            sleep(ms(10)).await;
        }
    };
    let took = within(ms(10_000), "an answer after the registry has come", connected).await;
    println!(
        "cold start: refused after {first:.1?}; registered, found and answered {took:.1?} after the registry came"
    );
    assert!(took <= ms(5_000), "{took:?}");
    stock.end().await;
    agent.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_start_without_a_registry_lives_on_the_last_good_set() {
    let _turn = turn().await;
    let dir = tempfile::tempdir().expect("a directory");
    let agent = agent().await;
    let url = agent.url();
    let stock = Serving::start(member("stock", &url), |_, _| async { text("42") }).await;
    let stock = stock.registered().await;
    let before = member("caller", &url).snapshots(dir.path()).join().await.expect("joined");
    assert_eq!(before.get("http://stock/").await.expect("an answer").status(), 200);
    before.shutdown(ms(2_000)).await;
    agent.stop().await;

    let after = member("caller", &url).snapshots(dir.path()).join().await.expect("joined");
    let begin = Instant::now();
    let answer = after.get("http://stock/").await.expect("an answer from the file's endpoint");
    let took = begin.elapsed();
    assert_eq!(answer.status(), 200);
    let views = after.services();
    let freshness = views.first().and_then(|view| view.freshness);
    println!(
        "cold start with the last good set: answered after {took:.1?}, freshness {freshness:?}"
    );
    assert_eq!(freshness, Some(Freshness::File), "and says that it is from a file");
    assert!(took <= ms(3_000), "{took:?}");
    drop(stock);
}
