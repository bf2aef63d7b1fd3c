use std::convert::Infallible;
use std::sync::Arc;

use bytes::Bytes;
use http::{Response, StatusCode};
use http_body_util::{BodyExt, Full};
use outrigger_core::{
    BoxError, Context, Failed, FailureKind, Reason, Rejected, RouteName, TraceContext, header,
};
use outrigger_limit::ConcurrencyLimit;
use outrigger_retry::{Budget, BudgetConfig, RetryConfig, RetryRule};
use outrigger_tower::{
    ConcurrencyLayer, ContextLayer, DeadlineLayer, InboundLayer, RefuseLayer, RefusedBody,
    RetryLayer, Trust, clock,
};
use tower::{Layer, ServiceBuilder, ServiceExt, service_fn};

use crate::kit::*;

/// The answer that a server gives when its handler fails in this way.
async fn refusal(
    error: impl Fn() -> BoxError + Clone + Send + 'static,
    grpc: bool,
) -> (http::response::Parts, Bytes) {
    let handler = service_fn(move |_: Req| {
        let error = error();
        async move { Err::<Response<Full<Bytes>>, _>(error) }
    });
    let server = RefuseLayer::new().layer(handler);
    let mut request = get();
    if grpc {
        let kind = "application/grpc+proto".parse().expect("valid");
        request.headers_mut().insert("content-type", kind);
    }
    let response: Result<Response<RefusedBody<_>>, Infallible> = server.oneshot(request).await;
    let (head, body) = response.expect("always an answer").into_parts();
    (head, body.collect().await.expect("a short text").to_bytes())
}

#[tokio::test(start_paused = true)]
async fn each_refusal_is_answered_by_the_contracts_table() {
    let service = stock();
    let rejected: [(Rejected, Reason); 4] = [
        (
            Rejected::RateLimited {
                service: service.clone(),
                retry_after: ms(1_200),
                limit: Some((5, 0)),
                grpc_status: None,
            },
            Reason::RateLimited,
        ),
        (
            Rejected::CircuitOpen {
                service: service.clone(),
                route: RouteName::default(),
                retry_after: ms(10),
            },
            Reason::CircuitOpen,
        ),
        (Rejected::NoEndpoint { service: service.clone() }, Reason::NoEndpoint),
        (Rejected::Overloaded { service, limit: 1, retry_after: None }, Reason::Overloaded),
    ];
    for (rejected, reason) in rejected {
        let waits = rejected.retry_after().is_some();
        let (head, body) = refusal(
            {
                let r = rejected.clone();
                move || r.clone().into()
            },
            false,
        )
        .await;
        assert_eq!(head.status.as_u16(), reason.http_status());
        assert_eq!(head.headers[header::REASON], reason.as_str());
        assert_eq!(head.headers.contains_key("retry-after"), waits, "{reason:?}");
        assert_eq!(body, reason.body());

        let (head, body) = refusal(move || rejected.clone().into(), true).await;
        assert_eq!(head.status, StatusCode::OK);
        assert_eq!(head.headers[header::GRPC_STATUS], reason.grpc_status().to_string());
        assert!(body.is_empty(), "nothing follows the status of a gRPC refusal");
    }
    for (kind, reason) in [
        (FailureKind::ConnectFailure, Reason::ConnectFailure),
        (FailureKind::RefusedStream, Reason::Reset),
        (FailureKind::Reset, Reason::Reset),
        (FailureKind::TryTimeout, Reason::Timeout),
        (FailureKind::Timeout, Reason::Timeout),
        (FailureKind::Deadline, Reason::Deadline),
    ] {
        let (head, _) = refusal(move || Failed::new(kind).into(), false).await;
        assert_eq!(head.status.as_u16(), reason.http_status());
        assert_eq!(head.headers[header::REASON], reason.as_str());
    }
}

#[tokio::test(start_paused = true)]
async fn an_error_that_is_not_ours_tells_the_caller_nothing() {
    let secret = || BoxError::from("password=hunter2");
    let (head, body) = refusal(secret, false).await;
    assert_eq!(head.status, StatusCode::INTERNAL_SERVER_ERROR);
    assert!(!head.headers.contains_key(header::REASON) && body.is_empty());
    let (head, body) = refusal(secret, true).await;
    assert_eq!(head.headers[header::GRPC_STATUS], "13");
    assert!(!format!("{head:?}").contains("hunter2") && body.is_empty());
}

fn retry(conditions: &[&str]) -> RetryLayer {
    let mut config = RetryConfig::default();
    config.when = conditions.iter().map(|text| text.parse().expect("valid")).collect();
    let rule = RetryRule::new(&config).expect("valid");
    RetryLayer::new(stock(), rule.into(), Budget::new(&BudgetConfig::default(), clock::now()))
}

/// A service that answers as it is told, to anything.
fn always<R, F>(
    reply: F,
) -> impl tower::Service<R, Response = Res, Error = BoxError, Future: Send> + Clone
where
    F: Fn() -> Result<Res, BoxError> + Clone,
{
    service_fn(move |_: R| std::future::ready(reply()))
}

#[tokio::test(start_paused = true)]
async fn an_answer_says_how_many_tries_the_handlers_own_calls_took() {
    // The handler makes an answer of its own and knows nothing of tries.
    let handler = service_fn(|_: Req| async {
        let client = ServiceBuilder::new()
            .layer(ContextLayer::new(stock()))
            .layer(retry(&["5xx"]))
            .service(always(|| Ok(answer(503))));
        let status = client.oneshot(get()).await?.status();
        Ok::<_, BoxError>(answer(if status == 503 { 500 } else { 200 }))
    });
    let server = InboundLayer::new("orders".parse().expect("valid")).layer(handler);
    let response = server.oneshot(get()).await.expect("answered");
    assert_eq!(response.headers()[header::ATTEMPTS], "2");
}

#[tokio::test(start_paused = true)]
async fn a_refusal_says_how_many_tries_were_made() {
    let handler = service_fn(|_: Req| async {
        let client = ServiceBuilder::new()
            .layer(retry(&["connect_failure"]))
            .service(always(|| Err(failed(FailureKind::ConnectFailure))));
        client.oneshot(get()).await.map(|_| answer(200))
    });
    let server = ServiceBuilder::new()
        .layer(RefuseLayer::new())
        .layer(InboundLayer::new("orders".parse().expect("valid")))
        .service(handler);
    let response = server.oneshot(get()).await.expect("always an answer");
    assert_eq!(response.status(), 503);
    assert_eq!(response.headers()[header::REASON], "connect_failure");
    assert_eq!(response.headers()[header::ATTEMPTS], "2");
}

#[tokio::test(start_paused = true)]
async fn a_retry_that_the_budget_forbade_is_forbidden_to_whoever_asks_too() {
    let mut config = RetryConfig::default();
    config.when = vec!["5xx".parse().expect("valid")];
    let rule = Arc::new(RetryRule::new(&config).expect("valid"));
    let mut spent = BudgetConfig::default();
    (spent.min_concurrent, spent.min_per_second) = (0, 0);
    let layer = RetryLayer::new(stock(), rule, Budget::new(&spent, clock::now()));
    let handler = service_fn(move |_: Req| {
        let client = layer.layer(always(|| Ok(answer(503))));
        async move { client.oneshot(get()).await.map(|_| answer(500)) }
    });
    let server = InboundLayer::new("orders".parse().expect("valid")).layer(handler);
    let response = server.oneshot(get()).await.expect("answered");
    assert_eq!(response.headers()[header::ATTEMPTS], "2");
}

#[tokio::test(start_paused = true)]
async fn one_try_is_not_worth_a_word() {
    let handler = service_fn(|_: Req| async {
        let client = retry(&["5xx"]).layer(always(|| Ok(answer(200))));
        client.oneshot(get()).await?;
        Ok::<_, BoxError>(answer(200))
    });
    let server = InboundLayer::new("orders".parse().expect("valid")).layer(handler);
    let response = server.oneshot(get()).await.expect("answered");
    assert!(!response.headers().contains_key(header::ATTEMPTS));
}

/// The context that a server makes of these headers.
async fn context_of(layer: InboundLayer, headers: &[(&'static str, &'static str)]) -> Context {
    let mut request = get();
    for (name, value) in headers {
        request.headers_mut().append(*name, value.parse().expect("valid"));
    }
    let tells = service_fn(|request: Req| async move {
        let context: Context = request.extensions().get().cloned().expect("made on the way");
        Ok::<_, Infallible>(Response::new(context))
    });
    layer.layer(tells).oneshot(request).await.expect("answered").into_body()
}

#[tokio::test(start_paused = true)]
async fn what_comes_in_is_read_and_only_the_trusted_have_a_name() {
    let headers = [
        ("x-outrigger-caller", "orders"),
        ("x-outrigger-deadline-ms", "900"),
        ("grpc-timeout", "700m"),
        ("x-outrigger-attempt", "1"),
        ("baggage", "user=7,outrigger.attempt=2"),
    ];
    let layer = InboundLayer::new(stock());
    let context = context_of(layer.clone(), &headers).await;
    assert_eq!(context.service, Some(stock()));
    assert_eq!(context.caller, Some("orders".parse().expect("valid")));
    assert_eq!(context.time_left(context.started), Some(ms(700)), "the tightest wins");
    assert_eq!(context.attempt, 2, "the larger of header and baggage");

    let wary = layer.clone().with_trust(Trust::Nobody);
    let context = context_of(wary, &headers).await;
    assert_eq!(context.caller, None);
    assert_eq!((context.deadline.is_some(), context.attempt), (true, 2), "these only tighten");

    let picky = layer.clone().with_trust(Trust::Those(|extensions| extensions.len() > 9));
    assert_eq!(context_of(picky, &headers).await.caller, None);

    let nonsense = [
        ("x-outrigger-caller", "../etc"),
        ("x-outrigger-deadline-ms", "soon"),
        ("x-outrigger-attempt", "-1"),
    ];
    let context = context_of(layer, &nonsense).await;
    assert_eq!((context.caller, context.deadline, context.attempt), (None, None, 0));
}

#[tokio::test(start_paused = true)]
async fn a_handlers_calls_inherit_deadline_attempt_and_trace() {
    let trace = TraceContext { trace_id: 7, span_id: 9, flags: 1 };
    let handler = service_fn(|_: Req| async {
        let tells = service_fn(|call: outrigger_core::Call<Req>| async move {
            Ok::<_, Infallible>(Response::new(call.context))
        });
        let client = ContextLayer::new("pricing".parse().expect("valid")).layer(tells);
        client.oneshot(get()).await
    });
    let mut request = get();
    request.headers_mut().insert(header::DEADLINE, "300".parse().expect("valid"));
    request.headers_mut().insert(header::ATTEMPT, "3".parse().expect("valid"));
    let mut served = Context::new(clock::now());
    served.trace = trace;
    request.extensions_mut().insert(served);
    let server = InboundLayer::new("orders".parse().expect("valid")).layer(handler);
    let context = server.oneshot(request).await.expect("answered").into_body();
    assert_eq!(context.service, Some("pricing".parse().expect("valid")));
    assert_eq!(context.time_left(context.started), Some(ms(300)));
    assert_eq!((context.attempt, context.trace), (3, trace));
}

#[tokio::test(start_paused = true)]
async fn the_three_drops_leave_nothing() {
    the_three_drops::<_, _, Req, _>(InboundLayer::new(stock()), get, 0, || 0).await;
    the_three_drops::<_, _, Req, _>(RefuseLayer::new(), get, 0, || 0).await;
    let limit = ConcurrencyLimit::new(9);
    let held = || u64::from(limit.in_flight());
    let layers = ServiceBuilder::new()
        .layer(RefuseLayer::new())
        .layer(InboundLayer::new(stock()))
        .layer(DeadlineLayer::new())
        .layer(ConcurrencyLayer::new(stock(), limit.clone()))
        .into_inner();
    the_three_drops::<_, _, Req, _>(layers, get, 1, held).await;
}

#[tokio::test(start_paused = true)]
async fn work_that_outlasts_the_callers_deadline_is_stopped_and_answered() {
    let slow = service_fn(|_: Req| async {
        tokio::time::sleep(ms(5_000)).await;
        Ok::<_, Infallible>(answer(200))
    });
    let server = ServiceBuilder::new()
        .layer(RefuseLayer::new())
        .layer(InboundLayer::new(stock()))
        .layer(DeadlineLayer::new())
        .service(slow);
    let t0 = clock::now();
    let mut request = get();
    request.headers_mut().insert(header::DEADLINE, "250".parse().expect("valid"));
    let response = server.oneshot(request).await.expect("always an answer");
    assert_eq!(response.status(), 504);
    assert_eq!(response.headers()[header::REASON], "deadline");
    assert!((ms(250)..=ms(252)).contains(&(clock::now() - t0)));
}
