//! Forwards to the application.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context as Task, Poll, ready};

use http::header::HeaderName;
use http::{HeaderMap, HeaderValue, Request, Response};
use outrigger::RequestBody;
use outrigger::core::{Context, Dispatch, Endpoint, Failed, Instance, Protocol, ServiceName};
use outrigger::http::{Pool, PoolBody, PoolConfig, ResponseFuture};
use outrigger::telemetry::Telemetry;
use outrigger::tower::{GuardedBody, Stamp, StampLayer};
use pin_project_lite::pin_project;
use tower_layer::Layer;
use tower_service::Service;

use crate::correlate::{Correlation, InFlight};
use crate::{Config, workers};

pub(crate) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Forwards each request to the application; clones are the same.
#[derive(Clone, Debug)]
pub(crate) struct Forward(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    /// One for each worker, so that no two of them share a lock.
    pools: Box<[Stamp<Pool<RequestBody>>]>,
    /// The application, as HTTP/1.1 and as HTTP/2 in the clear.
    plain: Endpoint,
    http2: Endpoint,
    is_http2: bool,
    telemetry: Telemetry,
    correlation: Arc<Correlation>,
}

impl Forward {
    /// The way to an application over TCP.
    pub(crate) fn new(
        config: &Config,
        service: &ServiceName,
        application: std::net::SocketAddr,
        telemetry: &Telemetry,
        correlation: &Arc<Correlation>,
        workers: usize,
    ) -> Self {
        let endpoint = |protocol: Protocol| {
            let id = format!("application-{protocol}", protocol = protocol.as_str());
            // Both are constants that are ids.
            let id = id.parse().expect("an id of letters and a dash");
            let mut instance = Instance::new(id, service.clone(), application);
            instance.protocol = protocol;
            Endpoint::new(Arc::new(instance), application)
        };
        let mut pool = PoolConfig::default();
        // The rules say how much may be in flight; the way to the application is no bound.
        pool.max_connections = 65_536;
        pool.max_pending = 65_536;
        let stamp = StampLayer::new().passing_on();
        let pools = (0..workers.max(1)).map(|_| stamp.layer(Pool::new(pool.clone())));
        Self(Arc::new(Inner {
            pools: pools.collect(),
            plain: endpoint(Protocol::Http),
            http2: endpoint(Protocol::H2c),
            is_http2: config.protocol.is_http2_only(),
            telemetry: telemetry.clone(),
            correlation: Arc::clone(correlation),
        }))
    }
}

impl Service<Request<RequestBody>> for Forward {
    type Response = Response<GuardedBody<PoolBody, Option<InFlight>>>;
    type Error = Failed;
    type Future = ForwardFuture;

    fn poll_ready(&mut self, _cx: &mut Task<'_>) -> Poll<Result<(), Failed>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, mut request: Request<RequestBody>) -> ForwardFuture {
        let this = &*self.0;
        let context = request.extensions_mut().remove::<Context>();
        let context = context.unwrap_or_else(|| Context::new(outrigger::tower::clock::now()));
        let headers = request.headers_mut();
        this.telemetry.propagators().inject(headers, context.trace);
        let flight = match headers.get(REQUEST_ID) {
            Some(id) => this.correlation.enter(&context, id.to_str().ok()),
            None => {
                // What an application forwards that knows nothing of traces.
                if context.trace.is_valid() {
                    headers.insert(REQUEST_ID, trace_id(context.trace.trace_id));
                }
                this.correlation.enter(&context, None)
            }
        };
        let http2 = this.is_http2 || is_grpc(request.headers());
        let endpoint = if http2 { this.http2.clone() } else { this.plain.clone() };
        let at = workers::index() % this.pools.len();
        let mut pool = this.pools[at].clone();
        let inner = pool.call(Dispatch { context, endpoint, request });
        ForwardFuture { inner, flight }
    }
}

fn is_grpc(headers: &HeaderMap) -> bool {
    let kind = headers.get(http::header::CONTENT_TYPE);
    kind.is_some_and(|kind| kind.as_bytes().starts_with(b"application/grpc"))
}

/// A trace id as it stands in headers: 32 digits of hex.
fn trace_id(id: u128) -> HeaderValue {
    let mut text = [0_u8; 32];
    for (at, digit) in text.iter_mut().enumerate() {
        let nibble = (id >> (124 - 4 * at)) as usize & 15;
        *digit = b"0123456789abcdef"[nibble];
    }
    HeaderValue::from_bytes(&text).unwrap_or_else(|_| HeaderValue::from_static("0"))
}

pin_project! {
    /// The application's answer.
    pub(crate) struct ForwardFuture {
        #[pin]
        inner: ResponseFuture<RequestBody>,
        flight: Option<InFlight>,
    }
}

impl Future for ForwardFuture {
    type Output = Result<Response<GuardedBody<PoolBody, Option<InFlight>>>, Failed>;

    fn poll(self: Pin<&mut Self>, cx: &mut Task<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let response = ready!(this.inner.poll(cx))?;
        let flight = this.flight.take();
        Poll::Ready(Ok(response.map(|body| GuardedBody::new(body, flight))))
    }
}
