use std::sync::Arc;

use http::Response;
use http_body_util::BodyExt;
use outrigger_breaker::{Breaker, BreakerConfig};
use outrigger_core::{CircuitState, Decision, FailureKind, Receipt, Rejected};
use outrigger_tower::{CircuitBreakerLayer, TimeoutLayer, clock};
use tower::{Layer, ServiceBuilder};

use crate::kit::*;

fn circuit() -> Breaker {
    Breaker::new(BreakerConfig::default(), 7, clock::now()).expect("the defaults hold")
}

fn state(circuit: &Breaker) -> CircuitState {
    circuit.state(clock::now())
}

/// Trips a circuit and waits until its first probe may pass.
async fn half_opening() -> Breaker {
    let circuit = circuit();
    for _ in 0..20 {
        let permit = circuit.admit(clock::now()).expect("closed");
        permit.record(outrigger_core::Outcome::Failure, ms(1), clock::now());
    }
    let open = circuit.admit(clock::now()).expect_err("it has tripped");
    tokio::time::sleep(open.retry_after + ms(2)).await;
    circuit
}

/// Sends one request through a layer and lets the service answer as told.
async fn exchange(circuit: &Breaker, reply: Result<Res, FailureKind>) {
    let (mock, mut handle) = tower_test::mock::pair::<Req, Res>();
    let mut service = CircuitBreakerLayer::new(stock(), circuit.clone()).layer(mock);
    let flight = tokio::spawn(start(&mut service, get()).await);
    let (_, send) = next(&mut handle).await;
    match reply {
        Ok(response) => send.send_response(response),
        Err(kind) => send.send_error(failed(kind)),
    }
    if let Ok(response) = flight.await.expect("no panic") {
        let _ = response.into_body().collect().await;
    }
}

#[tokio::test(start_paused = true)]
async fn an_open_circuit_refuses_without_calling_and_says_when_to_come_back() {
    let circuit = circuit();
    for _ in 0..20 {
        exchange(&circuit, Ok(answer(503))).await;
    }
    assert_eq!(state(&circuit), CircuitState::Open);

    let (mock, mut handle) = tower_test::mock::pair::<Req, Res>();
    let mut service = CircuitBreakerLayer::new(stock(), circuit).layer(mock);
    let error = start(&mut service, get()).await.await.expect_err("it is open");
    let Some(Rejected::CircuitOpen { retry_after, .. }) = Rejected::find(&*error) else {
        panic!("{error:?}");
    };
    assert!(*retry_after > ms(4_000), "{retry_after:?}");
    assert!(is_quiet(&mut handle).await, "the service never saw it");
}

#[tokio::test(start_paused = true)]
async fn what_breaks_on_the_wire_trips_it_and_so_does_a_body_that_breaks() {
    for kind in [FailureKind::ConnectFailure, FailureKind::Reset, FailureKind::TryTimeout] {
        let circuit = circuit();
        for _ in 0..20 {
            exchange(&circuit, Err(kind)).await;
        }
        assert_eq!(state(&circuit), CircuitState::Open, "{kind:?}");
    }
    let circuit = circuit();
    for _ in 0..10 {
        assert_eq!(state(&circuit), CircuitState::Closed, "20 judgements are the minimum");
        let body = Script::of(&[Piece::Data("half"), Piece::Break]);
        exchange(&circuit, Ok(Response::new(body))).await;
    }
    assert_eq!(state(&circuit), CircuitState::Open, "each head was good and each body broke");
}

#[tokio::test(start_paused = true)]
async fn no_caller_can_trip_it() {
    let circuit = circuit();
    // Statuses that blame the request, and the deadline that a caller sets.
    for _ in 0..100 {
        for status in [400, 401, 403, 404, 405, 413, 429, 431, 501, 505] {
            exchange(&circuit, Ok(answer(status))).await;
        }
        exchange(&circuit, Err(FailureKind::Deadline)).await;
    }
    // Callers that go away, at each of the three moments.
    for _ in 0..100 {
        let layer = CircuitBreakerLayer::new(stock(), circuit.clone());
        the_three_drops(layer, get, 0, || 0).await;
    }
    // A deadline that nobody can meet.
    for _ in 0..100 {
        let (mock, mut handle) = tower_test::mock::pair::<_, Res>();
        let mut service = ServiceBuilder::new()
            .layer(TimeoutLayer::new(ms(500)))
            .layer(CircuitBreakerLayer::new(stock(), circuit.clone()))
            .service(mock);
        let call = call(get(), |context| context.tighten_deadline(context.started + ms(1)));
        let flight = tokio::spawn(start(&mut service, call).await);
        let _held = next(&mut handle).await;
        flight.await.expect("no panic").expect_err("nobody can be so fast");
    }
    assert_eq!(state(&circuit), CircuitState::Closed);
}

#[tokio::test(start_paused = true)]
async fn the_policys_timeout_counts_against_the_service() {
    let circuit = circuit();
    for _ in 0..20 {
        let (mock, mut handle) = tower_test::mock::pair::<Req, Res>();
        let mut service = ServiceBuilder::new()
            .layer(TimeoutLayer::new(ms(100)))
            .layer(CircuitBreakerLayer::new(stock(), circuit.clone()))
            .service(mock);
        let flight = tokio::spawn(start(&mut service, get()).await);
        let _held = next(&mut handle).await;
        flight.await.expect("no panic").expect_err("nobody answers");
    }
    assert_eq!(state(&circuit), CircuitState::Open);
}

#[tokio::test(start_paused = true)]
async fn a_probe_that_is_dropped_makes_room_for_the_next() {
    let circuit = half_opening().await;
    for _ in 0..20 {
        let layer = CircuitBreakerLayer::new(stock(), circuit.clone());
        let (mock, mut handle) = tower_test::mock::pair::<Req, Res>();
        let mut service = layer.layer(mock);
        let mut probe = Box::pin(start(&mut service, get()).await);
        assert!(tokio_poll(probe.as_mut()).await.is_none());
        let _ = next(&mut handle).await;
        drop(probe);
    }
    assert_eq!(state(&circuit), CircuitState::HalfOpen, "none of them decided anything");
    for _ in 0..3 {
        exchange(&circuit, Ok(answer(200))).await;
    }
    assert_eq!(state(&circuit), CircuitState::Closed, "three good probes close it");
}

#[tokio::test(start_paused = true)]
async fn a_thousand_callers_at_the_moment_of_half_open_are_as_many_probes_as_configured() {
    let circuit = half_opening().await;
    let (mock, mut handle) = tower_test::mock::pair::<Req, Res>();
    let layer = CircuitBreakerLayer::new(stock(), circuit);
    let tasks: Vec<_> = (0..1_000)
        .map(|_| {
            let mut service = layer.layer(mock.clone());
            tokio::spawn(async move { start(&mut service, get()).await.await.is_ok() })
        })
        .collect();
    let mut probes = Vec::new();
    while let Some(Some(probe)) = {
        tokio::task::yield_now().await;
        tokio_poll(handle.next_request()).await
    } {
        probes.push(probe.1);
    }
    assert_eq!(probes.len(), 3);
    probes.into_iter().for_each(|probe| probe.send_response(answer(200)));
    let mut admitted = 0;
    for task in tasks {
        admitted += usize::from(task.await.expect("no panic"));
    }
    assert_eq!(admitted, 3);
}

#[tokio::test(start_paused = true)]
async fn a_sampled_request_has_the_circuits_word_on_its_receipt() {
    let (mock, mut handle) = tower_test::mock::pair::<_, Res>();
    let mut service = CircuitBreakerLayer::new(stock(), circuit()).layer(mock);
    let receipt = Arc::new(Receipt::new());
    let call = call(get(), |context| context.receipt = Some(Arc::clone(&receipt)));
    let flight = tokio::spawn(start(&mut service, call).await);
    next(&mut handle).await.1.send_response(answer(200));
    flight.await.expect("no panic").expect("closed");
    let wanted = Decision::Circuit { state: CircuitState::Closed, admitted: true };
    assert_eq!(receipt.decisions().0[0].1, wanted);
}
