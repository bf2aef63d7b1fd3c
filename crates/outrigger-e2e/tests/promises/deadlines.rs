//! One budget of time for a whole chain of calls.

use std::sync::{Arc, Mutex};
use std::time::Instant;

use outrigger::core::Reason;
use outrigger_testkit::{Scripted, Step};
use tokio::time::sleep;

use crate::stage::{Serving, agent, member, ms, pass_on, quantile, turn};

const DEADLINE: &str = "x-outrigger-deadline-ms";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_budget_of_300_ms_falls_over_three_hops_and_is_kept() {
    let _turn = turn().await;
    let agent = agent().await;
    let url = agent.url();
    let leaf = Scripted::start([Step::answer(200).after(ms(2_000))]).await.expect("a leaf");
    let headers = Arc::<Mutex<Vec<(&str, u64)>>>::default();
    let hop = async |name: &'static str, below: &'static str, wait: u64| {
        let headers = Arc::clone(&headers);
        let mut builder = member(name, &url);
        if below == "leaf" {
            builder = builder.endpoints("leaf", [leaf.address()]).expect("a name");
        }
        let hop = Serving::start(builder, move |fleet, request| {
            let left = request.headers().get(DEADLINE).and_then(|v| v.to_str().ok()?.parse().ok());
            headers.lock().expect("no panic").push((name, left.expect("a deadline comes along")));
            async move {
                sleep(ms(wait)).await;
                pass_on(fleet, below, request).await
            }
        });
        hop.await.registered().await
    };
    let third = hop("third", "leaf", 10).await;
    let second = hop("second", "third", 10).await;
    let first = hop("first", "second", 10).await;
    // The same with a hop that needs longer than there is time.
    let late = hop("late", "leaf", 400).await;

    let mut rules = outrigger::Rules::default();
    rules.timeout = Some(ms(300));
    let caller = member("caller", &url).rules(rules).join().await.expect("joined");

    // Watches begin and connections are made outside the budget.
    let _warm = caller.get("http://first/warm").await;
    headers.lock().expect("no panic").clear();
    let before = leaf.requests();

    let mut took = Vec::new();
    for _ in 0..10 {
        let begin = Instant::now();
        let error = caller.get("http://first/").await;
        took.push(begin.elapsed());
        match error {
            Ok(answer) => assert_eq!(answer.status(), 504, "the leaf needs 2 s"),
            Err(error) => {
                let reason = error.reason();
                assert!(matches!(reason, Some(Reason::Timeout | Reason::Deadline)), "{error:?}");
            }
        }
    }
    let seen = headers.lock().expect("no panic").clone();
    let leaf_seen = leaf.seen().into_iter().skip(usize::try_from(before).expect("few"));
    let at_leaf: Vec<u64> = leaf_seen
        .map(|seen| seen.header(DEADLINE).expect("a deadline").parse().expect("ms"))
        .collect();
    for name in ["first", "second", "third"] {
        assert!(seen.iter().filter(|(hop, _)| *hop == name).count() >= 9, "{name}: {seen:?}");
    }
    let of = |name: &'static str| {
        let here = seen.iter().filter(move |(hop, _)| *hop == name);
        here.map(|(_, left)| *left)
    };
    for ((first, second), (third, leaf)) in
        of("first").zip(of("second")).zip(of("third").zip(at_leaf.iter().copied()))
    {
        let falls = 300 >= first && first > second && second > third && third > leaf;
        assert!(falls, "300 ≥ {first} > {second} > {third} > {leaf} was expected");
    }
    let (p50, max) = (quantile(&mut took, 0.5), quantile(&mut took, 1.0));
    println!(
        "300 ms over 3 hops: at the leaf {at_leaf:?} ms were left; answered within p50 {p50:.1?}, \
         max {max:.1?}"
    );
    // 10 ms of promise, and as much again that a machine takes to run whoever is woken; a busy one
    // stops any single of the ten for longer, so that the worst only shows that none waits on.
    assert!(p50 <= ms(310 + 10) && max <= ms(1_000), "{took:?}");

    let before = leaf.requests();
    for _ in 0..3 {
        let answer = caller.get("http://late/").await;
        assert!(!answer.is_ok_and(|answer| answer.status() == 200), "there was no time");
    }
    sleep(ms(500)).await;
    assert_eq!(leaf.requests(), before, "nothing is begun when its time is over");
    for hop in [first, second, third, late] {
        hop.end().await;
    }
}
