//! The service.

use std::task::{Context, Poll};
use std::time::Instant;

use http::Response;
use http_body::Body;
use outrigger_core::header::{ATTEMPT, BAGGAGE, TRACESTATE};
use outrigger_core::{BoxError, TraceContext};
use tower_service::Service;

use super::{ServerEnd, ServerFuture, ServerTraceLayer};
use crate::HttpRequest;
use crate::inherited::{Inherited, scoped};
use crate::propagation::{Extracted, baggage};
use crate::request::method_label;
use crate::span::{LiveSpan, SpanKind};
use crate::traced::TracedBody;

/// A service whose requests are traced; made by [`ServerTraceLayer`].
#[derive(Clone, Debug)]
pub struct ServerTrace<S> {
    inner: S,
    layer: ServerTraceLayer,
}

impl<S> ServerTrace<S> {
    pub(super) const fn new(inner: S, layer: ServerTraceLayer) -> Self {
        Self { inner, layer }
    }

    fn begin<R: HttpRequest>(&self, request: &mut R) -> (Inherited, Begun) {
        let telemetry = &self.layer.telemetry;
        let trusted = self.layer.trust.allows(request.extensions());
        let mut found = telemetry.propagators().extract(request.headers());
        let mut outside = None;
        if !trusted {
            // What nobody vouches for goes no further, whoever copies headers below.
            request.headers_mut().remove(BAGGAGE);
            found.baggage = None;
            if !self.layer.continues {
                outside = Some(found.parent).filter(|p| p.is_valid());
                found = Extracted::default();
                request.headers_mut().remove(TRACESTATE);
            }
        }
        let mut trace = telemetry.place_served(found.parent, found.sampled);
        let attempt = self.attempt(request, found.baggage.as_ref());
        let context =
            request.context_or_insert_with(|| outrigger_core::Context::new(telemetry.now()));
        if !trusted {
            context.caller = None;
        }
        context.attempt = context.attempt.max(attempt);
        let mut inherited = Inherited {
            trace,
            deadline: context.deadline,
            attempt: context.attempt,
            caller: context.caller.clone(),
            baggage: found.baggage,
            tracestate: found.tracestate,
            log: None,
        };
        let started = context.started;
        let mut span = None;
        if trace.is_sampled() && telemetry.records() {
            let mut live = self.record(request, trace, found.parent, started);
            if let Some(link) = found.link {
                live.link(link, "b3 header");
            }
            if let Some(outside) = outside {
                live.link(outside, "untrusted caller");
            }
            trace = live.context();
            inherited.trace = trace;
            inherited.log = Some(live.attach_log());
            span = Some(live);
        }
        request.context_or_insert_with(|| outrigger_core::Context::new(started)).trace = trace;
        request.extensions_mut().insert(inherited.clone());
        let end = ServerEnd::begin(telemetry, method_label(request.method()), started);
        (inherited, Begun { span, end })
    }

    /// Retries made above: by the header, or by its mirror in the baggage, whichever says more.
    fn attempt<R: HttpRequest>(&self, request: &R, found: Option<&http::HeaderValue>) -> u8 {
        let header = request.headers().get(ATTEMPT);
        let header = header.and_then(|v| baggage::parse_attempt(v.as_bytes().trim_ascii()));
        let mirror = found.and_then(baggage::attempt);
        header.unwrap_or(0).max(mirror.unwrap_or(0))
    }

    fn record<R: HttpRequest>(
        &self,
        request: &R,
        trace: TraceContext,
        parent: TraceContext,
        started: Instant,
    ) -> Box<LiveSpan> {
        let telemetry = &self.layer.telemetry;
        let method = method_label(request.method());
        let above = if parent.is_valid() { trace } else { TraceContext { span_id: 0, ..trace } };
        let mut span =
            LiveSpan::start(telemetry, SpanKind::Server, method, above, parent.is_valid(), started);
        span.set("http.request.method", method);
        span.set("url.path", request.uri().path().to_owned());
        span.set("url.scheme", request.uri().scheme_str().unwrap_or("http").to_owned());
        if let Some(context) = request.context() {
            span.set("outrigger.policy.version", context.policy.to_string());
            if let Some(caller) = &context.caller {
                span.set("outrigger.caller", caller.as_str().to_owned());
            }
            if context.attempt > 0 {
                span.set("outrigger.attempt.above", context.attempt);
            }
        }
        span
    }
}

pub(super) struct Begun {
    pub(super) span: Option<Box<LiveSpan>>,
    pub(super) end: ServerEnd,
}

impl<S, R, B> Service<R> for ServerTrace<S>
where
    S: Service<R, Response = Response<B>, Error: Into<BoxError>>,
    R: HttpRequest,
    B: Body,
{
    type Response = Response<TracedBody<B>>;
    type Error = BoxError;
    type Future = ServerFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, mut request: R) -> Self::Future {
        let (inherited, begun) = self.begin(&mut request);
        // The handler may already call others while its future is made.
        let inner = scoped_call(&mut self.inner, request, inherited);
        ServerFuture::new(inner, begun)
    }
}

fn scoped_call<S: Service<R>, R>(
    inner: &mut S,
    request: R,
    inherited: Inherited,
) -> crate::inherited::Scoped<S::Future> {
    let future = crate::inherited::within(inherited.clone(), || inner.call(request));
    scoped(inherited, future)
}
