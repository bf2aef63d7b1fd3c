use http::Response;
use http_body_util::BodyExt;
use outrigger_core::{Context, FailureKind};
use outrigger_tower::{DeadlineLayer, PerTryTimeoutLayer, TimeoutLayer, clock};
use tower::Layer;

use crate::kit::*;

#[tokio::test(start_paused = true)]
async fn the_three_drops_leave_nothing() {
    the_three_drops(TimeoutLayer::new(ms(500)), get, 0, || 0).await;
    the_three_drops(DeadlineLayer::new(), get, 0, || 0).await;
    the_three_drops(PerTryTimeoutLayer::new(ms(500)), get, 0, || 0).await;
}

#[tokio::test(start_paused = true)]
async fn the_policys_timeout_ends_a_request_on_time_and_drops_the_try_at_once() {
    let (mock, mut handle) = tower_test::mock::pair::<Req, Res>();
    let mut service = TimeoutLayer::new(ms(500)).layer(mock);
    let t0 = clock::now();
    let flight = tokio::spawn(start(&mut service, get()).await);
    let (request, reply) = next(&mut handle).await;
    let context: &Context = request.extensions().get().expect("made on the way");
    assert_eq!(context.timeout, Some(t0 + ms(500)), "those further in know it");

    let error = flight.await.expect("no panic").expect_err("nobody answers");
    assert_eq!(kind_of(&error), Some(FailureKind::Timeout));
    let took = clock::now() - t0;
    assert!((ms(500)..=ms(502)).contains(&took), "{took:?}");
    drop(reply);
}

#[tokio::test(start_paused = true)]
async fn an_earlier_deadline_wins_and_is_not_the_policys_doing() {
    let (mock, mut handle) = tower_test::mock::pair::<_, Res>();
    let mut service = TimeoutLayer::new(ms(500)).layer(mock);
    let t0 = clock::now();
    let call = call(get(), |context| context.tighten_deadline(t0 + ms(200)));
    let flight = tokio::spawn(start(&mut service, call).await);
    let _held = next(&mut handle).await;
    let error = flight.await.expect("no panic").expect_err("nobody answers");
    assert_eq!(kind_of(&error), Some(FailureKind::Deadline));
    assert!(clock::now() - t0 <= ms(202));
}

#[tokio::test(start_paused = true)]
async fn a_deadline_that_has_passed_starts_nothing() {
    for late in [ms(0), ms(1)] {
        let (mock, mut handle) = tower_test::mock::pair::<_, Res>();
        let mut service = DeadlineLayer::new().layer(mock);
        let call = call(get(), |context| context.deadline = Some(context.started - late));
        let error = start(&mut service, call).await.await.expect_err("it is too late");
        assert_eq!(kind_of(&error), Some(FailureKind::Deadline));
        assert!(is_quiet(&mut handle).await, "the service never saw it");
    }
}

#[tokio::test(start_paused = true)]
async fn time_runs_to_the_end_of_the_body() {
    let (mock, mut handle) = tower_test::mock::pair::<Req, Res>();
    let mut service = TimeoutLayer::new(ms(500)).layer(mock);
    let t0 = clock::now();
    let flight = tokio::spawn(start(&mut service, get()).await);
    let (_, reply) = next(&mut handle).await;
    tokio::time::sleep(ms(300)).await;
    reply.send_response(Response::new(Script::of(&[Piece::Data("half"), Piece::Stall])));
    let mut body = flight.await.expect("no panic").expect("the head was in time").into_body();
    assert!(body.frame().await.expect("a frame").is_ok());
    let error = body.frame().await.expect("a frame").expect_err("the rest never comes");
    assert_eq!(kind_of(&error), Some(FailureKind::Timeout));
    let took = clock::now() - t0;
    assert!((ms(500)..=ms(502)).contains(&took), "from the request's start: {took:?}");
    assert!(body.frame().await.is_none(), "it is over");
}

#[tokio::test(start_paused = true)]
async fn what_is_ready_in_time_passes_unchanged() {
    let (mock, mut handle) = tower_test::mock::pair::<Req, Res>();
    let mut service = TimeoutLayer::new(ms(500)).layer(mock);
    let flight = tokio::spawn(start(&mut service, get()).await);
    let (_, reply) = next(&mut handle).await;
    reply.send_response(Response::new(Script::of(&[Piece::Data("a"), Piece::Data("b")])));
    let body = flight.await.expect("no panic").expect("in time").into_body();
    tokio::time::sleep(ms(100)).await;
    assert_eq!(body.collect().await.expect("whole").to_bytes(), "ab");
}

fn stream() -> Res {
    Response::builder()
        .header("content-type", "text/event-stream")
        .body(Script::of(&[Piece::Data("event"), Piece::Stall]))
        .expect("valid")
}

#[tokio::test(start_paused = true)]
async fn a_stream_outlives_the_timeout_and_obeys_the_idle_timeout() {
    let (mock, mut handle) = tower_test::mock::pair::<Req, Res>();
    let layer = TimeoutLayer::new(ms(500)).with_idle(Some(ms(2_000)));
    let mut service = layer.layer(mock);
    let flight = tokio::spawn(start(&mut service, get()).await);
    let (_, reply) = next(&mut handle).await;
    reply.send_response(stream());
    let mut body = flight.await.expect("no panic").expect("a head").into_body();
    tokio::time::sleep(ms(1_500)).await;
    let t1 = clock::now();
    assert!(body.frame().await.expect("a frame").is_ok(), "the timeout is over and it goes on");
    let error = body.frame().await.expect("a frame").expect_err("nothing more comes");
    assert_eq!(kind_of(&error), Some(FailureKind::Timeout));
    assert!((ms(2_000)..=ms(2_002)).contains(&(clock::now() - t1)), "counted from the last frame");
}

#[tokio::test(start_paused = true)]
async fn a_stream_obeys_the_callers_deadline() {
    let (mock, mut handle) = tower_test::mock::pair::<_, Res>();
    let mut service = TimeoutLayer::new(ms(500)).layer(mock);
    let t0 = clock::now();
    let call = call(get(), |context| context.tighten_deadline(t0 + ms(900)));
    let flight = tokio::spawn(start(&mut service, call).await);
    let (_, reply) = next(&mut handle).await;
    reply.send_response(stream());
    let mut body = flight.await.expect("no panic").expect("a head").into_body();
    assert!(body.frame().await.expect("a frame").is_ok());
    let error = body.frame().await.expect("a frame").expect_err("the deadline comes");
    assert_eq!(kind_of(&error), Some(FailureKind::Deadline));
    assert!((ms(900)..=ms(902)).contains(&(clock::now() - t0)));
}

#[tokio::test(start_paused = true)]
async fn a_try_has_its_own_time_and_its_own_word() {
    let (mock, mut handle) = tower_test::mock::pair::<Req, Res>();
    let mut service = PerTryTimeoutLayer::new(ms(80)).layer(mock);
    let t0 = clock::now();
    let flight = tokio::spawn(start(&mut service, get()).await);
    let _held = next(&mut handle).await;
    let error = flight.await.expect("no panic").expect_err("nobody answers");
    assert_eq!(kind_of(&error), Some(FailureKind::TryTimeout));
    assert!((ms(80)..=ms(82)).contains(&(clock::now() - t0)));
}
