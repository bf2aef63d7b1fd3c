use std::sync::Arc;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use outrigger_core::{Context, Dispatch, FailureKind, Observers, header};
use outrigger_retry::{Budget, BudgetConfig, HedgeConfig, HedgeRule, Methods};
use outrigger_tower::{BalanceLayer, Hedge, HedgeLayer, ReplayBody, clock};
use tower::{Layer, ServiceBuilder};
use tower_test::mock::{Handle, Mock};

use crate::kit::*;

type Out = Request<ReplayBody<Full<Bytes>>>;

fn budget() -> Arc<Budget> {
    Budget::new(&BudgetConfig::default(), clock::now())
}

fn layer(budget: &Arc<Budget>) -> HedgeLayer {
    let rule = HedgeRule::new(&HedgeConfig::default(), &Methods::Idempotent).expect("valid");
    HedgeLayer::new(stock(), rule, Arc::clone(budget))
}

fn scripted(budget: &Arc<Budget>) -> (Hedge<Mock<Out, Res>>, Handle<Out, Res>) {
    let (mock, handle) = tower_test::mock::pair::<Out, Res>();
    (layer(budget).layer(mock), handle)
}

#[tokio::test(start_paused = true)]
async fn the_three_drops_leave_the_budget_as_it_was() {
    let budget = budget();
    let held = || u64::from(budget.in_flight() + budget.running());
    the_three_drops::<_, _, Out, _>(layer(&budget), get, 1, held).await;
    assert_eq!(budget.tokens(clock::now()), 10);
}

#[tokio::test(start_paused = true)]
async fn a_quick_answer_needs_no_hedge() {
    let budget = budget();
    let (mut service, mut handle) = scripted(&budget);
    let flight = tokio::spawn(start(&mut service, get()).await);
    let (_, reply) = next(&mut handle).await;
    tokio::time::sleep(ms(70)).await;
    reply.send_response(answer(200));
    let response = flight.await.expect("no panic").expect("answered");
    assert!(!response.headers().contains_key(header::ATTEMPTS));
    assert_eq!(budget.tokens(clock::now()), 10);
}

#[tokio::test(start_paused = true)]
async fn a_slow_try_is_joined_once_and_the_first_answer_is_taken() {
    let budget = budget();
    let (mut service, mut handle) = scripted(&budget);
    let t0 = clock::now();
    let flight = tokio::spawn(start(&mut service, get()).await);
    let (_, slow) = next(&mut handle).await;
    let (second, quick) = next(&mut handle).await;
    assert!((ms(80)..=ms(82)).contains(&(clock::now() - t0)));
    assert_eq!(second.extensions().get::<Context>().expect("made").attempt, 1, "as a retry");
    assert_eq!(budget.running(), 1);
    tokio::time::sleep(ms(200)).await;
    assert!(is_quiet(&mut handle).await, "one hedge is the default");
    quick.send_response(Response::new(Script::of(&[Piece::Data("quick")])));
    let response = flight.await.expect("no panic").expect("answered");
    assert_eq!(response.headers()[header::ATTEMPTS], "2");
    assert_eq!(response.into_body().collect().await.expect("whole").to_bytes(), "quick");
    assert_eq!((budget.running(), budget.in_flight()), (0, 0));
    slow.send_response(answer(200));
}

#[tokio::test(start_paused = true)]
async fn a_failure_waits_for_what_the_other_brings() {
    let (mut service, mut handle) = scripted(&budget());
    let flight = tokio::spawn(start(&mut service, get()).await);
    let (_, first) = next(&mut handle).await;
    let (_, second) = next(&mut handle).await;
    first.send_error(failed(FailureKind::Reset));
    tokio::task::yield_now().await;
    assert!(!flight.is_finished(), "the other may yet succeed");
    second.send_response(answer(200));
    assert_eq!(flight.await.expect("no panic").expect("answered").status(), 200);
}

#[tokio::test(start_paused = true)]
async fn a_failure_before_its_time_is_no_reason_for_a_hedge() {
    let (mut service, mut handle) = scripted(&budget());
    let flight = tokio::spawn(start(&mut service, get()).await);
    next(&mut handle).await.1.send_response(answer(503));
    assert_eq!(flight.await.expect("no panic").expect("its answer").status(), 503);
    assert!(is_quiet(&mut handle).await);
}

#[tokio::test(start_paused = true)]
async fn what_must_not_be_delivered_twice_is_not_hedged() {
    let budget = budget();
    let (mut service, mut handle) = scripted(&budget);
    let flight = tokio::spawn(start(&mut service, with_body("POST", "order")).await);
    let (_, reply) = next(&mut handle).await;
    tokio::time::sleep(ms(500)).await;
    assert!(is_quiet(&mut handle).await);
    reply.send_response(answer(201));
    flight.await.expect("no panic").expect("answered");

    let (mock, mut handle) = tower_test::mock::pair::<_, Res>();
    let mut service = layer(&budget).layer(mock);
    let retried = call(get(), |context| context.attempt = 1);
    let flight = tokio::spawn(start(&mut service, retried).await);
    let (_, reply) = next(&mut handle).await;
    tokio::time::sleep(ms(500)).await;
    assert!(is_quiet(&mut handle).await, "it was retried above");
    reply.send_response(answer(200));
    flight.await.expect("no panic").expect("answered");
}

#[tokio::test(start_paused = true)]
async fn a_body_that_is_still_being_sent_is_not_hedged() {
    let (mut service, mut handle) = scripted(&budget());
    let flight = tokio::spawn(start(&mut service, with_body("PUT", "stock")).await);
    let (unread, reply) = next(&mut handle).await;
    tokio::time::sleep(ms(500)).await;
    assert!(is_quiet(&mut handle).await, "nobody has read the body");
    drop(unread);
    reply.send_response(answer(200));
    flight.await.expect("no panic").expect("answered");

    let (mut service, mut handle) = scripted(&budget());
    let flight = tokio::spawn(start(&mut service, with_body("PUT", "stock")).await);
    let (read, _slow) = next(&mut handle).await;
    read.into_body().collect().await.expect("whole");
    let (second, reply) = next(&mut handle).await;
    assert_eq!(second.into_body().collect().await.expect("whole").to_bytes(), "stock");
    reply.send_response(answer(200));
    flight.await.expect("no panic").expect("answered");
}

#[tokio::test(start_paused = true)]
async fn an_empty_budget_sends_no_hedge() {
    let mut config = BudgetConfig::default();
    config.min_per_second = 0;
    let (heard, observers) = Heard::new();
    let budget = Budget::new(&config, clock::now());
    let (mock, mut handle) = tower_test::mock::pair::<Out, Res>();
    let mut service = layer(&budget).with_observers(observers).layer(mock);
    let flight = tokio::spawn(start(&mut service, get()).await);
    let (_, reply) = next(&mut handle).await;
    tokio::time::sleep(ms(300)).await;
    assert!(is_quiet(&mut handle).await);
    assert_eq!(heard.take(), ["forbidden by budget"]);
    reply.send_response(answer(200));
    flight.await.expect("no panic").expect("the first try goes on");
}

#[tokio::test(start_paused = true)]
async fn a_hedge_goes_to_another_endpoint() {
    for _ in 0..20 {
        let set = set_of(&[1, 2], Observers::none());
        let (mock, mut handle) = tower_test::mock::pair::<Dispatch<Out>, Res>();
        let mut service = ServiceBuilder::new()
            .layer(layer(&budget()))
            .layer(BalanceLayer::new(set.clone()))
            .service(mock);
        let flight = tokio::spawn(start(&mut service, get()).await);
        let (first, _slow) = next(&mut handle).await;
        let (second, reply) = next(&mut handle).await;
        assert_ne!(first.endpoint, second.endpoint);
        assert_eq!(in_flight(&set), 2);
        reply.send_response(answer(200));
        flight.await.expect("no panic").expect("answered");
        assert_eq!(in_flight(&set), 0, "the loser is dropped with the winner's head");
    }
}
