//! HTTP/1.1.

use crate::client::{PATIENCE, ask, cases, expected, judge};
use crate::{corpus, endpoint, proxy};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_payload_over_http1_makes_two_readers_disagree() {
    let (to, seen) = endpoint::start().await;
    let address = proxy::start(to).await;
    let (mut wrong, mut answered, mut refused) = (Vec::new(), 0, 0);
    let cases = cases();
    assert!(cases.len() >= 150, "{} payloads", cases.len());
    for case in &cases {
        let payload = corpus::bytes(&case.lines.concat());
        let (wanted, refusal) = expected(case);
        let outcome = match case.verdict.as_str() {
            // A peer that says nothing is waited for; that it is shown the door is told elsewhere.
            "closed" => continue,
            _ => ask(address, &payload, wanted + usize::from(refusal.is_some()), PATIENCE).await,
        };
        answered += wanted;
        refused += usize::from(refusal.is_some());
        if let Err(why) = judge(case, &outcome, &seen.take()) {
            wrong.push(format!("{}: {why}", case.title));
        }
    }
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
    println!(
        "promise 41: {} payloads over HTTP/1.1: {answered} requests answered and as many seen by \
         the endpoint, {refused} refused by 400, 414 or 431 and a closed connection, 0 disagreed",
        cases.len()
    );
}
