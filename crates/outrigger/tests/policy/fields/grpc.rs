//! `protocol: grpc`: what is spoken, how answers are judged, what is retried.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use bytes::Bytes;
use http::{Request, Response, Version};
use http_body_util::Full;
use hyper::body::Incoming;
use outrigger::Body;
use outrigger::core::Reason;
use outrigger::http::{Peer, Server};
use tokio::net::TcpListener;

use crate::fleet::{Caller, Registry, header, policy};
use crate::inbound::Stock;

/// An endpoint registered without a protocol that answers with this gRPC code, the first so many
/// times, and with 0 then; and how many requests it saw.
async fn endpoint(registry: &Registry, code: u8, times: u32) -> Arc<AtomicU32> {
    let seen = Arc::new(AtomicU32::new(0));
    let count = Arc::clone(&seen);
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    registry.put(listener.local_addr().expect("an address"), |_| {});
    let answer = move |_: &Peer| {
        let count = Arc::clone(&count);
        tower::service_fn(move |request: Request<Incoming>| {
            let code = if count.fetch_add(1, Ordering::Relaxed) < times { code } else { 0 };
            async move {
                assert_eq!(request.version(), Version::HTTP_2, "{request:?}");
                let response = Response::builder()
                    .header("content-type", "application/grpc")
                    .header("grpc-status", u16::from(code))
                    .body(Full::<Bytes>::default());
                Ok::<_, Infallible>(response.expect("a response"))
            }
        })
    };
    tokio::spawn(Server::default().serve(listener, answer, std::future::pending()));
    seen
}

/// The code of an answer to a gRPC call.
async fn call(caller: &Caller, method: &str) -> Result<u8, Reason> {
    let request = Request::post(format!("http://stock/{method}"))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(Body::from("\0\0\0\0\0"))
        .expect("a request");
    match caller.0.send(request).await {
        Ok(response) => {
            let code = header(response.headers(), "grpc-status").expect("a code");
            Ok(code.parse().expect("a number"))
        }
        Err(error) => Err(error.reason().expect("a reason of ours")),
    }
}

#[tokio::test]
async fn http_2_is_spoken_to_instances_that_say_nothing() {
    let registry = Registry::default();
    let seen = endpoint(&registry, 0, 0).await;
    registry.push(&policy("protocol: grpc"));
    let caller = registry.caller().await;
    assert_eq!(call(&caller, "stock.Stock/Get").await, Ok(0));
    assert_eq!(seen.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn what_is_spoken_changes_with_the_policy() {
    let registry = Registry::default();
    let _old = registry
        .endpoint_as(
            |_| {},
            |request| async move { crate::fleet::text(200, format!("{:?}", request.version())) },
        )
        .await;
    registry.push(&policy("timeout: 5s"));
    let caller = registry.caller().await;
    assert_eq!(caller.text("/").await, "HTTP/1.1");
    let grpc = policy("protocol: grpc\neject: none");
    registry.push(&grpc);
    caller.obeys(&grpc).await;
    // It does not speak HTTP/2.
    assert!(caller.get("/").await.is_err());
    let http = policy("timeout: 6s");
    registry.push(&http);
    caller.obeys(&http).await;
    assert_eq!(caller.text("/").await, "HTTP/1.1");
}

#[tokio::test]
async fn grpc_words_are_retried_for_the_methods_that_are_named() {
    for (code, when, method, wanted) in [
        (14, "unavailable", "stock.Stock/Get", (Ok(0), 2)),
        (14, "unavailable", "stock.Stock/Put", (Ok(14), 1)),
        (14, "internal", "stock.Stock/Get", (Ok(14), 1)),
        (13, "internal", "stock.Stock/Get", (Ok(0), 2)),
        (1, "cancelled", "stock.Stock/Get", (Ok(0), 2)),
        (4, "deadline_exceeded", "stock.Stock/Get", (Ok(0), 2)),
        (8, "resource_exhausted", "stock.Stock/Get", (Ok(0), 2)),
    ] {
        let registry = Registry::default();
        let seen = endpoint(&registry, code, 1).await;
        registry.push(&policy(&format!(
            "protocol: grpc\nretry: {{ attempts: 1, when: [{when}], methods: [stock.Stock/Get], \
             backoff: {{ base: 1ms, max: 1ms }} }}"
        )));
        let caller = registry.caller().await;
        let answered = call(&caller, method).await;
        let found = (answered, seen.load(Ordering::Relaxed));
        assert_eq!(found, wanted, "{code}, {when}, {method}");
    }
}

#[tokio::test]
async fn codes_open_the_circuit_and_eject_where_they_blame_the_endpoint() {
    for (code, opens) in [(14, true), (13, true), (2, true), (5, false), (12, false), (16, false)] {
        let registry = Registry::default();
        endpoint(&registry, code, u32::MAX).await;
        registry.push(&policy(
            "protocol: grpc\neject: none\nretry: { attempts: 0 }\n\
             breaker: { consecutive_failures: 3, min_calls: 1000, open_for: 60s }",
        ));
        let caller = registry.caller().await;
        for _ in 0..3 {
            assert_eq!(call(&caller, "stock.Stock/Get").await, Ok(code));
        }
        let fourth = call(&caller, "stock.Stock/Get").await;
        let wanted = if opens { Err(Reason::CircuitOpen) } else { Ok(code) };
        assert_eq!(fourth, wanted, "{code}");

        let ejecting = policy(
            "protocol: grpc\nretry: { attempts: 0 }\nbalance: { panic_below: 0 }\n\
             eject: { consecutive_errors: 2, max_ejected: 1.0, base_time: 60s }",
        );
        registry.push(&ejecting);
        caller.obeys(&ejecting).await;
        for _ in 0..2 {
            assert_eq!(call(&caller, "stock.Stock/Get").await, Ok(code), "{code}");
        }
        let third = call(&caller, "stock.Stock/Get").await;
        let wanted = if opens { Err(Reason::NoEndpoint) } else { Ok(code) };
        assert_eq!(third, wanted, "{code}");
    }
}

#[tokio::test]
async fn refusals_of_the_service_are_grpc_to_callers_that_speak_it() {
    for (word, code) in [("unavailable", "14"), ("resource_exhausted", "8")] {
        let rules = policy(&format!(
            "protocol: grpc\ninbound: {{ grpc_status: {word}, rate_limits: [ {{ rate: 1/h, burst: 1 }} ] }}"
        ));
        let stock = Stock::start(Some(&rules), |builder| builder).await;
        assert_eq!(stock.status("/", "a", "").await, 200);
        let refused = stock.send_as("application/grpc", "/").await;
        assert_eq!(refused.status(), 200);
        assert_eq!(header(refused.headers(), "grpc-status"), Some(code));
        assert_eq!(header(refused.headers(), "x-outrigger-reason"), Some("rate_limited"));
    }
}
