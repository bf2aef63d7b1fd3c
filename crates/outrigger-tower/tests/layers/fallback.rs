use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderValue, Request, Response, StatusCode, header as standard};
use http_body_util::{BodyExt, Full};
use outrigger_breaker::{Breaker, BreakerConfig, Mode};
use outrigger_core::{
    CircuitState, Context, Decision, FailureKind, Outcome, Receipt, Rejected, header,
};
use outrigger_tower::{
    CircuitBreakerLayer, Elsewhere, FallbackAnswer, FallbackLayer, FixedAnswer, clock,
};
use tower::{Layer, Service, ServiceBuilder, ServiceExt, service_fn};

use crate::kit::*;

type Answer = FallbackAnswer<Full<Bytes>>;

fn fixed() -> Answer {
    FallbackAnswer::Fixed(FixedAnswer::new(StatusCode::OK, "[]"))
}

fn circuit(mode: Mode) -> Breaker {
    let mut config = BreakerConfig::default();
    config.mode = mode;
    Breaker::new(config, 7, clock::now()).expect("the defaults hold")
}

/// Trips a circuit.
fn trip(circuit: &Breaker) {
    for _ in 0..20 {
        let Ok(permit) = circuit.admit(clock::now()) else { break };
        permit.record(Outcome::Failure, ms(1), clock::now());
    }
    assert_eq!(circuit.state(clock::now()), CircuitState::Open);
}

/// A stack of a fallback and its circuit before a service that answers with this status.
fn stack(
    circuit: Breaker,
    answer: Answer,
    status: u16,
) -> impl Service<
    Req,
    Response = Response<impl http_body::Body<Data = Bytes, Error = outrigger_core::BoxError>>,
    Error = outrigger_core::BoxError,
> + Clone {
    ServiceBuilder::new()
        .layer(FallbackLayer::new(stock(), circuit.clone(), answer))
        .layer(CircuitBreakerLayer::new(stock(), circuit))
        .service(service_fn(move |_: Req| async move {
            match status {
                0 => Err(failed(FailureKind::Reset)),
                status => Ok(crate::kit::answer(status)),
            }
        }))
}

#[tokio::test(start_paused = true)]
async fn what_the_circuit_would_refuse_is_answered_and_marked() {
    let circuit = circuit(Mode::Enforce);
    let service = stack(circuit.clone(), fixed(), 200);
    let response = service.clone().oneshot(get()).await.expect("closed");
    assert!(!response.headers().contains_key(header::REASON), "the service's own answer");
    trip(&circuit);
    let response = service.oneshot(get()).await.expect("another answer");
    assert_eq!(response.status(), 200);
    assert_eq!(response.headers()[header::REASON], "circuit_open");
    assert_eq!(response.headers()[standard::CONTENT_TYPE], "application/json");
    assert_eq!(response.into_body().collect().await.expect("whole").to_bytes(), "[]");
}

#[tokio::test(start_paused = true)]
async fn failures_of_a_closed_circuit_stay_what_they_are() {
    let circuit = circuit(Mode::Enforce);
    assert_eq!(
        stack(circuit.clone(), fixed(), 503).oneshot(get()).await.expect("theirs").status(),
        503
    );
    let error = match stack(circuit.clone(), fixed(), 0).oneshot(get()).await {
        Ok(_) => panic!("the wire broke"),
        Err(error) => error,
    };
    assert_eq!(kind_of(&error), Some(FailureKind::Reset));
}

#[tokio::test(start_paused = true)]
async fn the_circuit_heals_under_a_fallback() {
    let circuit = circuit(Mode::Enforce);
    trip(&circuit);
    let wait = circuit.admit(clock::now()).expect_err("open").retry_after;
    tokio::time::sleep(wait + ms(2)).await;
    let service = stack(circuit.clone(), fixed(), 200);
    for probe in 0..3 {
        let response = service.clone().oneshot(get()).await.expect("a probe");
        assert!(!response.headers().contains_key(header::REASON), "probe {probe} went through");
    }
    assert_eq!(circuit.state(clock::now()), CircuitState::Closed);
}

#[tokio::test(start_paused = true)]
async fn forced_open_falls_back_and_observed_does_not() {
    let forced = stack(circuit(Mode::ForcedOpen), fixed(), 204);
    assert_eq!(forced.oneshot(get()).await.expect("another answer").status(), 200);
    let observed = circuit(Mode::Observe);
    trip(&observed);
    let response =
        stack(observed.clone(), fixed(), 204).oneshot(get()).await.expect("the service's");
    assert_eq!(response.status(), 204);
}

#[tokio::test(start_paused = true)]
async fn grpc_gets_the_refusal_and_head_no_body() {
    let service = stack(circuit(Mode::ForcedOpen), fixed(), 200);
    let mut grpc = with_body("POST", "");
    let kind = HeaderValue::from_static("application/grpc");
    grpc.headers_mut().insert(standard::CONTENT_TYPE, kind);
    let error = match service.clone().oneshot(grpc).await {
        Ok(_) => panic!("[] is no gRPC message"),
        Err(error) => error,
    };
    assert!(matches!(Rejected::find(&*error), Some(Rejected::CircuitOpen { .. })));
    let response = service.oneshot(with_body("HEAD", "")).await.expect("another answer");
    assert_eq!(response.headers()[standard::CONTENT_LENGTH], "2");
    assert!(response.into_body().collect().await.expect("whole").to_bytes().is_empty());
}

#[tokio::test(start_paused = true)]
async fn another_service_is_asked_with_the_whole_request_and_its_context() {
    let (mock, mut handle) = tower_test::mock::pair::<Req, Res>();
    let elsewhere = FallbackAnswer::Service(Elsewhere::new(mock));
    let (heard, observers) = Heard::new();
    let layer =
        FallbackLayer::new(stock(), circuit(Mode::ForcedOpen), elsewhere).with_observers(observers);
    let mut service = layer.layer(service_fn(|_: outrigger_core::Call<Req>| async {
        Err::<Res, _>(std::io::Error::other("nobody may come here"))
    }));
    let receipt = Arc::new(Receipt::new());
    let kept = Arc::clone(&receipt);
    let deadline = clock::now() + ms(700);
    let request = call(with_body("PUT", "count=1"), |context| {
        context.tighten_deadline(deadline);
        context.receipt = Some(kept);
    });
    let flight = tokio::spawn(start(&mut service, request).await);
    let (seen, reply) = next(&mut handle).await;
    let context: &Context = seen.extensions().get().expect("it comes along");
    assert_eq!(context.deadline, Some(deadline));
    assert_eq!(seen.method(), "PUT");
    assert_eq!(seen.into_body().collect().await.expect("whole").to_bytes(), "count=1");
    reply.send_response(Response::new(Script::of(&[Piece::Data("old")])));
    let response = flight.await.expect("no panic").expect("answered");
    assert_eq!(response.headers()[header::REASON], "circuit_open");
    assert_eq!(response.into_body().collect().await.expect("whole").to_bytes(), "old");
    assert_eq!(heard.take(), ["fallback service"]);
    let decisions: Vec<_> = receipt.decisions().0.into_iter().map(|(_, d)| d).collect();
    assert_eq!(
        decisions,
        [
            Decision::Circuit { state: CircuitState::Open, admitted: false },
            Decision::Fallback { kind: "service" }
        ]
    );
}

#[test]
fn a_body_is_what_it_looks_like_unless_told() {
    let kind = |answer: FixedAnswer| format!("{answer:?}");
    for (body, wanted) in [
        ("{\"a\":1}", "application/json"),
        ("  []", "application/json"),
        ("sorry", "text/plain; charset=utf-8"),
        ("", "None"),
    ] {
        let shown = kind(FixedAnswer::new(StatusCode::OK, body));
        assert!(
            shown.contains(&format!(
                "content_type: {}",
                if wanted == "None" { "None".to_owned() } else { format!("Some({wanted:?})") }
            )),
            "{shown}"
        );
    }
    let xml =
        FixedAnswer::new(StatusCode::OK, "[").with_content_type("a/b".parse().expect("valid"));
    assert!(kind(xml).contains("a/b"));
}

#[tokio::test(start_paused = true)]
async fn the_three_drops_leave_nothing_closed_or_open() {
    let closed = circuit(Mode::Enforce);
    the_three_drops::<_, _, Req, _>(FallbackLayer::new(stock(), closed, fixed()), get, 0, || 0)
        .await;
    // The call to the other service goes with the one that is dropped.
    let (mock, mut handle) = tower_test::mock::pair::<Request<Full<Bytes>>, Res>();
    let elsewhere = FallbackAnswer::Service(Elsewhere::new(mock));
    let layer = FallbackLayer::new(stock(), circuit(Mode::ForcedOpen), elsewhere);
    let mut service = layer.layer(service_fn(|_: Req| async {
        Err::<Res, _>(std::io::Error::other("nobody may come here"))
    }));
    let mut flight = Box::pin(start(&mut service, get()).await);
    assert!(tokio_poll(flight.as_mut()).await.is_none());
    let (_, reply) = next(&mut handle).await;
    drop(flight);
    reply.send_response(answer(200));
    assert!(is_quiet(&mut handle).await);
}
