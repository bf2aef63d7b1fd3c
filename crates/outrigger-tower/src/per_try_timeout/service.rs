use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use outrigger_core::BoxError;
use tower_service::Service;

use super::ResponseFuture;
use crate::clock;

/// Bounds the time of each try.
///
/// # Cancel safety
/// Dropping the future drops the inner one and the timer.
#[derive(Clone, Debug)]
pub struct PerTryTimeout<S> {
    inner: S,
    span: Option<Duration>,
}

impl<S> PerTryTimeout<S> {
    pub(super) const fn new(inner: S, span: Option<Duration>) -> Self {
        Self { inner, span }
    }

    /// When a try that begins now is over.
    pub(crate) fn until(&self) -> Option<Instant> {
        self.span.and_then(|span| clock::now().checked_add(span))
    }
}

impl<S, R> Service<R> for PerTryTimeout<S>
where
    S: Service<R, Error: Into<BoxError>>,
{
    type Response = S::Response;
    type Error = BoxError;
    type Future = ResponseFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, request: R) -> Self::Future {
        let until = self.until();
        ResponseFuture::new(self.inner.call(request), until)
    }
}
