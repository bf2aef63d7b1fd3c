use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use outrigger_core::{Call, Dispatch, FailureKind, Observers, Rejected};
use outrigger_tower::{BalanceLayer, TimeoutLayer};
use tower::{Layer, ServiceBuilder};

use crate::kit::*;

type Out = Dispatch<Req>;

#[tokio::test(start_paused = true)]
async fn the_three_drops_leave_no_endpoint_with_a_request_in_flight() {
    let set = set_of(&[1, 2, 3], Observers::none());
    let layer = BalanceLayer::new(set.clone());
    the_three_drops::<_, _, Out, _>(layer, get, 1, || in_flight(&set)).await;
}

#[tokio::test(start_paused = true)]
async fn without_an_endpoint_nothing_is_sent() {
    let (mock, mut handle) = tower_test::mock::pair::<Out, Res>();
    let mut service = BalanceLayer::new(set_of(&[], Observers::none())).layer(mock);
    let error = start(&mut service, get()).await.await.expect_err("nobody is there");
    assert!(matches!(Rejected::find(&*error), Some(Rejected::NoEndpoint { .. })), "{error:?}");
    assert!(is_quiet(&mut handle).await);
}

#[tokio::test(start_paused = true)]
async fn a_request_is_in_flight_on_its_endpoint_until_its_body_ends() {
    let set = set_of(&[1], Observers::none());
    let (mock, mut handle) = tower_test::mock::pair::<Out, Res>();
    let mut service = BalanceLayer::new(set.clone()).layer(mock);
    let flight = tokio::spawn(start(&mut service, get()).await);
    let (dispatch, reply) = next(&mut handle).await;
    assert_eq!(dispatch.endpoint.address().port(), 1);
    reply.send_response(Response::new(Script::of(&[Piece::Data("a"), Piece::Data("b")])));
    let body = flight.await.expect("no panic").expect("answered").into_body();
    assert_eq!(in_flight(&set), 1);
    assert_eq!(body.collect().await.expect("whole").to_bytes(), "ab");
    assert_eq!(in_flight(&set), 0);
}

/// One exchange over a set of a single endpoint; what was heard of it.
async fn exchange(ports: &[u16], times: usize, reply: Result<Res, FailureKind>) -> Vec<String> {
    let (heard, observers) = Heard::new();
    let set = set_of(ports, observers.clone());
    let (mock, mut handle) = tower_test::mock::pair::<Out, Res>();
    let layer = BalanceLayer::new(set).with_observers(observers);
    let mut service = layer.layer(mock);
    for _ in 0..times {
        let flight = tokio::spawn(start(&mut service, get()).await);
        let (_, send) = next(&mut handle).await;
        match &reply {
            Ok(response) => {
                let body = response.body().clone();
                let status = response.status();
                send.send_response(Response::builder().status(status).body(body).expect("valid"));
            }
            Err(kind) => send.send_error(failed(*kind)),
        }
        if let Ok(response) = flight.await.expect("no panic") {
            let _ = response.into_body().collect().await;
        }
    }
    heard.take()
}

#[tokio::test(start_paused = true)]
async fn each_try_is_told_with_its_outcome() {
    let told = exchange(&[7], 1, Ok(answer(200))).await;
    assert_eq!(told, ["tried 7 as 0: Some(200) success"]);
    let told = exchange(&[7], 1, Ok(answer(404))).await;
    assert_eq!(told, ["tried 7 as 0: Some(404) success"], "the caller's fault");
    let told = exchange(&[7], 1, Ok(answer(503))).await;
    assert_eq!(told, ["tried 7 as 0: Some(503) failure"]);
    let told = exchange(&[7], 1, Err(FailureKind::Reset)).await;
    assert_eq!(told, ["tried 7 as 0: reset failure"]);
}

fn ejections(told: &[String]) -> usize {
    told.iter().filter(|word| word.starts_with("ejected")).count()
}

#[tokio::test(start_paused = true)]
async fn five_errors_in_a_row_eject_and_nothing_that_a_caller_does() {
    assert_eq!(ejections(&exchange(&[1, 2], 20, Ok(answer(500))).await), 1, "at most half");
    assert_eq!(ejections(&exchange(&[1, 2], 20, Err(FailureKind::ConnectFailure)).await), 1);
    let broken = Response::new(Script::of(&[Piece::Data("half"), Piece::Break]));
    assert_eq!(ejections(&exchange(&[1, 2], 40, Ok(broken)).await), 0, "each head resets the row");
    for status in [400, 404, 429, 501, 505] {
        assert_eq!(ejections(&exchange(&[1, 2], 100, Ok(answer(status))).await), 0, "{status}");
    }
    assert_eq!(ejections(&exchange(&[1, 2], 100, Err(FailureKind::Deadline)).await), 0);
}

/// Requests that nobody answers, each ended by what `context` sets; what was heard.
async fn unanswered(change: impl Fn(&mut outrigger_core::Context), times: usize) -> Vec<String> {
    let (heard, observers) = Heard::new();
    let set = set_of(&[1, 2], observers.clone());
    let (mock, mut handle) = tower_test::mock::pair::<Out, Res>();
    let mut service = ServiceBuilder::new()
        .layer(TimeoutLayer::new(ms(500)))
        .layer(BalanceLayer::new(set).with_observers(observers))
        .service(mock);
    for _ in 0..times {
        let call: Call<Request<Full<_>>> = call(get(), &change);
        let flight = tokio::spawn(start(&mut service, call).await);
        let _held = next(&mut handle).await;
        flight.await.expect("no panic").expect_err("nobody answers");
    }
    heard.take()
}

#[tokio::test(start_paused = true)]
async fn an_endpoint_that_lets_the_timeout_pass_is_ejected() {
    let told = unanswered(|_| {}, 30).await;
    assert!(told[0].ends_with("timeout failure"), "{}", told[0]);
    assert_eq!(ejections(&told), 1);
}

#[tokio::test(start_paused = true)]
async fn deadlines_that_nobody_can_meet_eject_nobody() {
    let told = unanswered(|context| context.tighten_deadline(context.started + ms(1)), 100).await;
    assert!(told.iter().all(|word| word.ends_with("deadline ignored")), "{told:?}");
}

#[tokio::test(start_paused = true)]
async fn callers_that_go_away_eject_nobody() {
    let (heard, observers) = Heard::new();
    let set = set_of(&[1, 2], observers.clone());
    let (mock, mut handle) = tower_test::mock::pair::<Out, Res>();
    let layer = BalanceLayer::new(set.clone()).with_observers(observers);
    let mut service = layer.layer(mock);
    for _ in 0..100 {
        let mut flight = Box::pin(start(&mut service, get()).await);
        assert!(tokio_poll(flight.as_mut()).await.is_none());
        let _ = next(&mut handle).await;
        tokio::time::sleep(ms(20)).await;
        drop(flight);
    }
    let told = heard.take();
    assert_eq!(told.len(), 100);
    assert!(told.iter().all(|word| word.ends_with("ignored")), "{told:?}");
    assert_eq!(in_flight(&set), 0);
}

#[tokio::test(start_paused = true)]
async fn a_failure_learns_where_it_happened() {
    let (mock, mut handle) = tower_test::mock::pair::<Out, Res>();
    let mut service = BalanceLayer::new(set_of(&[9], Observers::none())).layer(mock);
    let flight = tokio::spawn(start(&mut service, get()).await);
    next(&mut handle).await.1.send_error(failed(FailureKind::Reset));
    let error = flight.await.expect("no panic").expect_err("it broke");
    assert_eq!(error.to_string(), "connection reset at 127.0.0.1:9");
}
