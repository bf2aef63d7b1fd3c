//! What the tests share.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use futures_util::FutureExt;
use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use opentelemetry_proto::tonic::common::v1::{KeyValue, any_value};
use outrigger_core::{
    Clock, Context, Dispatch, Endpoint, Instance, InstanceId, Ratio, ServiceName,
};
use outrigger_telemetry::{
    FinishedSpan, SpanSink, Telemetry, TelemetryBuilder, TelemetryConfig, Value,
};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tower::{Layer, ServiceExt};

/// What a test waits at most for.
pub(crate) const LIMIT: Duration = Duration::from_secs(10);

/// Keeps what it gets.
#[derive(Debug, Default)]
pub(crate) struct Kept(Mutex<Vec<FinishedSpan>>);

impl SpanSink for Kept {
    fn finished(&self, span: &FinishedSpan) {
        self.0.lock().expect("no test panics in here").push(span.clone());
    }
}

impl Kept {
    pub(crate) fn all(&self) -> Vec<FinishedSpan> {
        self.0.lock().expect("no test panics in here").clone()
    }

    pub(crate) fn only(&self) -> FinishedSpan {
        let all = self.all();
        assert_eq!(all.len(), 1, "{all:#?}");
        all.into_iter().next().expect("just counted")
    }
}

/// Stands still until it is told.
#[derive(Debug)]
pub(crate) struct Hands(Mutex<(Instant, SystemTime)>);

impl Hands {
    pub(crate) fn new() -> Arc<Self> {
        #[expect(clippy::disallowed_methods, reason = "any instant serves as an origin")]
        let origin = Instant::now();
        Arc::new(Self(Mutex::new((origin, SystemTime::UNIX_EPOCH + Duration::from_secs(1_000)))))
    }

    pub(crate) fn advance(&self, by: Duration) {
        let mut both = self.0.lock().expect("no test panics in here");
        both.0 += by;
        both.1 += by;
    }
}

impl Clock for Hands {
    fn now(&self) -> Instant {
        self.0.lock().expect("no test panics in here").0
    }

    fn wall(&self) -> SystemTime {
        self.0.lock().expect("no test panics in here").1
    }
}

pub(crate) fn builder(ratio: Ratio) -> TelemetryBuilder {
    Telemetry::builder().service("orders").version("1.2.3").with_sample_ratio(ratio)
}

/// A handle that keeps every span, and where it keeps them.
pub(crate) fn recording() -> (Telemetry, Arc<Kept>, Arc<Hands>) {
    let (kept, hands) = (Arc::<Kept>::default(), Hands::new());
    let telemetry = builder(Ratio::ONE)
        .with_span_sink(Arc::clone(&kept) as _)
        .with_clock(Arc::clone(&hands) as _)
        .build(&tokio::runtime::Handle::current())
        .expect("nothing to export");
    (telemetry, kept, hands)
}

pub(crate) fn service(name: &str) -> ServiceName {
    name.parse().expect("valid")
}

pub(crate) fn endpoint(name: &str, port: u16) -> Endpoint {
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    let id = InstanceId::new(&format!("{name}-{port}")).expect("valid");
    Endpoint::new(Arc::new(Instance::new(id, service(name), address)), address)
}

pub(crate) fn dispatch<B>(
    context: Context,
    request: http::Request<B>,
) -> Dispatch<http::Request<B>> {
    Dispatch { context, endpoint: endpoint("inventory", 4711), request }
}

pub(crate) fn text(span: &FinishedSpan, key: &str) -> String {
    span.attribute(key).map(Value::to_string).unwrap_or_else(|| format!("no {key}: {span:#?}"))
}

/// A message as the collector got it.
pub(crate) struct Got {
    pub(crate) path: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

/// A collector that takes everything, or answers what it is told to.
pub(crate) async fn collector(
    status: StatusCode,
) -> (SocketAddr, mpsc::UnboundedReceiver<Got>, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("bound");
    let (tell, got) = mpsc::unbounded_channel();
    let connections = Arc::<AtomicUsize>::default();
    let count = Arc::clone(&connections);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            count.fetch_add(1, Ordering::Relaxed);
            let tell = tell.clone();
            let answer = service_fn(move |request: Request<Incoming>| {
                let tell = tell.clone();
                async move {
                    let (head, body) = request.into_parts();
                    let body = body.collect().await.expect("whole").to_bytes();
                    let path = head.uri.path().to_owned();
                    let _ = tell.send(Got { path, headers: head.headers, body });
                    let mut answer = Response::new(Full::new(Bytes::new()));
                    *answer.status_mut() = status;
                    Ok::<_, Infallible>(answer)
                }
            });
            let serve = hyper::server::conn::http1::Builder::new();
            tokio::spawn(async move { serve.serve_connection(TokioIo::new(stream), answer).await });
        }
    });
    (address, got, connections)
}

pub(crate) fn exporting(address: SocketAddr, extra: &[(&str, &str)]) -> Telemetry {
    let mut env: Vec<(String, String)> =
        extra.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
    env.push(("OTEL_EXPORTER_OTLP_ENDPOINT".to_owned(), format!("http://{address}")));
    let lookup = |key: &str| env.iter().find(|(k, _)| k == key).map(|(_, v)| v.clone());
    let config = TelemetryConfig::from_lookup(lookup).expect("valid");
    builder(Ratio::ONE)
        .with_config(config)
        .build(&tokio::runtime::Handle::current())
        .expect("an exporter")
}

/// One request through the server layer that never waits: its future is polled once.
pub(crate) fn serve(telemetry: &Telemetry) {
    let handler = tower::service_fn(|_: Request<Full<Bytes>>| async {
        Ok::<_, Infallible>(Response::new(Full::new(Bytes::new())))
    });
    let request = Request::get("/stock/42").body(Full::new(Bytes::new())).expect("a request");
    let answer = telemetry.server_layer().layer(handler).oneshot(request).now_or_never();
    drop(answer.expect("telemetry must not make a request wait"));
}

/// The value of an attribute on the wire.
pub(crate) fn wire_text(attributes: &[KeyValue], key: &str) -> Option<String> {
    let value = attributes.iter().find(|a| a.key == key)?.value.clone()?.value?;
    Some(match value {
        any_value::Value::StringValue(text) => text,
        any_value::Value::IntValue(number) => number.to_string(),
        other => format!("{other:?}"),
    })
}
