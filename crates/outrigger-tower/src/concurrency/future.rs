use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use http::Response;
use outrigger_core::{BoxError, Rejected};
use pin_project_lite::pin_project;

use super::ConcurrencyPermit;
use crate::GuardedBody;

pin_project! {
    /// The answer, or the refusal for want of a permit.
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
        Admitted { #[pin] inner: F, permit: Option<ConcurrencyPermit> },
        Rejected { rejected: Option<Rejected> },
    }
}

impl<F> ResponseFuture<F> {
    pub(super) const fn admitted(inner: F, permit: ConcurrencyPermit) -> Self {
        Self { state: State::Admitted { inner, permit: Some(permit) } }
    }

    pub(super) const fn rejected(rejected: Rejected) -> Self {
        Self { state: State::Rejected { rejected: Some(rejected) } }
    }
}

impl<F, B, E> Future for ResponseFuture<F>
where
    F: Future<Output = Result<Response<B>, E>>,
    B: http_body::Body,
    E: Into<BoxError>,
{
    type Output = Result<Response<GuardedBody<B, ConcurrencyPermit>>, BoxError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project().state.project() {
            StateProj::Admitted { inner, permit } => {
                let result: Result<_, BoxError> = ready!(inner.poll(cx)).map_err(Into::into);
                let permit = permit.take().expect("a future is not polled after it is ready");
                Poll::Ready(match result {
                    Ok(response) => Ok(response.map(|body| GuardedBody::new(body, permit))),
                    Err(error) => {
                        permit.fail(&error);
                        Err(error)
                    }
                })
            }
            StateProj::Rejected { rejected } => {
                let rejected = rejected.take().expect("a future is not polled after it is ready");
                Poll::Ready(Err(rejected.into()))
            }
        }
    }
}
