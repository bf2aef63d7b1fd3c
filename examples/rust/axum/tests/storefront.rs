//! The storefront over real sockets and the dev agent, with orders that this test plays.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::http::StatusCode;
use axum::routing::get;
use axum::{Json, Router};
use outrigger::http::Drained;
use outrigger::retry::Condition;
use outrigger::{Fleet, Rules, ServeError};
use outrigger_dev::Agent;
use outrigger_example_axum::router;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

struct Running {
    fleet: Fleet,
    end: oneshot::Sender<()>,
    serving: JoinHandle<Result<Drained, ServeError>>,
}

impl Running {
    async fn start(agent: &Agent, name: &str, routes: impl FnOnce(Fleet) -> Router) -> Self {
        let builder = outrigger::builder(name).consul(agent.url()).rules(rules());
        let fleet = builder.notice(Duration::from_millis(300)).join().await.expect("joined");
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let (end, ended) = oneshot::channel();
        let routes = routes(fleet.clone());
        let serving = tokio::spawn({
            let fleet = fleet.clone();
            let end = async { ended.await.unwrap_or_default() };
            async move { fleet.serve_until(listener, routes, end).await }
        });
        fleet.registered().await;
        Self { fleet, end, serving }
    }

    async fn stop(self) -> Drained {
        let _ = self.end.send(());
        self.serving.await.expect("no panic").expect("served")
    }
}

async fn agent() -> Agent {
    Agent::builder().bind(([127, 0, 0, 1], 0).into()).await.expect("the dev agent starts")
}

async fn visitor(agent: &Agent) -> Fleet {
    let builder = outrigger::builder("visitor").consul(agent.url());
    builder.rules(rules()).join().await.expect("joined")
}

/// Everybody retries what a gateway says, so that only the guard keeps hops from multiplying.
fn rules() -> Rules {
    let mut rules = Rules::default();
    rules.retry.when.push(Condition::GatewayError);
    rules
}

#[tokio::test(flavor = "multi_thread")]
async fn a_checkout_shows_the_order_and_who_served_it() {
    let agent = agent().await;
    let order = || get(|| async { Json(json!({ "id": 7 })) });
    let _orders =
        Running::start(&agent, "orders", |_| Router::new().route("/orders/{id}", order())).await;
    let storefront = Running::start(&agent, "storefront", router).await;

    let answer = visitor(&agent).await.get("http://storefront/checkout/7").await.expect("answered");
    assert_eq!(answer.status(), StatusCode::OK);
    let id = storefront.fleet.instance_id().expect("registered").to_string();
    assert_eq!(answer.headers()["x-served-by"], id.as_str());
    let checkout: Value = answer.into_body().json().await.expect("JSON");
    assert_eq!(checkout["order"]["id"], 7);
    assert_eq!(checkout["served_by"], id.as_str());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_below_is_answered_with_its_reason() {
    let agent = agent().await;
    let _storefront = Running::start(&agent, "storefront", router).await;
    let answer = visitor(&agent).await.get("http://storefront/checkout/7").await.expect("answered");
    assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(answer.headers()["x-outrigger-reason"], "no_endpoint");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_that_fails_twice_is_passed_on_and_not_tried_again_above() {
    let agent = agent().await;
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    let broken = get(move || {
        count.fetch_add(1, Ordering::Relaxed);
        async { StatusCode::SERVICE_UNAVAILABLE }
    });
    let _orders =
        Running::start(&agent, "orders", |_| Router::new().route("/orders/{id}", broken)).await;
    let _storefront = Running::start(&agent, "storefront", router).await;
    let answer = visitor(&agent).await.get("http://storefront/checkout/7").await.expect("answered");
    assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(answer.headers()["x-outrigger-attempts"], "2");
    assert_eq!(asked.load(Ordering::Relaxed), 2, "one hop retries once, the other sees that");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_of_two_leaves_and_no_checkout_fails() {
    let agent = agent().await;
    let order = get(|| async { Json(json!({ "id": 7 })) });
    let _orders =
        Running::start(&agent, "orders", |_| Router::new().route("/orders/{id}", order)).await;
    let first = Running::start(&agent, "storefront", router).await;
    let _second = Running::start(&agent, "storefront", router).await;
    let visitor = visitor(&agent).await;
    for id in 0..20 {
        checkout(&visitor, id).await;
    }
    let leaving = tokio::spawn(first.stop());
    let mut id = 20;
    while !leaving.is_finished() {
        checkout(&visitor, id).await;
        id += 1;
    }
    assert_eq!(leaving.await.expect("no panic").cut, 0, "every connection ended by itself");
    for id in id..id + 20 {
        checkout(&visitor, id).await;
    }
}

async fn checkout(visitor: &Fleet, id: u64) {
    let answer = visitor.get(&format!("http://storefront/checkout/{id}")).await;
    let answer = answer.unwrap_or_else(|error| panic!("call {id}: {error:?}"));
    assert_eq!(answer.status(), StatusCode::OK, "call {id}");
    answer.into_body().bytes().await.expect("a whole body");
}
