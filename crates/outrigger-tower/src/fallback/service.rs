use std::fmt;
use std::sync::Arc;
use std::task::{Context as Task, Poll};

use bytes::Bytes;
use http::{Method, Response};
use http_body::Body;
use outrigger_core::{BoxError, Call, CircuitState, Context, Decision, Event, header};
use tower_service::Service;

use super::{FallbackAnswer, FallbackBody, FallbackLayer, ResponseFuture};
use crate::{HttpCall, clock};

/// Answers in another way while a circuit is open.
///
/// Cost: while the circuit is closed one word is read.
///
/// # Cancel safety
/// Dropping the future drops the call to the other service.
pub struct Fallback<S, B> {
    inner: S,
    layer: Arc<FallbackLayer<B>>,
}

impl<S, B> Fallback<S, B> {
    pub(super) const fn new(inner: S, layer: Arc<FallbackLayer<B>>) -> Self {
        Self { inner, layer }
    }
}

impl<S: Clone, B> Clone for Fallback<S, B> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone(), layer: Arc::clone(&self.layer) }
    }
}

impl<S: fmt::Debug, B> fmt::Debug for Fallback<S, B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fallback").field("inner", &self.inner).finish_non_exhaustive()
    }
}

impl<S, R, B, RB> Service<R> for Fallback<S, B>
where
    R: HttpCall<Body = B>,
    B: Send + 'static,
    RB: Body<Data = Bytes, Error: Into<BoxError>>,
    S: Service<R, Response = Response<RB>, Error: Into<BoxError>>,
{
    type Response = Response<FallbackBody<RB>>;
    type Error = BoxError;
    type Future = ResponseFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Task<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, mut request: R) -> Self::Future {
        let layer = &*self.layer;
        let now = request.context_or_insert_with(|| Context::new(clock::now())).started;
        // The circuit within admits; between the two another call may trip it, which is refused.
        let Err(open) = layer.circuit.peek(now) else {
            return ResponseFuture::inner(self.inner.call(request));
        };
        if matches!(layer.answer, FallbackAnswer::Fixed(_))
            && header::is_grpc(request.request().headers())
        {
            return ResponseFuture::inner(self.inner.call(request));
        }
        let Call { context, mut request } = request.take_apart(|| Context::new(now));
        let kind = match layer.answer {
            FallbackAnswer::Fixed(_) => "fixed",
            FallbackAnswer::Service(_) => "service",
        };
        tell(layer, &context, open.state, kind);
        match &layer.answer {
            FallbackAnswer::Fixed(fixed) => {
                let head = *request.method() == Method::HEAD;
                ResponseFuture::fixed(fixed.response(head, std::convert::identity))
            }
            FallbackAnswer::Service(elsewhere) => {
                request.extensions_mut().insert(context);
                ResponseFuture::elsewhere(elsewhere.send(request))
            }
        }
    }
}

fn tell<B>(layer: &FallbackLayer<B>, context: &Context, state: CircuitState, kind: &'static str) {
    if let Some(receipt) = &context.receipt {
        let at = clock::now().saturating_duration_since(context.started);
        receipt.push(at, Decision::Circuit { state, admitted: false });
        receipt.push(at, Decision::Fallback { kind });
    }
    layer.observers.emit(&Event::FallbackServed {
        service: context.service.as_ref().unwrap_or(&layer.service),
        route: &context.route,
        kind,
    });
}
