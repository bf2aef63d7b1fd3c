use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use outrigger_core::{BoxError, Rejected};
use pin_project_lite::pin_project;

pin_project! {
    /// The answer, or the refusal of a busy machine.
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
        Admitted { #[pin] inner: F },
        Rejected { rejected: Option<Rejected> },
    }
}

impl<F> ResponseFuture<F> {
    pub(super) const fn admitted(inner: F) -> Self {
        Self { state: State::Admitted { inner } }
    }

    pub(super) const fn rejected(rejected: Rejected) -> Self {
        Self { state: State::Rejected { rejected: Some(rejected) } }
    }
}

impl<F, T, E> Future for ResponseFuture<F>
where
    F: Future<Output = Result<T, E>>,
    E: Into<BoxError>,
{
    type Output = Result<T, BoxError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project().state.project() {
            StateProj::Admitted { inner } => inner.poll(cx).map_err(Into::into),
            StateProj::Rejected { rejected } => {
                let rejected = rejected.take().expect("a future is not polled after it is ready");
                Poll::Ready(Err(rejected.into()))
            }
        }
    }
}
