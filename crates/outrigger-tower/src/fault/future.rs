use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context as Task, Poll, ready};
use std::time::Duration;

use http::Response;
use outrigger_core::{BoxError, Carry, Context, Failed, FailureKind, Rejected};
use pin_project_lite::pin_project;
use tokio::time::{Sleep, sleep_until};
use tower_service::Service;

use crate::clock;

pin_project! {
    /// The answer, late perhaps, or ours.
    pub struct ResponseFuture<S, R>
    where
        S: Service<R>,
    {
        #[pin]
        state: State<S, R>,
    }
}

pin_project! {
    #[project = StateProj]
    enum State<S, R>
    where
        S: Service<R>,
    {
        Running { #[pin] inner: S::Future },
        // Boxed: what is not delayed is not to be larger for it.
        Waiting { waiting: Option<Box<Waiting<S, R>>> },
        Over { error: Option<BoxError> },
    }
}

/// Thirty years.
const FAR: Duration = Duration::from_secs(30 * 365 * 24 * 3_600);

struct Waiting<S, R> {
    sleep: Pin<Box<Sleep>>,
    service: S,
    request: R,
    rejected: Option<Rejected>,
}

impl<S, R> ResponseFuture<S, R>
where
    S: Service<R>,
    R: Carry,
{
    pub(super) const fn running(inner: S::Future) -> Self {
        Self { state: State::Running { inner } }
    }

    pub(super) const fn over(error: BoxError) -> Self {
        Self { state: State::Over { error: Some(error) } }
    }

    pub(super) fn waiting(
        service: S,
        mut request: R,
        delay: Duration,
        rejected: Option<Rejected>,
    ) -> Self {
        let now = clock::now();
        let context = request.context_or_insert_with(|| Context::new(now));
        // A delay beyond the end of time is as long as any clock goes, and not none.
        let until = now.checked_add(delay).unwrap_or_else(|| now + FAR);
        // Nobody waits for what comes after the caller's deadline.
        let until = context.deadline.map_or(until, |deadline| deadline.min(until));
        let sleep = Box::pin(sleep_until(until.into()));
        let waiting = Some(Box::new(Waiting { sleep, service, request, rejected }));
        Self { state: State::Waiting { waiting } }
    }
}

impl<S, R, B> Future for ResponseFuture<S, R>
where
    R: Carry,
    S: Service<R, Response = Response<B>, Error: Into<BoxError>>,
{
    type Output = Result<Response<B>, BoxError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Task<'_>) -> Poll<Self::Output> {
        let mut state = self.project().state;
        loop {
            let mut waiting = match state.as_mut().project() {
                StateProj::Running { inner } => return inner.poll(cx).map_err(Into::into),
                StateProj::Over { error } => {
                    let error = error.take().expect("a future is not polled after it is ready");
                    return Poll::Ready(Err(error));
                }
                StateProj::Waiting { waiting } => {
                    let held = waiting.as_mut().expect("it waits once");
                    ready!(held.sleep.as_mut().poll(cx));
                    waiting.take().expect("it waits once")
                }
            };
            let now = clock::now();
            let context = waiting.request.context_or_insert_with(|| Context::new(now));
            if context.deadline.is_some_and(|deadline| deadline <= now) {
                return Poll::Ready(Err(Failed::new(FailureKind::Deadline).into()));
            }
            if let Some(rejected) = waiting.rejected {
                return Poll::Ready(Err(rejected.into()));
            }
            // For all that is further in the request begins now: its timeout, and what its
            // endpoint is measured by.
            context.started = now;
            let inner = waiting.service.call(waiting.request);
            state.set(State::Running { inner });
        }
    }
}

impl<S, R> fmt::Debug for ResponseFuture<S, R>
where
    S: Service<R>,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture").finish_non_exhaustive()
    }
}
