use std::mem;
use std::sync::Arc;
use std::task::{Context as Task, Poll};

use bytes::Bytes;
use http::Response;
use http_body::Body;
use outrigger_core::{BoxError, Context, Tried};
use tower_service::Service;

use super::{HedgeGuard, HedgeLayer, ResponseFuture};
use crate::retry::Kept;
use crate::{GuardedBody, HttpCall, ReplayBody, clock};

/// Sends hedges.
///
/// # Cancel safety
/// Dropping the future drops every try. When an answer is taken, the tries that still run are
/// dropped at once.
#[derive(Clone, Debug)]
pub struct Hedge<S> {
    inner: S,
    rule: Arc<HedgeLayer>,
}

impl<S> Hedge<S> {
    pub(super) const fn new(inner: S, rule: Arc<HedgeLayer>) -> Self {
        Self { inner, rule }
    }
}

impl<S, R, B, RB> Service<R> for Hedge<S>
where
    R: HttpCall<Body = B>,
    B: Body<Data = Bytes> + Unpin,
    RB: Body,
    S: Service<R::With<ReplayBody<B>>, Response = Response<RB>, Error: Into<BoxError>> + Clone,
{
    type Response = Response<GuardedBody<RB, HedgeGuard>>;
    type Error = BoxError;
    type Future = ResponseFuture<S, R, RB>;

    fn poll_ready(&mut self, cx: &mut Task<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, request: R) -> Self::Future {
        let mut call = request.take_apart(|| Context::new(clock::now()));
        // The one that is ready is used up, the other one takes its place.
        let spare = self.inner.clone();
        let mut ready = mem::replace(&mut self.inner, spare);
        let layer = &*self.rule;
        let (method, path) = (call.request.method(), call.request.uri().path());
        let after = layer.rule.wait(method, path, call.context.attempt, 0);
        let in_flight = layer.counts.then(|| layer.budget.begin_request());
        let (first, kept) = match after {
            Some(_) => {
                call.context.tried.get_or_insert_with(|| Arc::new(Tried::new()));
                let (first, kept) = Kept::new(call, layer.body_limit);
                (first, Some(kept))
            }
            None => (call.map(|request| request.map(ReplayBody::once)), None),
        };
        let first = ready.call(R::put_together(first));
        ResponseFuture::new(ready, first, Arc::clone(&self.rule), kept, after, in_flight)
    }
}
