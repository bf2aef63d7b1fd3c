use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Instant;

use outrigger_core::{BoxError, Failed, FailureKind};
use pin_project_lite::pin_project;

use crate::timer::Timer;

pin_project! {
    /// The answer, or the end of a try's time.
    #[derive(Debug)]
    pub struct ResponseFuture<F> {
        #[pin]
        inner: Option<F>,
        #[pin]
        timer: Timer<FailureKind>,
    }
}

impl<F> ResponseFuture<F> {
    pub(super) fn new(inner: F, until: Option<Instant>) -> Self {
        let timer = Timer::new(until.map(|until| (until, FailureKind::TryTimeout)));
        Self { inner: Some(inner), timer }
    }
}

impl<F, T, E> Future for ResponseFuture<F>
where
    F: Future<Output = Result<T, E>>,
    E: Into<BoxError>,
{
    type Output = Result<T, BoxError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        let inner = this.inner.as_mut().as_pin_mut();
        let inner = inner.expect("a future is not polled after it is ready");
        if let Poll::Ready(result) = inner.poll(cx) {
            return Poll::Ready(result.map_err(Into::into));
        }
        match this.timer.poll(cx) {
            Poll::Ready(kind) => {
                // The connection is given up before anybody decides on another try.
                this.inner.set(None);
                Poll::Ready(Err(Failed::new(kind).into()))
            }
            Poll::Pending => Poll::Pending,
        }
    }
}
