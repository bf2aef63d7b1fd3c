//! The corpus of `outrigger-http` once more, through a whole sidecar: as a caller of its
//! application, and as the application itself that calls.
#![allow(dead_code, reason = "what is shared is used in parts")]

#[path = "../../outrigger-http/tests/smuggling/client.rs"]
mod client;
#[path = "../../outrigger-http/tests/smuggling/corpus.rs"]
mod corpus;
#[path = "../../outrigger-http/tests/smuggling/endpoint.rs"]
mod endpoint;
#[path = "sidecar/stage.rs"]
mod stage;

use client::{PATIENCE, ask, cases, expected, judge};
use outrigger::core::Address;
use stage::Stage;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_caller_of_the_application_makes_two_readers_disagree() {
    let (to, seen) = endpoint::start().await;
    let stage = Stage::new();
    let beside = stage.beside("inventory", to).await;
    let mut wrong = Vec::new();
    let cases = cases();
    for case in cases.iter().filter(|case| case.verdict != "closed") {
        let (answered, refused) = expected(case);
        let payload = corpus::bytes(&case.lines.concat());
        seen.take();
        let count = answered + usize::from(refused.is_some());
        let outcome = ask(beside.inbound(), &payload, count, PATIENCE).await;
        if let Err(why) = judge(case, &outcome, &seen.take()) {
            wrong.push(format!("{}: {why}", case.title));
        }
    }
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
    println!("promise 41: inbound, {} payloads: 0 disagreed", cases.len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_that_the_application_sends_makes_two_readers_disagree() {
    let (to, seen) = endpoint::start().await;
    let stage = Stage::new();
    let mut config = stage.config("orders");
    for name in ["a", "b"] {
        let name = name.parse().expect("a name");
        config.endpoints.insert(name, vec![Address::from(to)]);
    }
    let orders = stage.start(config).await;
    let (mut wrong, mut elsewhere) = (Vec::new(), 0);
    let cases = cases();
    for case in cases.iter().filter(|case| case.verdict != "closed") {
        let (answered, refused) = expected(case);
        let payload = corpus::bytes(&case.lines.concat());
        seen.take();
        let count = answered + usize::from(refused.is_some());
        let outcome = ask(orders.outbound(), &payload, count, PATIENCE).await;
        let seen = seen.take();
        if refused.is_some() || outcome.statuses.iter().all(|status| *status == 200) {
            if let Err(why) = judge(case, &outcome, &seen) {
                wrong.push(format!("{}: {why}", case.title));
            }
            continue;
        }
        // Framed well, and for nobody who is known: `*`, an address, no host at all.
        elsewhere += 1;
        let whole = usize::from(outcome.is_canary_answered);
        if outcome.statuses.len() != answered || seen.len() != whole {
            wrong.push(format!("{}: {:?}, seen {seen:?}", case.title, outcome.statuses));
        }
    }
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
    assert!(elsewhere <= 6, "{elsewhere} led elsewhere");
    println!(
        "promise 41: outbound, {} payloads: 0 disagreed, {elsewhere} for nobody who is known",
        cases.len()
    );
}
