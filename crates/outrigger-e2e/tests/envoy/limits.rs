//! Rates at a service's own door.

use std::time::{Duration, Instant};

use crate::cases::{Case, numbers};
use crate::findings::Findings;
use crate::replies::flags;
use crate::stage::{Answer, Stage, alike};
use crate::words::{millis, outbound};

/// The front's policy with the bucket of the case.
fn inbound(case: &Case) -> String {
    let every = case.time("fill_interval").expect("a time");
    let (fill, most) = (case.number("tokens_per_fill"), case.number("max_tokens"));
    let (fill, most) = (fill.expect("tokens"), most.expect("tokens"));
    let rate = format!("{fill}/{}s", every.as_secs());
    assert_eq!(millis(every), format!("{}000ms", every.as_secs()), "whole seconds");
    format!(
        "version: 1\nservice: front\ninbound: {{ rate_limits: [ {{ rate: {rate}, burst: {most} }} ] }}\n"
    )
}

/// Waits until the door obeys its policy, which may use tokens up.
pub(crate) async fn until_in_force(stage: &Stage) {
    for _ in 0..500 {
        let answer = stage.get().await;
        if answer.status != 200 || answer.header("ratelimit-limit").is_some() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("the policy of the front is never obeyed");
}

async fn set(case: &Case) -> Stage {
    let stage = Stage::set_with(&outbound(case), &inbound(case), alike(1, &[]).await, &[]).await;
    until_in_force(&stage).await;
    // Until the bucket is full again.
    tokio::time::sleep(case.time("fill_interval").expect("a time").mul_f64(1.2)).await;
    stage
}

async fn one_after_the_other(stage: &Stage, count: usize) -> Vec<Answer> {
    let mut answers = Vec::with_capacity(count);
    for _ in 0..count {
        answers.push(stage.get().await);
    }
    answers
}

/// `5 requests at once`
pub(crate) async fn burst(case: Case) -> Findings {
    let stage = set(&case).await;
    let mut answers = stage.at_once(case.numbers_of_load()[0] as usize).await;
    answers.sort_by_key(|answer| answer.status);
    let refused = answers.last().expect("answers");
    let mut findings = Findings::default();
    for key in case.keys() {
        let wanted = case.wanted(&key);
        match &*key {
            "statuses" => {
                let found = answers.iter().map(|answer| f64::from(answer.status)).collect();
                findings.same(&key, numbers(wanted), found);
            }
            "body" => findings.same(&key, wanted.as_str(), Some(&*refused.body)),
            "flags" => {
                flags(&mut findings, &key, wanted.as_str().expect("a text"), 0, refused);
            }
            "headers_absent" => {
                for name in wanted.as_array().expect("names") {
                    let name = name.as_str().expect("a name");
                    findings.same(&format!("{key}.{name}"), None, refused.header(name));
                }
            }
            other => panic!("{}: nobody looks at {other}", case.id),
        }
    }
    findings
}

/// `polling every 60 ms`
pub(crate) async fn refill(case: Case) -> Findings {
    let stage = set(&case).await;
    let wanted = numbers(case.wanted("ok_at_s"));
    let every = case.numbers_of_load()[0] / 1e3;
    let began = Instant::now();
    let mut ok = Vec::new();
    let mut ticks = tokio::time::interval(Duration::from_secs_f64(every));
    while ok.len() < wanted.len() && began.elapsed() < Duration::from_secs(6) {
        ticks.tick().await;
        if stage.get().await.status == 200 {
            ok.push(began.elapsed().as_secs_f64());
        }
    }
    let mut findings = Findings::default();
    findings.same("ok_at_s", wanted.len(), ok.len());
    for (wanted, found) in wanted.iter().zip(ok) {
        // A token is seen by the first poll after it came.
        findings.within("ok_at_s", *wanted, found, 1.5 * every);
    }
    findings
}

/// What is told of the bucket.
pub(crate) async fn headers(case: Case) -> Findings {
    let stage = set(&case).await;
    let answers = one_after_the_other(&stage, case.numbers_of_load()[0] as usize).await;
    let mut findings = Findings::default();
    for (key, answer) in [("first", &answers[0]), ("rejected", &answers[answers.len() - 1])] {
        for (name, value) in case.wanted(key).as_object().expect("headers") {
            // The draft that both follow has no `x-`.
            let ours = name.strip_prefix("x-").expect("an x-");
            findings.same(key, value.as_str(), answer.header(ours));
        }
    }
    findings
}
