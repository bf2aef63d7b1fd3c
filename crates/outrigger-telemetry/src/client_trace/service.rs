//! The service.

use std::borrow::Cow;
use std::task::{Context, Poll};

use http::Response;
use http_body::Body;
use outrigger_core::{BoxError, TraceContext};
use tower_service::Service;

use crate::inherited::{Inherited, with_current};
use crate::request::method_label;
use crate::span::{LiveSpan, SpanKind};
use crate::traced::{TracedBody, TracedFuture};
use crate::{HttpRequest, Telemetry};

/// A service whose calls are traced; made by [`ClientTraceLayer`](super::ClientTraceLayer).
#[derive(Clone, Debug)]
pub struct ClientTrace<S> {
    inner: S,
    telemetry: Telemetry,
}

impl<S> ClientTrace<S> {
    pub(crate) const fn new(inner: S, telemetry: Telemetry) -> Self {
        Self { inner, telemetry }
    }

    /// The span that is the parent of this call, and whether the trace's caller decided.
    ///
    /// First what was said of this very request, then what the task serves, then what the
    /// application wrote into the headers by hand.
    fn place<R: HttpRequest>(&self, request: &R) -> (TraceContext, Option<bool>) {
        let said = request.context().map(|c| c.trace).filter(|t| t.is_valid());
        let attached = || request.extensions().get::<Inherited>().map(|i| i.trace);
        let served = || with_current(|i| i.trace);
        let known = |trace: TraceContext| trace.is_valid().then_some(trace);
        if let Some(trace) =
            said.or_else(|| attached().and_then(known)).or_else(|| served().and_then(known))
        {
            return (trace, Some(trace.is_sampled()));
        }
        if request.headers().is_empty() {
            return (TraceContext::NONE, None);
        }
        let found = self.telemetry.propagators().extract(request.headers());
        (found.parent, found.sampled)
    }

    fn begin<R: HttpRequest>(&self, request: &mut R) -> Option<Box<LiveSpan>> {
        let telemetry = &self.telemetry;
        let (parent, decided) = self.place(request);
        let trace = telemetry.place(parent, decided);
        self.pass_on(request);
        let started = {
            let context =
                request.context_or_insert_with(|| outrigger_core::Context::new(telemetry.now()));
            context.trace = trace;
            context.started
        };
        if !trace.is_sampled() || !telemetry.records() {
            return None;
        }
        // At the root of a trace there is no span above; the id that was drawn is for the headers
        // of unsampled requests.
        let above = if parent.is_valid() { trace } else { TraceContext { span_id: 0, ..trace } };
        let service = request.context().and_then(|c| c.service.clone());
        let name = match &service {
            Some(service) => Cow::Owned(format!("call {service}")),
            None => Cow::Borrowed("call"),
        };
        let mut span = LiveSpan::start(telemetry, SpanKind::Internal, name, above, false, started);
        span.set("http.request.method", method_label(request.method()));
        span.set("url.path", request.uri().path().to_owned());
        if let Some(service) = service {
            span.set("peer.service", service.as_str().to_owned());
        }
        let receipt = span.attach_receipt();
        let context = request.context_or_insert_with(|| outrigger_core::Context::new(started));
        span.set("outrigger.route", context.route.as_str().to_owned());
        span.set("outrigger.policy.version", context.policy.to_string());
        if context.attempt > 0 {
            span.set("outrigger.attempt.above", context.attempt);
        }
        context.trace = span.context();
        context.receipt = Some(receipt);
        Some(span)
    }

    fn pass_on<R: HttpRequest>(&self, request: &mut R) {
        let propagators = self.telemetry.propagators();
        if let Some(attached) = request.extensions().get::<Inherited>() {
            let (state, baggage) = (attached.tracestate.clone(), attached.baggage.clone());
            propagators.inject_baggage(request.headers_mut(), state.as_ref(), baggage.as_ref());
            return;
        }
        with_current(|served| {
            let (state, baggage) = (served.tracestate.as_ref(), served.baggage.as_ref());
            propagators.inject_baggage(request.headers_mut(), state, baggage);
        });
    }
}

impl<S, R, B> Service<R> for ClientTrace<S>
where
    S: Service<R, Response = Response<B>, Error: Into<BoxError>>,
    R: HttpRequest,
    B: Body,
{
    type Response = Response<TracedBody<B>>;
    type Error = BoxError;
    type Future = TracedFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(cx).map_err(Into::into)
    }

    #[inline]
    fn call(&mut self, mut request: R) -> Self::Future {
        let span = self.begin(&mut request);
        TracedFuture::new(self.inner.call(request), span)
    }
}
