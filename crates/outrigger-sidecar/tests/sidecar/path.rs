//! The way of requests through two sidecars.

use outrigger_testkit::{Scripted, Step};

use crate::stage::{Stage, get};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_application_is_called_by_name_through_two_sidecars() {
    let stage = Stage::new();
    let stock = Scripted::start([Step::answer(200).with_body("42 left")]).await.expect("a port");
    let inventory = stage.beside("inventory", stock.address()).await;
    let orders = stage.outbound_only("orders").await;

    let answer = get(orders.outbound(), "http://inventory/stock/42", &[]).await;
    assert_eq!((answer.status, answer.body.as_str()), (200, "42 left"));
    let seen = &stock.seen()[0];
    assert_eq!((seen.method.as_str(), seen.path.as_str()), ("GET", "/stock/42"));
    assert_eq!(seen.header("host"), Some("inventory"));
    assert_eq!(seen.header("x-outrigger-caller"), Some("orders"));
    assert!(seen.header("traceparent").is_some() && seen.header("x-request-id").is_some());
    assert!(seen.header("x-outrigger-deadline-ms").is_some());

    inventory.running.drain().await;
    let gone = get(orders.outbound(), "http://inventory/stock/42", &[]).await;
    assert_eq!((gone.status, gone.header("x-outrigger-reason")), (503, Some("no_endpoint")));
}
