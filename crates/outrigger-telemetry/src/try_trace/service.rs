//! The service.

use std::task::{Context, Poll};

use http::{HeaderMap, Request, Response};
use http_body::Body;
use outrigger_core::header::BAGGAGE;
use outrigger_core::{BoxError, Dispatch};
use tower_service::Service;

use crate::Telemetry;
use crate::propagation::baggage;
use crate::request::method_label;
use crate::span::{LiveSpan, SpanKind};
use crate::traced::{TracedBody, TracedFuture};

/// A service whose tries are traced; made by [`TryTraceLayer`](super::TryTraceLayer).
#[derive(Clone, Debug)]
pub struct TryTrace<S> {
    inner: S,
    telemetry: Telemetry,
}

impl<S> TryTrace<S> {
    pub(crate) const fn new(inner: S, telemetry: Telemetry) -> Self {
        Self { inner, telemetry }
    }

    fn begin<B>(&self, dispatch: &mut Dispatch<Request<B>>) -> Option<Box<LiveSpan>> {
        let telemetry = &self.telemetry;
        if !dispatch.context.trace.is_valid() {
            // Nobody above has made a trace: this layer is used alone.
            dispatch.context.trace = telemetry.root();
        }
        let trace = dispatch.context.trace;
        let span = (trace.is_sampled() && telemetry.records()).then(|| self.record(dispatch));
        let named = span.as_ref().map_or(trace, |span| span.context());
        let propagators = telemetry.propagators();
        let headers = dispatch.request.headers_mut();
        propagators.inject(headers, named);
        if dispatch.context.attempt > 0 && propagators.write.baggage {
            mirror(headers, dispatch.context.attempt);
        }
        span
    }

    fn record<B>(&self, dispatch: &Dispatch<Request<B>>) -> Box<LiveSpan> {
        let (context, endpoint) = (&dispatch.context, &dispatch.endpoint);
        let (request, instance) = (&dispatch.request, endpoint.instance());
        let method = method_label(request.method());
        let mut span = LiveSpan::start(
            &self.telemetry,
            SpanKind::Client,
            method,
            context.trace,
            false,
            self.telemetry.now(),
        );
        span.set("http.request.method", method);
        span.set("server.address", instance.service.as_str().to_owned());
        span.set("server.port", endpoint.address().port());
        span.set("network.peer.address", endpoint.address().ip().to_string());
        span.set("network.peer.port", endpoint.address().port());
        span.set("peer.service", instance.service.as_str().to_owned());
        span.set("url.full", url(instance, request.uri()));
        span.set("outrigger.endpoint", endpoint.address().to_string());
        span.set("outrigger.instance", instance.id.as_str().to_owned());
        if let Some(language) = &instance.language {
            span.set("outrigger.language", language.as_str().to_owned());
        }
        if let Some(zone) = &instance.zone {
            span.set("outrigger.zone", zone.to_string());
        }
        if context.attempt > 0 {
            span.set("http.request.resend_count", context.attempt);
        }
        span
    }
}

/// Mirrors the number of retries into the baggage, unless somebody above has.
fn mirror(headers: &mut HeaderMap, attempt: u8) {
    let present = headers.get(BAGGAGE);
    if present.and_then(baggage::attempt) != Some(attempt) {
        let mirrored = baggage::with_attempt(present, attempt);
        headers.insert(BAGGAGE, mirrored);
    }
}

/// The target without what may be secret: neither user information nor the query's values.
fn url(instance: &outrigger_core::Instance, uri: &http::Uri) -> String {
    let scheme = if instance.protocol.is_tls() { "https" } else { "http" };
    let query = if uri.query().is_some() { "?REDACTED" } else { "" };
    format!("{scheme}://{}{}{query}", instance.service, uri.path())
}

impl<S, B, D> Service<Dispatch<Request<B>>> for TryTrace<S>
where
    S: Service<Dispatch<Request<B>>, Response = Response<D>, Error: Into<BoxError>>,
    D: Body,
{
    type Response = Response<TracedBody<D>>;
    type Error = BoxError;
    type Future = TracedFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(cx).map_err(Into::into)
    }

    #[inline]
    fn call(&mut self, mut dispatch: Dispatch<Request<B>>) -> Self::Future {
        let span = self.begin(&mut dispatch);
        TracedFuture::new(self.inner.call(dispatch), span)
    }
}
