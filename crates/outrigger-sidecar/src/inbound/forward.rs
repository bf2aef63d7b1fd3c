//! Forwards to the application.

use std::cell::RefCell;
use std::future::Future;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context as Task, Poll, ready};

use http::header::HeaderName;
use http::{HeaderValue, Request, Response};
use outrigger::RequestBody;
use outrigger::core::{BoxError, Context, Dispatch, Reason, Refusal, header};
use outrigger::http::{
    Arrival, Asked, Pool, PoolBody, ResponseFuture, TunnelConfig, Upgrades, Wanted,
};
use outrigger::telemetry::Telemetry;
use outrigger::tower::{ClientAddress, GuardedBody, Stamp, StampLayer};
use pin_project_lite::pin_project;
use tower_layer::Layer;
use tower_service::Service;

use super::Application;
use crate::correlate::{Correlation, InFlight};
use crate::trust::Believed;
use crate::workers;

pub(crate) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// What forwarding needs to know.
#[derive(Debug)]
pub(crate) struct Inside {
    pub(crate) application: Application,
    pub(crate) telemetry: Telemetry,
    pub(crate) correlation: Arc<Correlation>,
    pub(crate) believed: Believed,
    pub(crate) upgrades: Upgrades,
    /// Whether callers come in over TLS.
    pub(crate) is_tls: bool,
}

/// Forwards each request to the application; clones are the same.
#[derive(Clone, Debug)]
pub(crate) struct Forward(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    inside: Inside,
    /// One for each worker, so that no two of them share a lock.
    pools: Box<[Stamp<Pool<RequestBody>>]>,
}

impl Forward {
    pub(crate) fn new(inside: Inside, workers: usize) -> Self {
        let stamp = StampLayer::new().passing_on();
        let pools = (0..workers.max(1)).map(|_| stamp.layer(inside.application.pool()));
        let pools = pools.collect();
        Self(Arc::new(Inner { inside, pools }))
    }
}

impl Service<Request<RequestBody>> for Forward {
    type Response = Response<ForwardBody>;
    type Error = BoxError;
    type Future = ForwardFuture;

    fn poll_ready(&mut self, _cx: &mut Task<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, mut request: Request<RequestBody>) -> ForwardFuture {
        let Inner { inside, pools } = &*self.0;
        let wanted = match inside.upgrades.judge(&mut request) {
            Asked::Wanted(wanted) => Some(wanted),
            Asked::Refused => return ForwardFuture::refused(Reason::Forbidden),
            _ => None,
        };
        let context = request.extensions_mut().remove::<Context>();
        let context = context.unwrap_or_else(|| Context::new(outrigger::tower::clock::now()));
        if let Some(&ClientAddress(peer)) = request.extensions().get() {
            let is_believed = inside.believed.believes(peer);
            if !is_believed {
                inside.believed.note_claim(request.headers());
            }
            arrival(peer, inside.is_tls, |arrival| arrival.stamp(&mut request, is_believed));
        }
        let headers = request.headers_mut();
        inside.telemetry.propagators().inject(headers, context.trace);
        let flight = match headers.get(REQUEST_ID) {
            Some(id) => inside.correlation.enter(&context, id.to_str().ok()),
            None => {
                // What an application forwards that knows nothing of traces.
                if context.trace.is_valid() {
                    headers.insert(REQUEST_ID, trace_id(context.trace.trace_id));
                }
                inside.correlation.enter(&context, None)
            }
        };
        let endpoint = inside.application.endpoint(header::is_grpc(request.headers()));
        let at = workers::index() % pools.len();
        let mut pool = pools[at].clone();
        let inner = pool.call(Dispatch { context, endpoint, request });
        ForwardFuture::Forwarded { inner, flight, wanted }
    }
}

thread_local! {
    /// The caller of the last request on this worker, which is often that of the next.
    static LAST: RefCell<Option<(IpAddr, Arrival)>> = const { RefCell::new(None) };
}

/// Does something with what is known of a caller.
fn arrival(peer: IpAddr, is_tls: bool, stamp: impl FnOnce(&Arrival)) {
    LAST.with_borrow_mut(|last| {
        if last.as_ref().is_none_or(|(of, _)| *of != peer) {
            *last = Some((peer, Arrival::new(peer, is_tls)));
        }
        if let Some((_, arrival)) = last {
            stamp(arrival);
        }
    });
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

/// The body of the application's answer, which is in flight to its end.
pub(crate) type ForwardBody = GuardedBody<PoolBody, Option<InFlight>>;

pin_project! {
    /// The application's answer, or our refusal to ask for it.
    #[project = FutureProj]
    pub(crate) enum ForwardFuture {
        Forwarded {
            #[pin]
            inner: ResponseFuture<RequestBody>,
            flight: Option<InFlight>,
            wanted: Option<Wanted>,
        },
        Refused { error: Option<BoxError> },
    }
}

impl ForwardFuture {
    fn refused(reason: Reason) -> Self {
        Self::Refused { error: Some(Refusal::new(reason).into()) }
    }
}

impl Future for ForwardFuture {
    type Output = Result<Response<ForwardBody>, BoxError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Task<'_>) -> Poll<Self::Output> {
        match self.project() {
            FutureProj::Forwarded { inner, flight, wanted } => {
                let mut response = ready!(inner.poll(cx))?;
                let flight = flight.take();
                if let Some(wanted) = wanted.take()
                    && let Some(tunnel) = wanted.join(&mut response, TunnelConfig::default())
                {
                    // The request ends with its tunnel, and not with its empty answer.
                    tokio::spawn(async move {
                        tunnel.run().await;
                        drop(flight);
                    });
                    return Poll::Ready(Ok(response.map(|body| GuardedBody::new(body, None))));
                }
                Poll::Ready(Ok(response.map(|body| GuardedBody::new(body, flight))))
            }
            FutureProj::Refused { error } => match error.take() {
                Some(error) => Poll::Ready(Err(error)),
                None => Poll::Pending,
            },
        }
    }
}
