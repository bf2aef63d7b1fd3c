//! Orders over real sockets and the dev agent; this test plays the services below.

use std::time::Duration;

use axum::http::StatusCode;
use axum::routing::get;
use axum::{Json, Router};
use outrigger::http::Drained;
use outrigger::{Fleet, ServeError};
use outrigger_dev::Agent;
use outrigger_example_orders::router;
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
        let builder = outrigger::builder(name).consul(agent.url());
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

    /// A service that answers one route with its own name.
    async fn play(agent: &Agent, name: &'static str, route: &str) -> Self {
        let answer = get(move || async move { Json(json!({ "id": 7, "of": name })) });
        let routes = Router::new().route(route, answer);
        Self::start(agent, name, |_| routes).await
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
    outrigger::builder("visitor").consul(agent.url()).join().await.expect("joined")
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_is_made_of_stock_price_and_invoice() {
    let agent = agent().await;
    let _inventory = Running::play(&agent, "inventory", "/stock/{id}").await;
    let _pricing = Running::play(&agent, "pricing", "/price/{id}").await;
    let billing = Running::play(&agent, "billing", "/invoices/{id}").await;
    let orders = Running::start(&agent, "orders", router).await;
    let visitor = visitor(&agent).await;

    let answer = visitor.get("http://orders/orders/7").await.expect("answered");
    assert_eq!(answer.status(), StatusCode::OK);
    let id = orders.fleet.instance_id().expect("registered").to_string();
    assert_eq!(answer.headers()["x-served-by"], id.as_str());
    let order: Value = answer.into_body().json().await.expect("JSON");
    assert_eq!((&order["id"], &order["served_by"]), (&json!(7), &json!(id)));
    for (part, of) in [("stock", "inventory"), ("price", "pricing"), ("invoice", "billing")] {
        assert_eq!(order[part]["of"], of);
    }

    billing.stop().await;
    let answer = visitor.get("http://orders/orders/7").await.expect("answered");
    assert_eq!(answer.status(), StatusCode::OK, "an order without an invoice is an order");
    let order: Value = answer.into_body().json().await.expect("JSON");
    assert_eq!((&order["invoice"], &order["stock"]["of"]), (&Value::Null, &json!("inventory")));
}

#[tokio::test(flavor = "multi_thread")]
async fn without_stock_there_is_no_order_and_the_reason_is_told() {
    let agent = agent().await;
    let _orders = Running::start(&agent, "orders", router).await;
    let answer = visitor(&agent).await.get("http://orders/orders/7").await.expect("answered");
    assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(answer.headers()["x-outrigger-reason"], "no_endpoint");
}

#[tokio::test(flavor = "multi_thread")]
async fn asking_a_service_tells_which_instance_answered() {
    let agent = agent().await;
    let whoami = get(|| async { ([("x-served-by", "pricing-2")], "{}") });
    let routes = Router::new().route("/whoami", whoami);
    let _pricing = Running::start(&agent, "pricing", |_| routes).await;
    let _orders = Running::start(&agent, "orders", router).await;
    let answer = visitor(&agent).await.get("http://orders/ask/pricing").await.expect("answered");
    let asked: Value = answer.into_body().json().await.expect("JSON");
    assert_eq!(
        (&asked["service"], &asked["answered_by"]),
        (&json!("pricing"), &json!("pricing-2"))
    );
}
