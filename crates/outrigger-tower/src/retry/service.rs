use std::mem;
use std::sync::Arc;
use std::task::{Context as Task, Poll};

use bytes::Bytes;
use http::Response;
use http_body::Body;
use outrigger_core::{BoxError, Context};
use tower_service::Service;

use super::{Kept, ReplayBody, ResponseFuture, RetryGuard, RetryLayer};
use crate::{GuardedBody, HttpCall, clock};

/// Sends requests again.
///
/// # Cancel safety
/// Dropping the future drops the try or the wait, and gives back what either holds of the budget.
#[derive(Clone, Debug)]
pub struct Retry<S> {
    inner: S,
    rule: Arc<RetryLayer>,
}

impl<S> Retry<S> {
    pub(super) const fn new(inner: S, rule: Arc<RetryLayer>) -> Self {
        Self { inner, rule }
    }
}

impl<S, R, B, RB> Service<R> for Retry<S>
where
    R: HttpCall<Body = B>,
    B: Body<Data = Bytes> + Unpin,
    RB: Body,
    S: Service<R::With<ReplayBody<B>>, Response = Response<RB>, Error: Into<BoxError>> + Clone,
{
    type Response = Response<GuardedBody<RB, RetryGuard>>;
    type Error = BoxError;
    type Future = ResponseFuture<S, R, RB>;

    fn poll_ready(&mut self, cx: &mut Task<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, request: R) -> Self::Future {
        let call = request.take_apart(|| Context::new(clock::now()));
        // The one that is ready is used up, the other one takes its place.
        let spare = self.inner.clone();
        let mut ready = mem::replace(&mut self.inner, spare);
        let rule = &self.rule.rule;
        let (first, kept) = if rule.is_off() {
            (call.map(|request| request.map(ReplayBody::once)), None)
        } else {
            let (first, kept) = Kept::new(call, rule.body_limit());
            (first, Some(kept))
        };
        let in_flight = kept.is_some().then(|| self.rule.budget.begin_request());
        let first = ready.call(R::put_together(first));
        ResponseFuture::new(ready, first, Arc::clone(&self.rule), kept, in_flight)
    }
}
