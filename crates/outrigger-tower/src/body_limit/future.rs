use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::Ordering::Relaxed;
use std::task::{Context, Poll, ready};

use http::Response;
use outrigger_core::{BoxError, Rejected};
use pin_project_lite::pin_project;

use super::body::Over;

pin_project! {
    /// The answer, or the refusal of a body that is too large.
    #[derive(Debug)]
    pub struct ResponseFuture<F> {
        #[pin]
        state: State<F>,
    }
}

pin_project! {
    #[project = StateProj]
    #[derive(Debug)]
    enum State<F> {
        Running { #[pin] inner: F, over: Option<(Over, Rejected)> },
        Rejected { rejected: Option<Rejected> },
    }
}

impl<F> ResponseFuture<F> {
    pub(super) const fn running(inner: F, over: Option<(Over, Rejected)>) -> Self {
        Self { state: State::Running { inner, over } }
    }

    pub(super) const fn rejected(rejected: Rejected) -> Self {
        Self { state: State::Rejected { rejected: Some(rejected) } }
    }
}

impl<F, B, E> Future for ResponseFuture<F>
where
    F: Future<Output = Result<Response<B>, E>>,
    E: Into<BoxError>,
{
    type Output = Result<Response<B>, BoxError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project().state.project() {
            StateProj::Running { inner, over } => {
                let result = ready!(inner.poll(cx));
                // Whatever the handler made of a body that broke off: it was too large.
                match over.take().filter(|(over, _)| over.load(Relaxed)) {
                    Some((_, rejected)) => Poll::Ready(Err(rejected.into())),
                    None => Poll::Ready(result.map_err(Into::into)),
                }
            }
            StateProj::Rejected { rejected } => {
                let rejected = rejected.take().expect("a future is not polled after it is ready");
                Poll::Ready(Err(rejected.into()))
            }
        }
    }
}
