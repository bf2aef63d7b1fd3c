//! The three layers, with sinks for spans.

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use outrigger_core::{
    BoxError, Call, CircuitState, Context, Decision, Dispatch, Failed, FailureKind, Outcome, Ratio,
    Reason, Rejected, TraceContext,
};
use outrigger_telemetry::propagation::{Propagators, traceparent};
use outrigger_telemetry::{
    ClientTraceLayer, FinishedSpan, Inherited, ServerTraceLayer, SpanKind, SpanStatus, Telemetry,
    Trust, TryTraceLayer, current, scope,
};
use tower::{Layer, Service, ServiceExt, service_fn};

use crate::support::{Hands, Kept, builder, dispatch, recording, service, text};

const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

type Body = Full<bytes::Bytes>;

fn body(text: &'static str) -> Body {
    Full::new(bytes::Bytes::from_static(text.as_bytes()))
}

fn call(hands: &Hands, request: Request<Body>) -> Call<Request<Body>> {
    use outrigger_core::Clock;
    let mut context = Context::new(hands.now());
    context.service = Some(service("inventory"));
    Call::new(context, request)
}

fn get(uri: &str) -> Request<Body> {
    Request::get(uri).body(body("")).expect("a request")
}

fn parent_of(headers: &HeaderMap) -> TraceContext {
    Propagators::default().extract(headers).parent
}

/// Answers with the traceparent that it saw.
async fn echo(dispatch: Dispatch<Request<Body>>) -> Result<Response<Body>, BoxError> {
    let seen = dispatch.request.headers().get("traceparent").cloned();
    let mut answer = Response::new(body("ok"));
    answer.headers_mut().extend(seen.map(|seen| (http::header::ETAG, seen)));
    Ok(answer)
}

/// The client's stack in small: the logical span, one try, the wire.
fn client<S>(
    telemetry: &Telemetry,
    wire: S,
) -> impl Service<Call<Request<Body>>, Response = impl Sized, Error = BoxError, Future: Send> + Clone
where
    S: Service<Dispatch<Request<Body>>, Response = Response<Body>, Error = BoxError, Future: Send>
        + Clone
        + Send
        + 'static,
{
    let tries = TryTraceLayer::new(telemetry).layer(wire);
    let pick = service_fn(move |call: Call<Request<Body>>| {
        tries.clone().oneshot(dispatch(call.context, call.request))
    });
    ClientTraceLayer::new(telemetry).layer(pick)
}

#[tokio::test]
async fn a_call_is_one_internal_span_with_a_client_span_per_try_below() {
    let (telemetry, kept, hands) = recording();
    let clock = Arc::clone(&hands);
    let wire = service_fn(move |dispatch| {
        clock.advance(Duration::from_millis(7));
        echo(dispatch)
    });
    drop(
        client(&telemetry, wire)
            .oneshot(call(&hands, get("http://inventory/stock/42?token=s3cret")))
            .await,
    );

    let spans = kept.all();
    let [tried, whole] = &spans[..] else { panic!("two spans: {spans:#?}") };
    assert_eq!((whole.kind, tried.kind), (SpanKind::Internal, SpanKind::Client));
    assert_eq!((whole.parent, tried.parent), (None, Some(whole.span_id)));
    assert_eq!((tried.trace_id, tried.name.as_ref()), (whole.trace_id, "GET"));
    assert_eq!(whole.name, "call inventory");
    assert_eq!(whole.end.duration_since(whole.start).expect("in order"), Duration::from_millis(7));
    assert_eq!(text(tried, "outrigger.endpoint"), "127.0.0.1:4711");
    assert_eq!(text(tried, "server.address"), "inventory");
    assert_eq!(text(tried, "http.response.status_code"), "200");
    assert_eq!(text(tried, "url.full"), "http://inventory/stock/42?REDACTED");
    assert!(!format!("{spans:?}").contains("s3cret"), "a query may be secret");
}

#[tokio::test]
async fn the_header_names_the_try_and_not_the_call() {
    let (telemetry, kept, hands) = recording();
    let seen = Arc::new(std::sync::Mutex::new(HeaderMap::new()));
    let saw = Arc::clone(&seen);
    let wire = service_fn(move |dispatch: Dispatch<Request<Body>>| {
        *saw.lock().expect("unpoisoned") = dispatch.request.headers().clone();
        echo(dispatch)
    });
    drop(client(&telemetry, wire).oneshot(call(&hands, get("http://inventory/"))).await);
    let parent = parent_of(&seen.lock().expect("unpoisoned"));
    assert_eq!(parent.span_id, kept.all()[0].span_id);
    assert!(parent.is_sampled());
}

#[tokio::test]
async fn an_unsampled_call_has_a_header_and_neither_span_nor_receipt() {
    let (kept, hands) = (Arc::<Kept>::default(), Hands::new());
    let telemetry = builder(Ratio::ZERO)
        .with_span_sink(Arc::clone(&kept) as _)
        .with_clock(Arc::clone(&hands) as _)
        .build(&tokio::runtime::Handle::current())
        .expect("nothing to export");
    let wire = service_fn(|dispatch: Dispatch<Request<Body>>| async move {
        assert!(dispatch.context.receipt.is_none());
        let parent = parent_of(dispatch.request.headers());
        assert!(parent.is_valid() && !parent.is_sampled());
        assert_eq!(parent, dispatch.context.trace);
        echo(dispatch).await
    });
    let answer = client(&telemetry, wire).oneshot(call(&hands, get("http://inventory/"))).await;
    assert!(answer.is_ok());
    assert!(kept.all().is_empty());
}

#[tokio::test]
async fn decisions_of_the_receipt_are_events_and_attributes_of_the_call() {
    let (telemetry, kept, hands) = recording();
    let inner = service_fn(|call: Call<Request<Body>>| async move {
        let receipt = call.context.receipt.expect("a sampled call has one");
        let at = Duration::from_millis;
        receipt.push(at(0), Decision::Limited { limit: "own", admitted: true, remaining: Some(3) });
        receipt.push(at(1), Decision::Circuit { state: CircuitState::HalfOpen, admitted: true });
        let endpoint = ([127, 0, 0, 1], 80).into();
        receipt
            .push(at(2), Decision::Picked { candidates: 3, endpoint, load: 1.5, panicking: false });
        receipt.push(
            at(3),
            Decision::Tried {
                attempt: 0,
                endpoint: Some(endpoint),
                status: None,
                failure: Some(FailureKind::Reset),
                outcome: Outcome::Failure,
                elapsed: at(1),
            },
        );
        receipt.push(at(4), Decision::NotRetried { why: "budget" });
        receipt.push(at(5), Decision::Refused { reason: Reason::Reset });
        Err::<Response<Body>, BoxError>(Failed::new(FailureKind::Reset).into())
    });
    let result =
        ClientTraceLayer::new(&telemetry).layer(inner).oneshot(call(&hands, get("/"))).await;
    assert!(result.is_err());
    let span = kept.only();
    for (key, wanted) in [
        ("outrigger.candidates", "3"),
        ("outrigger.endpoint", "127.0.0.1:80"),
        ("outrigger.limiter", "admitted"),
        ("outrigger.circuit", "half_open"),
        ("outrigger.tries", "1"),
        ("outrigger.not_retried", "budget"),
        ("outrigger.refused", "reset"),
        ("error.type", "reset"),
    ] {
        assert_eq!(text(&span, key), wanted, "{key}");
    }
    let names: Vec<_> = span.events.iter().map(|e| e.name.as_ref()).collect();
    assert_eq!(
        names,
        [
            "limiter asked",
            "circuit asked",
            "endpoint picked",
            "try ended",
            "not retried",
            "refused"
        ]
    );
    assert_eq!(span.events[3].at, span.start + Duration::from_millis(3));
    assert_eq!(span.status, SpanStatus::Error("connection reset".into()));
}

#[tokio::test]
async fn a_refusal_of_ours_names_its_reason_and_a_foreign_error_tells_nothing() {
    let (telemetry, kept, hands) = recording();
    let refuse = service_fn(|_: Call<Request<Body>>| async {
        Err::<Response<Body>, BoxError>(
            Rejected::NoEndpoint { service: service("inventory") }.into(),
        )
    });
    let foreign = service_fn(|_: Call<Request<Body>>| async {
        Err::<Response<Body>, BoxError>("password=s3cret".into())
    });
    let layer = ClientTraceLayer::new(&telemetry);
    assert!(layer.layer(refuse).oneshot(call(&hands, get("/"))).await.is_err());
    assert!(layer.layer(foreign).oneshot(call(&hands, get("/"))).await.is_err());
    let spans = kept.all();
    assert_eq!(text(&spans[0], "error.type"), "no_endpoint");
    assert_eq!(text(&spans[1], "error.type"), "_OTHER");
    assert!(!format!("{spans:?}").contains("s3cret"));
}

#[tokio::test]
async fn the_span_of_a_retry_says_which_one_it_is_and_the_baggage_mirrors_it() {
    let (telemetry, kept, hands) = recording();
    let seen = Arc::new(std::sync::Mutex::new(None));
    let saw = Arc::clone(&seen);
    let wire = service_fn(move |dispatch: Dispatch<Request<Body>>| {
        *saw.lock().expect("unpoisoned") = dispatch.request.headers().get("baggage").cloned();
        echo(dispatch)
    });
    let mut request = get("http://inventory/");
    request.headers_mut().insert("baggage", http::HeaderValue::from_static("user=alice"));
    let mut call = call(&hands, request);
    call.context.attempt = 2;
    drop(client(&telemetry, wire).oneshot(call).await);
    assert_eq!(text(&kept.all()[0], "http.request.resend_count"), "2");
    let baggage = seen.lock().expect("unpoisoned").clone();
    assert_eq!(baggage.expect("mirrored"), "outrigger.attempt=2,user=alice");
}

#[tokio::test]
async fn the_span_ends_with_the_body_by_end_error_or_drop() {
    let (telemetry, kept, hands) = recording();
    let layer = TryTraceLayer::new(&telemetry);
    let answer = || async {
        let wire = service_fn(echo);
        let sampled = TraceContext { trace_id: 1, span_id: 2, flags: 1 };
        let mut context = call(&hands, get("/")).context;
        context.trace = sampled;
        layer.layer(wire).oneshot(dispatch(context, get("/"))).await.expect("an answer")
    };

    let read = answer().await.into_body();
    assert!(kept.all().is_empty(), "the head alone does not end it");
    hands.advance(Duration::from_millis(9));
    assert_eq!(read.collect().await.expect("whole").to_bytes(), "ok");
    let span = kept.only();
    assert_eq!(span.end.duration_since(span.start).expect("in order"), Duration::from_millis(9));
    assert_eq!(text(&span, "http.response.body.size"), "2");

    let unread = answer().await;
    drop(unread);
    assert_eq!(kept.all().len(), 2, "a dropped body ends it");
}

#[tokio::test]
async fn a_caller_that_goes_away_is_no_error() {
    let (telemetry, kept, hands) = recording();
    let stuck = service_fn(|_: Call<Request<Body>>| {
        std::future::pending::<Result<Response<Body>, BoxError>>()
    });
    let future = ClientTraceLayer::new(&telemetry).layer(stuck).oneshot(call(&hands, get("/")));
    assert!(future.now_or_never().is_none());
    let span = kept.only();
    assert_eq!(text(&span, "outrigger.outcome"), "ignored");
    assert_eq!((&span.status, span.events[0].name.as_ref()), (&SpanStatus::Unset, "cancelled"));
}

#[tokio::test]
async fn a_client_error_fails_the_callers_span_and_not_the_servers() {
    let (telemetry, kept, _) = recording();
    for (status, failed) in [(404, false), (500, true)] {
        let handler = service_fn(move |_: Request<Body>| async move {
            let mut answer = Response::new(body(""));
            *answer.status_mut() = StatusCode::from_u16(status).expect("valid");
            Ok::<_, BoxError>(answer)
        });
        drop(ServerTraceLayer::new(&telemetry).layer(handler).oneshot(get("/")).await);
        let span = kept.all().pop().expect("one more");
        assert_eq!(span.status != SpanStatus::Unset, failed, "{status}");
    }
}

#[tokio::test]
async fn a_refusal_by_a_server_counts_as_what_the_caller_is_answered() {
    let (telemetry, kept, _) = recording();
    let limited = Rejected::RateLimited {
        service: service("orders"),
        retry_after: Duration::ZERO,
        limit: None,
        grpc_status: None,
    };
    let empty = Rejected::NoEndpoint { service: service("orders") };
    for (rejected, status, failed) in [(limited, "429", false), (empty, "503", true)] {
        let handler = service_fn(move |_: Request<Body>| {
            let rejected = rejected.clone();
            async move { Err::<Response<Body>, BoxError>(rejected.into()) }
        });
        assert!(telemetry.server_layer().layer(handler).oneshot(get("/")).await.is_err());
        let span = kept.all().pop().expect("one more");
        assert_eq!(text(&span, "http.response.status_code"), status);
        assert_eq!(span.status != SpanStatus::Unset, failed, "{status}");
    }
    let mut page = String::new();
    telemetry.metrics().encode(&mut page);
    assert!(
        page.contains(r#"http_response_status_code="429",error_type="rate_limited"} 1"#),
        "{page}"
    );
}

/// Serves one request; gives back what the handler could inherit.
async fn serve(layer: ServerTraceLayer, request: Request<Body>) -> (Inherited, Request<Body>) {
    let seen = Arc::new(std::sync::Mutex::new(None));
    let saw = Arc::clone(&seen);
    let handler = service_fn(move |request: Request<Body>| {
        let saw = Arc::clone(&saw);
        async move {
            let inherited = current().expect("inside of a handler");
            *saw.lock().expect("unpoisoned") = Some((inherited, request));
            Ok::<_, BoxError>(Response::new(body("")))
        }
    });
    drop(layer.layer(handler).oneshot(request).await.expect("an answer"));
    seen.lock().expect("unpoisoned").take().expect("the handler ran")
}

fn incoming(headers: &[(&'static str, &str)]) -> Request<Body> {
    let mut request = get("/stock/42");
    for (name, value) in headers {
        request.headers_mut().append(*name, value.parse().expect("a value"));
    }
    request
}

#[tokio::test]
async fn a_handler_inherits_trace_deadline_attempt_caller_and_baggage() {
    let (telemetry, kept, hands) = recording();
    let mut request = incoming(&[
        ("traceparent", PARENT),
        ("tracestate", "rojo=1"),
        ("baggage", "user=alice,outrigger.attempt=1"),
    ]);
    let mut context = call(&hands, get("/")).context;
    let deadline = context.started + Duration::from_secs(1);
    context.deadline = Some(deadline);
    context.caller = Some(service("storefront"));
    request.extensions_mut().insert(context);

    let (inherited, request) = serve(telemetry.server_layer(), request).await;

    let span = kept.only();
    assert_eq!((span.kind, span.parent), (SpanKind::Server, Some(0xb7ad_6b71_6920_3331)));
    assert!(span.parent_is_remote);
    assert_eq!(inherited.trace.trace_id, 0x0af7_6519_16cd_43dd_8448_eb21_1c80_319c);
    assert_eq!(inherited.trace.span_id, span.span_id, "calls are below the server's span");
    assert_eq!((inherited.deadline, inherited.attempt), (Some(deadline), 1));
    assert_eq!(inherited.caller, Some(service("storefront")));
    assert_eq!(inherited.baggage.as_ref().expect("passed on"), "user=alice,outrigger.attempt=1");
    assert_eq!(inherited.tracestate.as_ref().expect("passed on"), "rojo=1");
    let attached = request.extensions().get::<Inherited>().expect("for tasks that are spawned");
    assert_eq!(attached.trace, inherited.trace);
    let context = request.extensions().get::<Context>().expect("for the layers below");
    assert_eq!((context.trace, context.attempt), (inherited.trace, 1));
    assert!(current().is_none(), "nothing is left behind");
}

#[tokio::test]
async fn a_call_made_in_a_handler_continues_its_trace_and_baggage() {
    let (telemetry, kept, hands) = recording();
    let inherited = {
        let (i, _) = serve(
            telemetry.server_layer(),
            incoming(&[
                ("traceparent", PARENT),
                ("tracestate", "rojo=1"),
                ("baggage", "user=alice"),
            ]),
        )
        .await;
        i
    };
    let wire = service_fn(|dispatch: Dispatch<Request<Body>>| async move {
        assert_eq!(dispatch.request.headers()["baggage"], "user=alice");
        assert_eq!(dispatch.request.headers()["tracestate"], "rojo=1");
        echo(dispatch).await
    });
    let outgoing = client(&telemetry, wire).oneshot(call(&hands, get("http://inventory/")));
    assert!(scope(inherited.clone(), outgoing).await.is_ok());
    let spans: Vec<FinishedSpan> = kept.all();
    let [server, tried, whole] = &spans[..] else { panic!("{spans:#?}") };
    assert_eq!(whole.parent, Some(server.span_id));
    assert_eq!((whole.trace_id, tried.trace_id), (server.trace_id, server.trace_id));

    let wire = service_fn(echo);
    let mut explicit = get("http://inventory/");
    explicit.extensions_mut().insert(inherited);
    assert!(client(&telemetry, wire).oneshot(call(&hands, explicit)).await.is_ok());
    assert_eq!(kept.all()[4].trace_id, server.trace_id, "an extension does as well");
}

#[tokio::test]
async fn at_the_edge_every_request_starts_a_trace_that_links_to_the_one_outside() {
    let (kept, hands) = (Arc::<Kept>::default(), Hands::new());
    let headers = [
        ("traceparent", PARENT),
        ("tracestate", "rojo=1"),
        ("baggage", "user=mallory"),
        ("b3", "1"),
    ];
    for (ratio, spans) in [(Ratio::ZERO, 0), (Ratio::ONE, 1)] {
        let telemetry = builder(ratio)
            .with_span_sink(Arc::clone(&kept) as _)
            .with_clock(Arc::clone(&hands) as _)
            .build(&tokio::runtime::Handle::current())
            .expect("nothing to export");
        let edge = telemetry.server_layer().with_trust(Trust::Nobody);
        let (inherited, request) = serve(edge, incoming(&headers)).await;
        assert_ne!(inherited.trace.trace_id, 0x0af7_6519_16cd_43dd_8448_eb21_1c80_319c);
        assert_eq!(inherited.trace.is_sampled(), spans == 1, "the flag from outside is not obeyed");
        assert!(inherited.baggage.is_none() && inherited.tracestate.is_none());
        assert!(!request.headers().contains_key("baggage"));
        assert_eq!(kept.all().len(), spans);
    }
    let span = kept.only();
    assert_eq!(span.parent, None);
    assert_eq!(span.links[0].trace_id, 0x0af7_6519_16cd_43dd_8448_eb21_1c80_319c);
}

#[tokio::test]
async fn trust_can_depend_on_the_request() {
    #[derive(Clone)]
    struct Registered;
    let (telemetry, _, hands) = recording();
    let layer = telemetry
        .server_layer()
        .with_trust(Trust::If(Arc::new(|extensions| extensions.get::<Registered>().is_some())));
    for trusted in [true, false] {
        let mut request = incoming(&[("traceparent", PARENT)]);
        let mut context = call(&hands, get("/")).context;
        context.caller = Some(service("storefront"));
        request.extensions_mut().insert(context);
        if trusted {
            request.extensions_mut().insert(Registered);
        }
        let (inherited, _) = serve(layer.clone(), request).await;
        assert_eq!(inherited.trace.trace_id == 0x0af7_6519_16cd_43dd_8448_eb21_1c80_319c, trusted);
        assert_eq!(inherited.caller.is_some(), trusted, "nor is the caller believed");
    }
}

#[tokio::test]
async fn a_second_trace_in_b3_headers_becomes_a_link() {
    let (telemetry, kept, _) = recording();
    let b3 = "463ac35c9f6413ad48485a3953bb6124-0020000000000001-0";
    serve(telemetry.server_layer(), incoming(&[("traceparent", PARENT), ("b3", b3)])).await;
    assert_eq!(kept.only().links[0].span_id, 0x0020_0000_0000_0001);
}

#[tokio::test]
async fn an_unsampled_parent_is_passed_on_untouched() {
    let (telemetry, kept, _) = recording();
    let parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00";
    let (inherited, _) =
        serve(telemetry.server_layer(), incoming(&[("traceparent", parent)])).await;
    assert_eq!(traceparent::header_value(inherited.trace), parent);
    assert!(kept.all().is_empty());
}

#[tokio::test]
async fn a_handler_can_name_its_route_and_note_what_happened() {
    let (telemetry, kept, _) = recording();
    let handler = service_fn(|_: Request<Body>| async {
        let served = current().expect("inside of a handler");
        served.name_route("/stock/{id}");
        served.event("cache missed", std::time::SystemTime::UNIX_EPOCH, Vec::new());
        Ok::<_, BoxError>(Response::new(body("")))
    });
    drop(telemetry.server_layer().layer(handler).oneshot(get("/stock/42")).await);
    let span = kept.only();
    assert_eq!(
        (span.name.as_ref(), span.events[0].name.as_ref()),
        ("GET /stock/{id}", "cache missed")
    );
    assert_eq!(text(&span, "http.route"), "/stock/{id}");
}

#[tokio::test]
async fn a_disabled_handle_still_passes_traces_on() {
    let telemetry = Telemetry::disabled("orders");
    let (inherited, _) =
        serve(telemetry.server_layer(), incoming(&[("traceparent", PARENT)])).await;
    assert_eq!(traceparent::header_value(inherited.trace), PARENT);
    assert!(!telemetry.root().is_sampled(), "it samples nothing of its own");
}
