//! Which endpoint a request goes to, and which gets a copy or a second try.

use std::sync::Arc;
use std::time::Duration;

use outrigger_testkit::{Scripted, Step};
use tokio::task::JoinSet;

use crate::cases::{Case, numbers};
use crate::findings::Findings;
use crate::stage::{Ask, Stage, alike};
use crate::words::{everything, outbound};

const SUBSETS: &str = "subsets: { a: { language: java }, b: { language: rust } }\n";

/// The subset is chosen once for a request.
pub(crate) async fn split(case: Case) -> Findings {
    let weights = numbers(&case.policy["weights"]);
    let route = format!(
        "split: [ {{ subset: a, weight: {} }}, {{ subset: b, weight: {} }} ]",
        weights[0], weights[1]
    );
    let policy = format!("{}{SUBSETS}{}\n", outbound(&case), everything(&route));
    let stage = Stage::set(&policy, alike(2, &[]).await).await;
    stage.endpoints[0].follow([Step::answer(503)]);
    let count = case.numbers_of_load()[0];
    let mut failed = 0;
    for _ in 0..count as usize {
        failed += u64::from(stage.call().await == Some(503));
    }
    stage.view();
    let mut findings = Findings::default();
    let share = weights[0] / weights.iter().sum::<f64>();
    let sigma = (share * (1.0 - share) / count).sqrt();
    let wanted = case.wanted("approx_failed").as_f64().expect("a share");
    findings.within("approx_failed", wanted, failed as f64 / count, 4.0 * sigma);
    let each = case.wanted("a_calls_per_failed").as_u64().expect("a number");
    findings.same("a_calls_per_failed", each * failed, stage.endpoints[0].requests());
    findings
}

/// A slow and failing mirror changes nothing.
pub(crate) async fn mirror(case: Case) -> Findings {
    let route = "split: [ { subset: b, weight: 100 } ], mirror: { subset: a, ratio: 1 }";
    let policy = format!("{}{SUBSETS}{}\n", outbound(&case), everything(route));
    let slow = Step::answer(500).after(Duration::from_millis(300));
    let stage = Stage::set(&policy, alike(2, &[]).await).await;
    stage.endpoints[0].follow([slow]);
    let trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let headers = [("traceparent", trace), ("x-request-id", "of the client")];
    let got = stage.ask(Ask { headers: &headers, ..Ask::default() }).await;
    stage.view();
    // A copy that came later than that, or a second one, would be seen.
    tokio::time::sleep(Duration::from_millis(700)).await;
    let mut findings = Findings::default();
    findings.same("status", case.wanted("status").as_u64(), Some(u64::from(got.status)));
    findings
        .holds("status", got.took < Duration::from_millis(280), || "it was waited for".to_owned());
    findings.same("mirror_calls", case.wanted("mirror_calls").as_u64(), Some(stage.calls()[0]));
    let (copy, sent) = (stage.endpoints[0].seen(), stage.endpoints[1].seen());
    let (Some(copy), Some(sent)) = (copy.first(), sent.first()) else {
        findings.holds("mirror_request", false, || "there is none".to_owned());
        return findings;
    };
    for (name, word) in case.wanted("mirror_request").as_object().expect("headers") {
        let (copied, original) = (copy.header(name), sent.header(name));
        let key = format!("mirror_request.{name}");
        match word.as_str().expect("a word") {
            "unchanged" | "same" => findings.same(&key, original, copied),
            "as sent" => findings.same(&key, Some(trace), copied),
            "set" => findings.holds(&key, copied.is_some(), || format!("no {name}")),
            value => findings.same(&key, Some(value), copied),
        }
    }
    findings
}

/// A second try joins the first, and the quicker one wins.
pub(crate) async fn hedge(case: Case) -> Findings {
    let [a, b] = case.numbers_of_load()[..] else { panic!("{}", case.load) };
    let after = crate::words::millis(case.time("per_try_timeout").expect("a time"));
    let policy = format!("{}hedge: {{ after: {after} }}\n", outbound(&case));
    let answer = |secs, name: &'static str| {
        Step::answer(200).with_body(name).after(Duration::from_secs_f64(secs))
    };
    let mut endpoints = alike(1, &[answer(a, "A")]).await;
    endpoints.extend(alike(1, &[answer(b, "B")]).await);
    let stage = Stage::set(&policy, endpoints).await;
    let mut findings = Findings::default();
    // Whichever of the two comes first: twice, since one after the other is chosen.
    for _ in 0..2 {
        let got = stage.get().await;
        findings.same("status", case.wanted("status").as_u64(), Some(u64::from(got.status)));
        findings.same("winner", case.wanted("winner").as_str(), Some(&*got.body));
    }
    stage.view();
    findings.holds("winner", stage.calls()[0] > 0, || "A was never asked".to_owned());
    findings
}

/// `600 sequential`
pub(crate) async fn weights(case: Case) -> Findings {
    let weights: Vec<u16> =
        numbers(&case.policy["weights"]).iter().map(|weight| *weight as u16).collect();
    let endpoints = alike(weights.len(), &[]).await;
    let stage = Stage::set_with(&outbound(&case), "", endpoints, &weights).await;
    for _ in 0..case.numbers_of_load()[0] as usize {
        stage.call().await;
    }
    stage.view();
    let mut findings = Findings::default();
    findings.split("split", &numbers(case.wanted("split")), &stage.calls());
    findings
}

/// `8 clients x 60; host 0 takes 200 ms, others 10 ms`
pub(crate) async fn slow_host(case: Case) -> Findings {
    let [clients, each, _, slow, quick] = case.numbers_of_load()[..] else {
        panic!("{}", case.load)
    };
    let wanted = numbers(case.wanted("split"));
    let step = |ms| Step::answer(200).after(Duration::from_secs_f64(ms / 1e3));
    let endpoints: Vec<Scripted> = alike(wanted.len(), &[step(quick)]).await;
    endpoints[0].follow([step(slow)]);
    let stage = Arc::new(Stage::set(&outbound(&case), endpoints).await);
    let mut running: JoinSet<()> = (0..clients as usize)
        .map(|_| {
            let stage = Arc::clone(&stage);
            async move {
                for _ in 0..each as usize {
                    stage.call().await;
                }
            }
        })
        .collect();
    while let Some(done) = running.join_next().await {
        done.expect("a client");
    }
    stage.view();
    let mut findings = Findings::default();
    findings.split("split", &wanted, &stage.calls());
    findings
}
