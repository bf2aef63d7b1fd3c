//! Mirrors, fallbacks, hedges and hashes of a policy.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use http_body_util::BodyExt;
use outrigger::core::{Instance, Language, Reason, Rejected};

use crate::fleet::{Registry, header, name, policy, text};

#[tokio::test]
async fn a_mirror_gets_copies_that_nobody_waits_for_and_tells_what_differs() {
    let registry = Registry::default();
    let copies = Arc::new(AtomicU32::new(0));
    let count = Arc::clone(&copies);
    let _java = registry
        .endpoint(Language::Java, |request| async move {
            let body = request.into_body().collect().await.expect("whole").to_bytes();
            text(200, [b"java ", &body[..]].concat())
        })
        .await;
    let _rust = registry
        .endpoint(Language::Rust, move |request| {
            let count = Arc::clone(&count);
            async move {
                let path = request.uri().path().to_owned();
                let body = request.into_body().collect().await.expect("whole").to_bytes();
                tokio::time::sleep(Duration::from_millis(100)).await;
                count.fetch_add(1, Ordering::Relaxed);
                match &*path {
                    "/status" => text(500, "java "),
                    "/body" => text(200, "rust"),
                    _ => text(200, [b"java ", &body[..]].concat()),
                }
            }
        })
        .await;
    registry.push(&policy(
        "eject: none\nsubsets: { java: { language: java }, rust: { language: rust } }\nroutes:\n  - name: all\n    \
         match: { path_prefix: / }\n    split: [ { subset: java, weight: 100 } ]\n    \
         mirror: { subset: rust, ratio: 1, compare: true }",
    ));
    let caller = registry.caller().await;
    caller.text("/same").await;
    let started = outrigger::tower::clock::now();
    for path in ["/same", "/status", "/body"] {
        assert_eq!(caller.text(path).await, "java ", "{path}");
    }
    assert!(started.elapsed() < Duration::from_millis(100), "{:?}", started.elapsed());
    let posted = caller.0.post("http://stock/same", "new").await.expect("an answer");
    assert_eq!(posted.into_body().text().await.expect("a text"), "java new");

    let told = async {
        loop {
            let mirror = caller.0.services()[0].mirrors[0].clone();
            if mirror.same + mirror.status + mirror.body == 5 {
                return mirror;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let told = tokio::time::timeout(Duration::from_secs(10), told).await;
    let told = told.unwrap_or_else(|_| panic!("{:?}", caller.0.services()[0].mirrors));
    assert_eq!((told.same, told.status, told.body, told.failed, told.skipped), (3, 1, 1, 0, 0));
    assert_eq!(copies.load(Ordering::Relaxed), 5);
    let differences: Vec<_> =
        told.differences.iter().map(|one| (&*one.path, one.what, one.statuses)).collect();
    assert_eq!(differences, [("/status", "status", (200, 500)), ("/body", "body", (200, 200))]);
}

#[tokio::test]
async fn an_open_circuit_is_answered_by_what_the_policy_names() {
    let registry = Registry::default();
    let _stock = registry.endpoint(Language::Rust, |_| async { text(500, "no") }).await;
    let rules = "eject: none\nretry: { attempts: 0 }\nbreaker: { min_calls: 5, open_for: 60s";
    registry.push(&policy(&format!("{rules}, fallback: {{ status: 200, body: \"[]\" }} }}")));
    let caller = registry.caller().await;
    for _ in 0..5 {
        assert_eq!(caller.get("/").await.expect("an answer").status(), 500);
    }
    let answer = caller.get("/").await.expect("an answer");
    assert_eq!(header(answer.headers(), "content-type"), Some("application/json"));
    assert_eq!(header(answer.headers(), "x-outrigger-reason"), Some("circuit_open"));
    assert_eq!(answer.into_body().text().await.expect("a text"), "[]");

    // Another service, under its own policy, and no further than that one.
    let cache = Registry::default();
    let _cache = cache
        .endpoint(Language::Rust, |request| async move {
            let host = header(request.headers(), "host").unwrap_or_default().to_owned();
            text(200, format!("{host} {}", request.uri()))
        })
        .await;
    let instance = cache.0.instances(&name("stock"))[0].clone();
    let mut instance = Instance::clone(&instance);
    instance.service = name("cache");
    registry.0.put(instance);
    let other = policy(&format!("{rules}, fallback: {{ service: cache }} }}"));
    registry.push(&other);
    caller.obeys(&other).await;
    assert_eq!(caller.text("/x?y=1").await, "cache /x?y=1");

    let forced = "version: 1\nservice: cache\nbreaker: { mode: forced_open, fallback: { service: stock } }\n";
    registry.0.set_key("outrigger/policy/cache", forced.as_bytes().to_vec());
    let refused = async {
        loop {
            match caller.get("/").await {
                Err(error) => return error.reason(),
                Ok(_) => tokio::time::sleep(Duration::from_millis(5)).await,
            }
        }
    };
    let reason = tokio::time::timeout(Duration::from_secs(5), refused).await;
    assert_eq!(reason.expect("in time"), Some(Reason::CircuitOpen), "no circle");
}

#[tokio::test]
async fn a_hedge_and_a_hash_are_the_policy_s() {
    let registry = Registry::default();
    let mut endpoints = Vec::new();
    for number in 0..4 {
        let slow = Arc::new(AtomicU32::new(0));
        endpoints.push(
            registry
                .endpoint(Language::Rust, move |request| {
                    // Each first try on /slow hangs.
                    let hangs = request.uri().path() == "/slow"
                        && header(request.headers(), "x-outrigger-attempt").is_none();
                    slow.fetch_add(1, Ordering::Relaxed);
                    async move {
                        if hangs {
                            tokio::time::sleep(Duration::from_secs(30)).await;
                        }
                        text(200, number.to_string())
                    }
                })
                .await,
        );
    }
    registry.push(&policy(
        "balance: { algorithm: ring_hash, hash_on: { header: x-user-id } }\n\
         hedge: { after: 50ms, max: 1 }",
    ));
    let caller = registry.caller().await;
    let started = outrigger::tower::clock::now();
    caller.text("/slow").await;
    assert!(started.elapsed() < Duration::from_secs(10), "{:?}", started.elapsed());
    let mut all = HashSet::new();
    for user in ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l", "m", "n", "o", "p"] {
        let mut seen = HashSet::new();
        for _ in 0..4 {
            let response = caller.send("GET", "/", &[("x-user-id", user)]).await;
            seen.insert(response.expect("an answer").into_body().text().await.expect("a text"));
        }
        assert_eq!(seen.len(), 1, "user {user} saw {seen:?}");
        all.extend(seen);
    }
    assert!(all.len() > 1, "users are spread: {all:?}");
}

#[tokio::test]
async fn rate_limits_and_capacity_are_one_for_all_routes() {
    let registry = Registry::default();
    let _endpoint = registry
        .endpoint(Language::Rust, |_| async {
            tokio::time::sleep(Duration::from_millis(300)).await;
            text(200, "")
        })
        .await;
    registry.push(&policy(
        "rate_limits: [ { rate: 1/h, burst: 4 } ]\ngrpc_status: resource_exhausted\ncapacity: { max_requests: 2 }\n\
         routes: [ { name: a, match: { path_prefix: /a } }, { name: b, match: { path_prefix: /b } } ]",
    ));
    let caller = registry.caller().await;
    let (a, b, c) = tokio::join!(caller.get("/a"), caller.get("/b"), caller.get("/c"));
    let reasons: Vec<_> = [a, b, c].into_iter().filter_map(|one| one.err()?.reason()).collect();
    assert_eq!(reasons, [Reason::Overloaded], "two of three at once");
    caller.get("/a").await.expect("the fourth token");
    let error = caller.get("/b").await.expect_err("the bucket is empty");
    assert_eq!(error.reason(), Some(Reason::RateLimited));
    let told = matches!(error.rejected(), Some(Rejected::RateLimited { grpc_status: Some(8), .. }));
    assert!(told, "{error:?}");
}
