//! One request, and everything that can be told of its answer.

use std::time::Duration;

use outrigger_testkit::{Scripted, Step};
use serde_json::Value;

use crate::cases::Case;
use crate::findings::Findings;
use crate::stage::{Answer, Ask, Stage, alike};
use crate::words::outbound;

/// Compares Envoy's response flags with what our answer tells: the reason, and the tries.
pub(crate) fn flags(findings: &mut Findings, key: &str, wanted: &str, retries: u64, got: &Answer) {
    let words: Vec<&str> = wanted.split(',').collect();
    let reason = words.iter().find_map(|word| match *word {
        "UF" => Some("connect_failure"),
        "UC" => Some("reset"),
        "UT" => Some("timeout"),
        "UO" => Some("overloaded"),
        "UH" => Some("no_endpoint"),
        "RL" => Some("rate_limited"),
        "FI" => Some("fault"),
        // All retries are used up, a delay was injected, nothing to tell: none is a reason.
        "URX" | "DI" | "-" => None,
        other => panic!("nobody knows the flag {other}"),
    });
    findings.same(key, reason, got.header("x-outrigger-reason"));
    if retries > 0 {
        findings.same(key, words.contains(&"URX"), got.tries() == retries + 1);
    }
}

/// The endpoints that the load speaks of.
async fn endpoints(case: &Case) -> Vec<Scripted> {
    let slow = |ms| Step::answer(200).after(Duration::from_millis(ms));
    match &*case.load {
        "backend always 503" | "POST with a body, backend always 503" => {
            alike(1, &[Step::answer(503)]).await
        }
        "port closed" => {
            let mut endpoints = alike(1, &[]).await;
            endpoints[0].refuse().await;
            endpoints
        }
        "backend resets after reading the request" => alike(1, &[Step::reset()]).await,
        "429 then 200" => alike(1, &[Step::answer(429), Step::answer(200)]).await,
        "backend takes 1 s" => alike(1, &[slow(1_000)]).await,
        "3 hosts, each takes 1 s" => alike(3, &[slow(1_000)]).await,
        "backend takes 0.1 s" => alike(1, &[slow(100)]).await,
        "one request" => alike(1, &[]).await,
        other => panic!("{}: nobody knows the load {other:?}", case.id),
    }
}

/// A time, a reason or a number that an endpoint was told, in Envoy's header and in ours.
fn told(findings: &mut Findings, key: &str, wanted: &Value, stage: &Stage) {
    let seen = stage.endpoints.iter().flat_map(Scripted::seen).last().expect("a request");
    for (name, value) in wanted.as_object().expect("headers") {
        let wanted: f64 = value.as_str().expect("a text").parse().expect("a number");
        let number = |name| seen.header(name).and_then(|value| value.parse::<f64>().ok());
        match &**name {
            // Theirs counts tries, ours the retries before this one.
            "x-envoy-attempt-count" => {
                findings.same(key, Some(wanted), number("x-outrigger-attempt").map(|n| n + 1.0));
            }
            "x-envoy-expected-rq-timeout-ms" => {
                let found = number("x-outrigger-deadline-ms").unwrap_or(f64::NAN);
                findings.within(key, wanted, found, 0.15 * wanted);
            }
            other => panic!("nobody knows the header {other}"),
        }
    }
}

/// Asks once, and looks at all that is expected of the answer.
pub(crate) async fn one_request(case: Case) -> Findings {
    let stage = Stage::set(&outbound(&case), endpoints(&case).await).await;
    let control =
        case.id.strip_prefix("header-control-default ").and_then(|header| header.split_once(": "));
    let headers: Vec<(&str, &str)> = control.into_iter().collect();
    let (method, body) =
        if case.load.starts_with("POST") { ("POST", "a body") } else { ("GET", "") };
    let got = stage.ask(Ask { method, body, headers: &headers }).await;
    stage.view();

    let mut findings = Findings::default();
    let retries = case.number("num_retries").unwrap_or(0.0) as u64;
    for key in case.keys() {
        let wanted = case.wanted(&key);
        match &*key {
            "status" => findings.same(&key, wanted.as_u64(), Some(u64::from(got.status))),
            "upstream_calls" => findings.same(&key, wanted.as_u64(), Some(stage.all_calls())),
            "upstream_calls_per_host" => {
                let calls = crate::cases::numbers(wanted);
                let found = stage.calls().iter().map(|calls| *calls as f64).collect();
                findings.same(&key, calls, found);
            }
            "attempts" => findings.same(&key, wanted.as_u64(), Some(got.tries())),
            "flags" => {
                flags(&mut findings, &key, wanted.as_str().expect("a text"), retries, &got);
            }
            "body" => findings.same(&key, wanted.as_str(), Some(&*got.body)),
            "t_s" => findings.close(&key, wanted.as_f64().expect("seconds"), got.took),
            "details" => {
                // Which of our timeouts it was is told to nobody but the span.
                let is_timeout =
                    wanted.as_str().is_some_and(|details| details.ends_with("timeout"));
                findings.same(
                    &key,
                    is_timeout,
                    got.header("x-outrigger-reason") == Some("timeout"),
                );
            }
            "upstream_header" | "upstream_header_last" => {
                told(&mut findings, &key, wanted, &stage);
            }
            other => panic!("{}: nobody looks at {other}", case.id),
        }
    }
    findings
}

/// What Envoy answers by itself, as HTTP and as gRPC.
pub(crate) async fn local_reply(case: Case) -> Findings {
    let what = case.id.strip_prefix("local-reply ").expect("one of these");
    let own = "version: 1\nservice: front\n";
    let (stock, front, step) = match what {
        "rbac" => (
            String::new(),
            "inbound: { authorize: { default: deny } }".to_owned(),
            Step::answer(200),
        ),
        "fault-abort-503" => (
            crate::words::everything("fault: { abort: { ratio: 1, status: 503 } }"),
            String::new(),
            Step::answer(200),
        ),
        "timeout" => ("timeout: 200ms".to_owned(), String::new(), Step::stall()),
        "overflow" => ("capacity: { max_requests: 1 }".to_owned(), String::new(), Step::stall()),
        "no-hosts" => (String::new(), String::new(), Step::answer(200)),
        "local-rate-limit" => (String::new(), rate(""), Step::answer(200)),
        "local-rate-limit rate_limited_as_resource_exhausted" => {
            (String::new(), rate(", grpc_status: resource_exhausted"), Step::answer(200))
        }
        other => panic!("nobody knows {other}"),
    };
    fn rate(more: &str) -> String {
        format!("inbound: {{ rate_limits: [ {{ rate: 1/h }} ]{more} }}")
    }
    let stock = format!("version: 1\nservice: stock\neject: none\n{stock}\n");
    let front = if front.is_empty() { front } else { format!("{own}{front}\n") };
    let count = usize::from(what != "no-hosts");
    let stage = Stage::set_with(&stock, &front, alike(count, &[step]).await, &[]).await;
    if !front.is_empty() {
        crate::limits::until_in_force(&stage).await;
    }
    // Fills the only place there is, as long as it is held.
    let filling = async {
        if what == "overflow" {
            stage.get().await;
        }
        std::future::pending::<()>().await;
    };
    let asking = async {
        while what == "overflow" && stage.all_calls() == 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let http = stage.get().await;
        let grpc = [("content-type", "application/grpc"), ("te", "trailers")];
        let grpc = stage.ask(Ask { method: "POST", headers: &grpc, ..Ask::default() }).await;
        (http, grpc)
    };
    let (http, grpc) = tokio::select! {
        answers = asking => answers,
        () = filling => unreachable!("never ends"),
    };
    let mut findings = Findings::default();
    let wanted = case.wanted("http");
    findings.same("http", wanted["status"].as_u64(), Some(u64::from(http.status)));
    findings.same("http", wanted["body"].as_str(), Some(&*http.body));
    if what != "rbac" {
        flags(&mut findings, "http", wanted["flags"].as_str().expect("a text"), 0, &http);
    }
    let wanted = case.wanted("grpc");
    findings.same("grpc", wanted["http_status"].as_u64(), Some(u64::from(grpc.status)));
    let code = grpc.header("grpc-status").and_then(|code| code.parse().ok());
    findings.same("grpc", wanted["grpc_status"].as_u64(), code);
    findings.same("grpc", wanted["grpc_message"].as_str(), grpc.header("grpc-message"));
    findings
}
