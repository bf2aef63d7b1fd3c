//! What a policy says of a route is done for its requests, and for no others.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use outrigger::core::{FailureKind, Language, Reason};

use crate::fleet::{Registry, header, policy, text};

const SUBSETS: &str = "subsets: { java: { language: java }, rust: { language: rust } }\n";

#[tokio::test]
async fn each_route_has_its_own_timeout() {
    let registry = Registry::default();
    let _endpoint = registry
        .endpoint(Language::Rust, |_| async {
            tokio::time::sleep(Duration::from_millis(300)).await;
            text(200, "slow")
        })
        .await;
    registry.push(&policy(
        "timeout: 10s\nroutes:\n  - { name: quick, match: { path_prefix: /quick }, timeout: 40ms }\n  \
         - { name: post, match: { methods: [POST] }, timeout: 50ms }\n  \
         - { name: canary, match: { headers: { x-canary: \"1\" } }, timeout: 60ms }\n  \
         - { name: beta, match: { query: { beta: \"1\" } }, timeout: 70ms }",
    ));
    let caller = registry.caller().await;
    assert_eq!(caller.text("/quicker").await, "slow", "another segment");
    for (method, path, headers) in [
        ("GET", "/quick", &[][..]),
        ("GET", "/quick/x?y", &[]),
        ("GET", "/%71uick/../quick/x", &[]),
        ("POST", "/other", &[]),
        ("GET", "/other", &[("x-canary", "1")]),
        ("GET", "/other?a=b&beta=1", &[]),
    ] {
        let error = caller.send(method, path, headers).await.expect_err("too slow");
        let kind = error.failed().map(|failed| failed.kind);
        assert_eq!(kind, Some(FailureKind::Timeout), "{method} {path}: {error:?}");
    }
    for (method, path, headers) in
        [("GET", "/other", &[("x-canary", "2")][..]), ("GET", "/other?beta=2", &[])]
    {
        let response = caller.send(method, path, headers).await.expect("an answer");
        assert_eq!(response.status(), 200, "{path}");
    }
}

#[tokio::test]
async fn the_path_that_is_compared_is_the_one_that_is_sent() {
    let registry = Registry::default();
    let _endpoint = registry
        .endpoint(Language::Rust, |request| async move { text(200, request.uri().to_string()) })
        .await;
    registry.push(&policy("routes: [ { name: a, match: { path_prefix: /a } } ]"));
    let caller = registry.caller().await;
    assert_eq!(caller.text("/x/../a//b%2dc?q=%2F").await, "/a/b-c?q=%2F");
    let error = caller.get("/a%2fb").await.expect_err("ambiguous");
    assert!(error.destination().is_some(), "{error:?}");
}

#[tokio::test]
async fn each_route_has_its_own_retries() {
    let registry = Registry::default();
    let seen = Arc::new(AtomicU32::new(0));
    let count = Arc::clone(&seen);
    let _endpoint = registry
        .endpoint(Language::Rust, move |_| {
            count.fetch_add(1, Ordering::Relaxed);
            async { text(503, "no") }
        })
        .await;
    registry.push(&policy(
        "retry: { attempts: 0, backoff: { base: 1ms, max: 1ms } }\neject: none\nroutes:\n  - name: again\n    match: { path_prefix: /again }\n    \
         retry: { attempts: 2, when: [5xx] }",
    ));
    let caller = registry.caller().await;
    let tries = async |path: &str| {
        let before = seen.load(Ordering::Relaxed);
        assert_eq!(caller.get(path).await.expect("the last answer").status(), 503);
        seen.load(Ordering::Relaxed) - before
    };
    assert_eq!(tries("/once").await, 1);
    assert_eq!(tries("/again").await, 3);
}

#[tokio::test]
async fn each_route_has_its_own_circuit() {
    let registry = Registry::default();
    let _endpoint = registry
        .endpoint(Language::Rust, |request| async move {
            text(if request.uri().path() == "/bad" { 500 } else { 200 }, "")
        })
        .await;
    registry.push(&policy(
        "eject: none\nretry: { attempts: 0 }\nbreaker: { min_calls: 5, open_for: 60s }\n\
         routes: [ { name: bad, match: { path_exact: /bad } } ]",
    ));
    let caller = registry.caller().await;
    for _ in 0..5 {
        assert_eq!(caller.get("/bad").await.expect("an answer").status(), 500);
    }
    let error = caller.get("/bad").await.expect_err("open");
    assert_eq!(error.reason(), Some(Reason::CircuitOpen));
    assert_eq!(caller.text("/good").await, "");
    let circuits = &caller.0.services()[0].circuits;
    let states: Vec<_> =
        circuits.iter().map(|one| (one.route.as_str(), one.state.as_str())).collect();
    assert_eq!(states, [("bad", "open"), ("default", "closed")]);
}

#[tokio::test]
async fn a_split_gives_each_subset_its_share() {
    let registry = Registry::default();
    let _java = registry.endpoint(Language::Java, |_| async { text(200, "java") }).await;
    let _rust = registry.endpoint(Language::Rust, |_| async { text(200, "rust") }).await;
    registry.push(&policy(&format!(
        "{SUBSETS}routes:\n  - name: v2\n    match: {{ path_prefix: /v2 }}\n    \
         split: [ {{ subset: java, weight: 90 }}, {{ subset: rust, weight: 10 }} ]\n  \
         - name: sticky\n    match: {{ path_prefix: /sticky }}\n    \
         split: [ {{ subset: java, weight: 50 }}, {{ subset: rust, weight: 50 }} ]\n    \
         sticky: {{ header: x-user-id }}"
    )));
    let caller = registry.caller().await;
    let mut rust = 0;
    for _ in 0..2_000 {
        rust += u32::from(caller.text("/v2/x").await == "rust");
    }
    // Five standard deviations of a binomial of 2,000 and 0.1 are 67.
    assert!((133..=267).contains(&rust), "{rust} of 2,000");

    let mut sides = HashSet::new();
    for user in ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l"] {
        let mut seen = HashSet::new();
        for _ in 0..10 {
            let response = caller.send("GET", "/sticky", &[("x-user-id", user)]).await;
            seen.insert(response.expect("an answer").into_body().text().await.expect("a text"));
        }
        assert_eq!(seen.len(), 1, "user {user} saw {seen:?}");
        sides.extend(seen);
    }
    assert_eq!(sides.len(), 2, "users are on both sides");
}

#[tokio::test]
async fn retries_stay_in_the_subset_that_was_chosen() {
    let registry = Registry::default();
    let mut endpoints = Vec::new();
    for _ in 0..2 {
        endpoints.push(registry.endpoint(Language::Java, |_| async { text(503, "java") }).await);
    }
    for _ in 0..2 {
        endpoints.push(registry.endpoint(Language::Rust, |_| async { text(200, "rust") }).await);
    }
    registry.push(&policy(&format!(
        "{SUBSETS}eject: none\nretry: {{ attempts: 3, when: [5xx], backoff: {{ base: 1ms, max: 1ms }}, \
         budget: {{ ratio: 1, min_concurrent: 10, min_per_second: 10000 }} }}\nroutes:\n  - name: all\n    match: {{ path_prefix: / }}\n    \
         split: [ {{ subset: java, weight: 50 }}, {{ subset: rust, weight: 50 }} ]"
    )));
    let caller = registry.caller().await;
    let mut failed = 0;
    for _ in 0..200 {
        let response = caller.get("/").await.expect("an answer");
        let status = response.status();
        let side = response.into_body().text().await.expect("a text");
        assert_eq!(side, if status == 200 { "rust" } else { "java" });
        failed += u32::from(status == 503);
    }
    assert!((50..=150).contains(&failed), "{failed}: no retry left the java side");
}

#[tokio::test]
async fn a_subset_without_instances_is_refused_and_not_replaced() {
    let registry = Registry::default();
    let _rust = registry.endpoint(Language::Rust, |_| async { text(200, "rust") }).await;
    registry.push(&policy(&format!(
        "{SUBSETS}routes:\n  - name: all\n    match: {{ path_prefix: /j }}\n    \
         split: [ {{ subset: java, weight: 100 }} ]"
    )));
    let caller = registry.caller().await;
    assert_eq!(caller.text("/").await, "rust");
    let error = caller.get("/j").await.expect_err("nobody is in it");
    assert_eq!(error.reason(), Some(Reason::NoEndpoint));
}

#[tokio::test]
async fn faults_and_header_edits_are_the_route_s_own() {
    let registry = Registry::default();
    let _endpoint = registry
        .endpoint(Language::Rust, |request| async move {
            let seen = header(request.headers(), "x-team").unwrap_or("none").to_owned();
            let mut answer = text(200, seen);
            answer.headers_mut().insert("server", "x".parse().expect("a value"));
            answer
        })
        .await;
    registry.push(&policy(
        "routes:\n  - name: broken\n    match: { path_prefix: /broken }\n    \
         fault: { abort: { ratio: 1, status: 418 } }\n  - name: late\n    \
         match: { path_prefix: /late }\n    timeout: 50ms\n    fault: { delay: { ratio: 1, for: 200ms } }\n  \
         - name: edited\n    match: { path_prefix: /edited }\n    \
         headers: { request: { set: { x-team: stock } }, response: { remove: [server] } }",
    ));
    let caller = registry.caller().await;
    let error = caller.get("/broken").await.expect_err("aborted");
    assert_eq!((error.reason(), error.status()), (Some(Reason::Fault), Some(418)));
    let started = outrigger::tower::clock::now();
    assert_eq!(caller.text("/late").await, "none", "the timeout begins after the delay");
    assert!(started.elapsed() >= Duration::from_millis(200));
    let edited = caller.get("/edited").await.expect("an answer");
    assert_eq!(header(edited.headers(), "server"), None);
    assert_eq!(edited.into_body().text().await.expect("a text"), "stock");
    let plain = caller.get("/").await.expect("an answer");
    assert_eq!(header(plain.headers(), "server"), Some("x"));
}
