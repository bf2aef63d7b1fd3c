//! What a request costs in allocations: none of ours while it is not sampled.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use allocation_counter::measure;
use futures_util::FutureExt;
use http::{HeaderMap, HeaderValue, Request, Response};
use http_body_util::Empty;
use outrigger_core::{
    Call, Context, Dispatch, Endpoint, Event, Instance, Observe, Outcome, Ratio, RouteName,
    ServiceName,
};
use outrigger_telemetry::propagation::Propagators;
use outrigger_telemetry::{FinishedSpan, SpanSink, Telemetry};
use tower::{Layer, Service, service_fn};

#[derive(Debug)]
struct Nowhere;

impl SpanSink for Nowhere {
    fn finished(&self, _span: &FinishedSpan) {}
}

type Body = Empty<bytes::Bytes>;

fn unsampled() -> Telemetry {
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    Telemetry::builder()
        .service("orders")
        .with_sample_ratio(Ratio::ZERO)
        .with_span_sink(Arc::new(Nowhere))
        .build(runtime.handle())
        .expect("nothing to export")
}

fn endpoint() -> Endpoint {
    let address = SocketAddr::from(([127, 0, 0, 1], 4711));
    let name: ServiceName = "inventory".parse().expect("valid");
    let id = "inventory-1".to_owned().try_into().expect("valid");
    Endpoint::new(Arc::new(Instance::new(id, name, address)), address)
}

fn context() -> Context {
    #[expect(clippy::disallowed_methods, reason = "any instant serves as an origin")]
    Context::new(Instant::now())
}

#[test]
fn an_unsampled_call_allocates_nothing() {
    let telemetry = unsampled();
    let to = endpoint();
    let wire = service_fn(|dispatch: Dispatch<Request<Body>>| {
        let named = dispatch.request.headers().contains_key("traceparent");
        std::future::ready(
            Ok::<_, Infallible>(Response::new(named)).map(|r| r.map(|_| Body::new())),
        )
    });
    let mut tries = telemetry.try_layer().layer(wire);
    let pick = service_fn(move |call: Call<Request<Body>>| {
        let Call { context, request } = call;
        tries.call(Dispatch { context, endpoint: to.clone(), request })
    });
    let mut client = telemetry.client_layer().layer(pick);
    let mut once = || {
        let mut request = Request::new(Body::new());
        // Room for the header: the map's growth is the request's own.
        *request.headers_mut() = HeaderMap::with_capacity(16);
        let call = Call::new(context(), request);
        let mut answer = None;
        let counted = measure(|| answer = client.call(call).now_or_never());
        assert!(answer.expect("at once").is_ok());
        counted.count_total
    };
    once();
    assert_eq!(once(), 0, "a header is cut from a page that the thread keeps");
    let hundred: u64 = (0..100).map(|_| once()).sum();
    assert!(hundred <= 4, "a page is taken back or replaced now and then: {hundred}");
}

#[test]
fn reading_the_headers_of_a_trace_allocates_nothing() {
    let mut headers = HeaderMap::new();
    let parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    headers.insert("traceparent", HeaderValue::from_static(parent));
    headers.insert("tracestate", HeaderValue::from_static("rojo=1,congo=2"));
    headers.insert("baggage", HeaderValue::from_static("user=alice"));
    let read = Propagators::default();
    let mut found = None;
    let counted = measure(|| found = Some(read.extract(&headers)));
    assert!(found.expect("read").tracestate.is_some());
    assert_eq!(counted.count_total, 0);
}

#[test]
fn an_event_allocates_for_the_first_sample_of_its_series_only() {
    let telemetry = unsampled();
    let (service, route, endpoint) =
        ("inventory".parse::<ServiceName>().expect("valid"), RouteName::default(), endpoint());
    let (status, outcome, elapsed) = (Some(200), Outcome::Success, Duration::from_millis(1));
    let (service, route, endpoint) = (&service, &route, &endpoint);
    let tell = || {
        let metrics = telemetry.metrics();
        metrics.observe(&Event::Finished {
            service,
            route,
            method: "GET",
            status,
            outcome,
            elapsed,
            tries: 1,
        });
        metrics.observe(&Event::Tried {
            service,
            endpoint,
            attempt: 0,
            status,
            failure: None,
            outcome,
            elapsed,
        });
    };
    tell();
    assert_eq!(measure(tell).count_total, 0);
}

#[test]
fn an_untraced_request_is_served_with_the_allocations_of_its_extension() {
    let telemetry = unsampled();
    let handler = service_fn(|_: Request<Body>| {
        std::future::ready(Ok::<_, Infallible>(Response::new(Body::new())))
    });
    let mut server = telemetry.server_layer().layer(handler);
    let mut once = || {
        let mut request = Request::new(Body::new());
        request.extensions_mut().insert(context());
        let mut answer = None;
        let counted = measure(|| answer = server.call(request).now_or_never());
        drop(answer.expect("at once").expect("an answer"));
        counted.count_total
    };
    once();
    let counted = once();
    // What the handler inherits is put into the extensions in a box; the map may grow.
    assert!(counted <= 2, "{counted}");
}
