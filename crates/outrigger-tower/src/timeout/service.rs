use std::task::{Context as Task, Poll};
use std::time::{Duration, Instant};

use http::Response;
use outrigger_core::{BoxError, Carry, Context, Failed, FailureKind};
use tower_service::Service;

use super::{ResponseFuture, TimedBody};
use crate::clock;

/// The times that a layer was given.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Spans {
    pub(super) timeout: Option<Duration>,
    pub(super) idle: Option<Duration>,
}

/// Bounds a whole request by the policy's timeout and the caller's deadline.
///
/// # Cancel safety
/// Dropping the future drops the inner one and the timer. When time runs out the inner future is
/// dropped at once, so that what it holds is given back before the answer is on its way.
#[derive(Clone, Debug)]
pub struct Timeout<S> {
    inner: S,
    spans: Spans,
}

impl<S> Timeout<S> {
    pub(super) const fn new(inner: S, spans: Spans) -> Self {
        Self { inner, spans }
    }

    /// Tells the context when the policy's timeout ends; comes back with what bounds the request.
    pub(crate) fn bound(&self, context: &mut Context) -> Result<Bounds, Failed> {
        if let Some(span) = self.spans.timeout {
            // A deadline beyond the end of time is none.
            let ours = context.started.checked_add(span);
            context.timeout = [context.timeout, ours].into_iter().flatten().min();
        }
        let (ends, deadline) = (context.ends(), context.deadline);
        match ends {
            Some((at, kind)) if at <= context.started => Err(Failed::new(kind)),
            ends => Ok(Bounds { ends, deadline, idle: self.spans.idle }),
        }
    }
}

/// What bounds one request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    /// When it ends, and what that means.
    pub(crate) ends: Option<(Instant, FailureKind)>,
    /// The caller's deadline, which holds for streams too.
    pub(crate) deadline: Option<Instant>,
    /// Of a stream.
    pub(crate) idle: Option<Duration>,
}

impl<S, R, B> Service<R> for Timeout<S>
where
    R: Carry,
    S: Service<R, Response = Response<B>, Error: Into<BoxError>>,
{
    type Response = Response<TimedBody<B>>;
    type Error = BoxError;
    type Future = ResponseFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Task<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, mut request: R) -> Self::Future {
        let context = request.context_or_insert_with(|| Context::new(clock::now()));
        match self.bound(context) {
            Ok(bounds) => ResponseFuture::running(self.inner.call(request), bounds),
            Err(failed) => ResponseFuture::refused(failed),
        }
    }
}
