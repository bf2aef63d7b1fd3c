//! What is let in at all.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use outrigger_core::{BoxError, Rejected, ServiceName};
use pin_project_lite::pin_project;
use tower_service::Service;

/// Lets every request in, or none: who may call cannot be told, and there is nothing older to go
/// by.
#[derive(Clone, Debug)]
pub(super) struct Gate<S> {
    inner: S,
    /// Whose gate is closed, if it is.
    closed: Option<ServiceName>,
}

impl<S> Gate<S> {
    pub(super) const fn new(inner: S, closed: Option<ServiceName>) -> Self {
        Self { inner, closed }
    }
}

impl<S: Service<R, Error: Into<BoxError>>, R> Service<R> for Gate<S> {
    type Response = S::Response;
    type Error = BoxError;
    type Future = GateFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, request: R) -> Self::Future {
        match &self.closed {
            None => GateFuture::Open { inner: self.inner.call(request) },
            Some(service) => GateFuture::Closed { service: Some(service.clone()) },
        }
    }
}

pin_project! {
    /// The answer, or the refusal of a closed gate.
    #[project = FutureProj]
    pub(super) enum GateFuture<F> {
        Open { #[pin] inner: F },
        Closed { service: Option<ServiceName> },
    }
}

impl<F, T, E> Future for GateFuture<F>
where
    F: Future<Output = Result<T, E>>,
    E: Into<BoxError>,
{
    type Output = Result<T, BoxError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project() {
            FutureProj::Open { inner } => inner.poll(cx).map_err(Into::into),
            FutureProj::Closed { service } => {
                let service = service.take().expect("a future is not polled after it is ready");
                let retry_after = Some(Duration::from_secs(1));
                Poll::Ready(Err(Rejected::Overloaded { service, limit: 0, retry_after }.into()))
            }
        }
    }
}
