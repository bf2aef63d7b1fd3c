//! The three services in one process, over real sockets and the dev agent.

use std::time::Duration;

use http::{Method, Request, StatusCode};
use outrigger::http::Drained;
use outrigger::{Body, Fleet};
use outrigger_dev::Agent;
use outrigger_example_hyper::answer;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tower::service_fn;

struct Running {
    fleet: Fleet,
    end: oneshot::Sender<()>,
    serving: JoinHandle<Drained>,
}

impl Running {
    async fn start(agent: &Agent, role: &str) -> Self {
        let builder = outrigger::builder(role).consul(agent.url());
        let fleet = builder.notice(Duration::from_millis(300)).join().await.expect("joined");
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let (end, ended) = oneshot::channel();
        let serving = tokio::spawn({
            let fleet = fleet.clone();
            async move {
                let inner = fleet.clone();
                let service = service_fn(move |request| answer(inner.clone(), request));
                let end = async { ended.await.unwrap_or_default() };
                fleet.serve_until(listener, service, end).await.expect("served")
            }
        });
        fleet.registered().await;
        Self { fleet, end, serving }
    }

    async fn stop(self) -> Drained {
        let _ = self.end.send(());
        self.serving.await.expect("no panic")
    }
}

async fn agent() -> Agent {
    Agent::builder().bind(([127, 0, 0, 1], 0).into()).await.expect("the dev agent starts")
}

async fn visitor(agent: &Agent) -> Fleet {
    outrigger::builder("visitor").consul(agent.url()).join().await.expect("joined")
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_is_made_of_stock_and_price_and_each_says_who_served_it() {
    let agent = agent().await;
    let _inventory = Running::start(&agent, "inventory").await;
    let _pricing = Running::start(&agent, "pricing").await;
    let orders = Running::start(&agent, "orders").await;

    let visitor = visitor(&agent).await;
    let answer = visitor.get("http://orders/orders/7").await.expect("an answer");
    assert_eq!(answer.status(), StatusCode::OK);
    let id = orders.fleet.instance_id().expect("registered").to_string();
    assert_eq!(answer.headers()["x-served-by"], id.as_str());
    let order: Value = answer.into_body().json().await.expect("JSON");
    assert_eq!(order["id"], 7);
    assert_eq!(order["served_by"], id.as_str());
    assert_eq!(order["stock"]["on_hand"], 7);
    assert_eq!(order["price"]["cents"], 107);

    let mut request = Request::new(Body::from("{}"));
    *request.method_mut() = Method::POST;
    *request.uri_mut() = "http://orders/orders".parse().expect("a URL");
    let answer = visitor.send(request).await.expect("an answer");
    assert_eq!(answer.status(), StatusCode::CREATED);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_below_is_answered_with_its_reason() {
    let agent = agent().await;
    let _orders = Running::start(&agent, "orders").await;
    let answer = visitor(&agent).await.get("http://orders/orders/7").await.expect("an answer");
    assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(answer.headers()["x-outrigger-reason"], "no_endpoint");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_of_two_leaves_and_no_call_fails() {
    let agent = agent().await;
    let first = Running::start(&agent, "inventory").await;
    let _second = Running::start(&agent, "inventory").await;
    let visitor = visitor(&agent).await;
    for id in 0..20 {
        stock(&visitor, id).await;
    }
    let leaving = tokio::spawn(first.stop());
    let mut id = 20;
    while !leaving.is_finished() {
        stock(&visitor, id).await;
        id += 1;
    }
    assert_eq!(leaving.await.expect("no panic").cut, 0, "every connection ended by itself");
    for id in id..id + 20 {
        stock(&visitor, id).await;
    }
}

async fn stock(visitor: &Fleet, id: u64) {
    let answer = visitor.get(&format!("http://inventory/stock/{id}")).await;
    let answer = answer.unwrap_or_else(|error| panic!("call {id}: {error:?}"));
    assert_eq!(answer.status(), StatusCode::OK, "call {id}");
    answer.into_body().bytes().await.expect("a whole body");
}
