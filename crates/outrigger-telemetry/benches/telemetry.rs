//! What telemetry costs a request: headers by hand beside the SDK's propagator, one event, and the
//! layers around nothing.
//!
//! Budgets on the machine of the first measurements: inject 60 ns, extract 45 ns, an event 60 ns,
//! an unsampled call through both client layers 250 ns.

use std::convert::Infallible;
use std::hint::black_box;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use criterion::{Criterion, criterion_group, criterion_main};
use futures_util::FutureExt;
use http::{HeaderMap, HeaderValue, Request, Response};
use http_body_util::Empty;
use opentelemetry::propagation::TextMapPropagator;
use opentelemetry::trace::{SpanContext, TraceContextExt, TraceState};
use opentelemetry_http::{HeaderExtractor, HeaderInjector};
use opentelemetry_sdk::propagation::TraceContextPropagator;
use outrigger_core::{
    BoxError, Call, Context, Dispatch, Endpoint, Event, Instance, Observe, Outcome, Ratio,
    RouteName, ServiceName, TraceContext,
};
use outrigger_telemetry::propagation::Propagators;
use outrigger_telemetry::{FinishedSpan, Metrics, SpanSink, Telemetry};
use tower::{Layer, Service, service_fn};

type Body = Empty<bytes::Bytes>;

const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00";

#[derive(Debug)]
struct Nowhere;

impl SpanSink for Nowhere {
    fn finished(&self, span: &FinishedSpan) {
        black_box(span);
    }
}

fn headers() -> HeaderMap {
    let mut headers = HeaderMap::with_capacity(16);
    for (name, value) in [("host", "inventory"), ("accept", "*/*"), ("user-agent", "bench")] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    headers
}

fn propagation(c: &mut Criterion) {
    let ours = Propagators::default();
    let theirs = TraceContextPropagator::new();
    let trace = TraceContext { trace_id: 0x0af7_6519_16cd_43dd, span_id: 0xb7ad_6b71, flags: 0 };
    let mut into = headers();
    c.bench_function("inject/by hand", |b| b.iter(|| ours.inject(&mut into, black_box(trace))));
    let sdk = SpanContext::new(
        trace.trace_id.into(),
        trace.span_id.into(),
        Default::default(),
        true,
        TraceState::NONE,
    );
    let sdk = opentelemetry::Context::new().with_remote_span_context(sdk);
    c.bench_function("inject/sdk", |b| {
        b.iter(|| theirs.inject_context(black_box(&sdk), &mut HeaderInjector(&mut into)));
    });
    let mut from = headers();
    from.insert("traceparent", HeaderValue::from_static(PARENT));
    let w3c = Propagators::both({
        let mut formats = outrigger_telemetry::propagation::Formats::default();
        formats.w3c = true;
        formats
    });
    c.bench_function("extract/by hand", |b| b.iter(|| w3c.extract(black_box(&from))));
    c.bench_function("extract/by hand, all formats", |b| b.iter(|| ours.extract(black_box(&from))));
    c.bench_function("extract/sdk", |b| {
        b.iter(|| theirs.extract(&HeaderExtractor(black_box(&from))));
    });
}

fn endpoint() -> Endpoint {
    let address = SocketAddr::from(([127, 0, 0, 1], 4711));
    let name: ServiceName = "inventory".parse().expect("valid");
    let id = "inventory-1".to_owned().try_into().expect("valid");
    Endpoint::new(Arc::new(Instance::new(id, name, address)), address)
}

fn events(c: &mut Criterion) {
    let metrics = Metrics::default();
    let service: ServiceName = "inventory".parse().expect("valid");
    let (route, endpoint) = (RouteName::default(), endpoint());
    let elapsed = Duration::from_millis(3);
    let finished = Event::Finished {
        service: &service,
        route: &route,
        method: "GET",
        status: Some(200),
        outcome: Outcome::Success,
        elapsed,
        tries: 1,
    };
    let tried = Event::Tried {
        service: &service,
        endpoint: &endpoint,
        attempt: 0,
        status: Some(200),
        failure: None,
        outcome: Outcome::Success,
        elapsed,
    };
    c.bench_function("observe/finished", |b| b.iter(|| metrics.observe(black_box(&finished))));
    c.bench_function("observe/tried", |b| b.iter(|| metrics.observe(black_box(&tried))));
}

fn layers(c: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.expect("a runtime");
    let with = |ratio| {
        let builder = Telemetry::builder().service("orders").with_sample_ratio(ratio);
        builder.with_span_sink(Arc::new(Nowhere)).build(runtime.handle()).expect("no exporter")
    };
    #[expect(clippy::disallowed_methods, reason = "any instant serves as an origin")]
    let now = Instant::now();
    let context = Context::new(now);
    let endpoint = endpoint();
    for (name, ratio) in [("unsampled", Ratio::ZERO), ("sampled", Ratio::ONE)] {
        let telemetry = with(ratio);
        let wire = service_fn(|dispatch: Dispatch<Request<Body>>| {
            black_box(&dispatch);
            std::future::ready(Ok::<_, Infallible>(Response::new(Body::new())))
        });
        let mut tries = telemetry.try_layer().layer(wire);
        let to = endpoint.clone();
        let pick = service_fn(move |call: Call<Request<Body>>| {
            let Call { context, request } = call;
            tries.call(Dispatch { context, endpoint: to.clone(), request })
        });
        let mut client = telemetry.client_layer().layer(pick);
        c.bench_function(&format!("client layers/{name}"), |b| {
            b.iter_batched(
                || {
                    let mut request = Request::new(Body::new());
                    *request.headers_mut() = headers();
                    Call::new(context.clone(), request)
                },
                |call| client.call(call).now_or_never().expect("at once").map(drop),
                criterion::BatchSize::SmallInput,
            );
        });
        let handler = service_fn(|request: Request<Body>| {
            black_box(&request);
            std::future::ready(Ok::<_, BoxError>(Response::new(Body::new())))
        });
        let mut server = telemetry.server_layer().layer(handler);
        c.bench_function(&format!("server layer/{name}"), |b| {
            b.iter_batched(
                || {
                    let mut request = Request::new(Body::new());
                    *request.headers_mut() = headers();
                    request.extensions_mut().insert(context.clone());
                    request
                },
                |request| server.call(request).now_or_never().expect("at once").map(drop),
                criterion::BatchSize::SmallInput,
            );
        });
    }
}

criterion_group!(benches, propagation, events, layers);
criterion_main!(benches);
