//! From a request to its answer.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header};
use http_body::{Body as HttpBody, Frame, SizeHint};
use serde_json::json;
use tokio::sync::{OwnedSemaphorePermit, mpsc, watch};

use crate::accept::metrics_format;
use crate::events::{Position, stream};
use crate::guard::{Refused, is_from_here, reads_only};
use crate::surface::Shared;
use crate::{MetricsFormat, assets};

/// How much of the surface is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Extent {
    Whole,
    /// Health, readiness and metrics.
    Probe,
}

/// What the page may load: its own files, and nothing that stands in the document itself.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; \
                      connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; \
                      frame-ancestors 'none'; require-trusted-types-for 'script'";
const JSON: &str = "application/json";

/// The answer to a request that came in at `local`.
pub(crate) fn answer<B>(
    shared: &Arc<Shared>,
    extent: Extent,
    local: SocketAddr,
    ending: &watch::Receiver<bool>,
    request: Request<B>,
) -> Response<Body> {
    let (head, _) = request.into_parts();
    let is_let_in = reads_only(&head.method).and_then(|()| match extent {
        Extent::Whole => is_from_here(&head, local),
        // Asked from outside by design, under whatever name.
        Extent::Probe => Ok(()),
    });
    let mut response = match is_let_in {
        Ok(()) => routed(shared, extent, ending, &head),
        Err(refused) => refusal(refused),
    };
    if response.status() == StatusCode::METHOD_NOT_ALLOWED {
        let allowed = HeaderValue::from_static("GET, HEAD");
        response.headers_mut().insert(header::ALLOW, allowed);
    }
    for (name, value) in [
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::CACHE_CONTROL, "no-store"),
        (header::HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    ] {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}

fn routed(
    shared: &Arc<Shared>,
    extent: Extent,
    ending: &watch::Receiver<bool>,
    head: &http::request::Parts,
) -> Response<Body> {
    let path = head.uri.path();
    match (extent, path) {
        (_, "/healthz") => json_of(StatusCode::OK, &json!({ "status": "ok" })),
        (_, "/readyz") => readiness(shared),
        (_, "/metrics") => metrics(shared, &head.headers),
        (Extent::Whole, "/") => file("text/html; charset=utf-8", assets::PAGE),
        (Extent::Whole, "/page.js") => file("text/javascript; charset=utf-8", assets::SCRIPT),
        (Extent::Whole, "/page.css") => file("text/css; charset=utf-8", assets::STYLE),
        (Extent::Whole, "/api/v1/openapi.json") => file(JSON, assets::OPENAPI),
        (Extent::Whole, "/api/v1/state") => state(shared),
        (Extent::Whole, "/api/v1/events") => events(shared, ending, head),
        _ => refusal(Refused {
            status: StatusCode::NOT_FOUND,
            code: "path",
            message: match extent {
                Extent::Whole => {
                    "there are /, /healthz, /readyz, /metrics, /api/v1/state, /api/v1/events and \
                     /api/v1/openapi.json"
                }
                Extent::Probe => "there are /healthz, /readyz and /metrics",
            },
        }),
    }
}

fn readiness(shared: &Shared) -> Response<Body> {
    let readiness = shared.source.readiness();
    if readiness.is_ready() {
        return json_of(StatusCode::OK, &json!({ "status": "ready", "reasons": [] }));
    }
    let reasons = readiness.reasons();
    let document = json!({ "status": "not_ready", "reasons": reasons });
    json_of(StatusCode::SERVICE_UNAVAILABLE, &document)
}

fn metrics(shared: &Shared, headers: &HeaderMap) -> Response<Body> {
    let accept = headers.get(header::ACCEPT).and_then(|accept| accept.to_str().ok());
    let format: MetricsFormat = metrics_format(accept);
    let page = shared.source.metrics(format);
    let mut response = file(format.content_type(), page.into());
    response.headers_mut().insert(header::VARY, HeaderValue::from_static("accept"));
    response
}

fn state(shared: &Shared) -> Response<Body> {
    match shared.source.state() {
        Some(document) => file(JSON, document.into()),
        None => refusal(Refused {
            status: StatusCode::SERVICE_UNAVAILABLE,
            code: "ended",
            message: "what this surface told of has ended",
        }),
    }
}

fn events(
    shared: &Arc<Shared>,
    ending: &watch::Receiver<bool>,
    head: &http::request::Parts,
) -> Response<Body> {
    const STREAM: HeaderValue = HeaderValue::from_static("text/event-stream");
    if head.method == Method::HEAD {
        return file("text/event-stream", Bytes::new());
    }
    let Ok(place) = Arc::clone(&shared.streams).try_acquire_owned() else {
        let mut response = refusal(Refused {
            status: StatusCode::SERVICE_UNAVAILABLE,
            code: "streams",
            message: "as many as may read events are reading them already",
        });
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("5"));
        return response;
    };
    let last = head.headers.get("last-event-id").and_then(|id| id.to_str().ok());
    let position = Position::after(&shared.events, last);
    // One piece under way, one in the connection: more is not kept for anybody.
    let (to, pieces) = mpsc::channel(1);
    shared.runtime.spawn(stream(Arc::clone(&shared.events), position, to, ending.clone()));
    let mut response = Response::new(Body(Kind::Stream { pieces, _place: place }));
    response.headers_mut().insert(header::CONTENT_TYPE, STREAM);
    response
}

fn refusal(Refused { status, code, message }: Refused) -> Response<Body> {
    json_of(status, &json!({ "error": { "code": code, "message": message } }))
}

fn json_of(status: StatusCode, document: &serde_json::Value) -> Response<Body> {
    let mut response = file(JSON, format!("{document}\n").into());
    *response.status_mut() = status;
    response
}

fn file(content_type: &'static str, content: Bytes) -> Response<Body> {
    let mut response = Response::new(Body(Kind::Whole(content)));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

/// The body of an answer.
#[derive(Debug)]
pub(crate) struct Body(Kind);

#[derive(Debug)]
enum Kind {
    Whole(Bytes),
    Stream {
        pieces: mpsc::Receiver<Bytes>,
        /// Given back when the answer's last byte is sent, or nobody wants it any more.
        _place: OwnedSemaphorePermit,
    },
}

impl HttpBody for Body {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match &mut self.0 {
            Kind::Whole(content) if content.is_empty() => Poll::Ready(None),
            Kind::Whole(content) => Poll::Ready(Some(Ok(Frame::data(std::mem::take(content))))),
            Kind::Stream { pieces, .. } => {
                pieces.poll_recv(cx).map(|piece| piece.map(|piece| Ok(Frame::data(piece))))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(&self.0, Kind::Whole(content) if content.is_empty())
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Kind::Whole(content) => SizeHint::with_exact(content.len() as u64),
            Kind::Stream { .. } => SizeHint::default(),
        }
    }
}
