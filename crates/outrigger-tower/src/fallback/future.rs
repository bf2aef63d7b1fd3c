use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::Response;
use outrigger_core::BoxError;
use pin_project_lite::pin_project;

use super::FallbackBody;
use super::answer::mark;
use crate::elsewhere::Answer;

pin_project! {
    /// The answer, or another one.
    pub struct ResponseFuture<F> {
        #[pin]
        state: State<F>,
    }
}

pin_project! {
    #[project = StateProj]
    enum State<F> {
        Inner { #[pin] inner: F },
        Fixed { response: Option<Response<Bytes>> },
        Elsewhere { answer: Answer },
    }
}

impl<F> ResponseFuture<F> {
    pub(super) const fn inner(inner: F) -> Self {
        Self { state: State::Inner { inner } }
    }

    pub(super) const fn fixed(response: Response<Bytes>) -> Self {
        Self { state: State::Fixed { response: Some(response) } }
    }

    pub(super) fn elsewhere(answer: Answer) -> Self {
        Self { state: State::Elsewhere { answer } }
    }
}

impl<F, B, E> Future for ResponseFuture<F>
where
    F: Future<Output = Result<Response<B>, E>>,
    E: Into<BoxError>,
{
    type Output = Result<Response<FallbackBody<B>>, BoxError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Poll::Ready(match self.project().state.project() {
            StateProj::Inner { inner } => {
                let result = ready!(inner.poll(cx)).map_err(Into::into);
                result.map(|response| response.map(FallbackBody::inner))
            }
            StateProj::Fixed { response } => {
                let response = response.take().expect("a future is not polled after it is ready");
                Ok(response.map(FallbackBody::fixed))
            }
            StateProj::Elsewhere { answer } => {
                let mut response = ready!(answer.as_mut().poll(cx))?;
                mark(&mut response);
                Ok(response.map(FallbackBody::elsewhere))
            }
        })
    }
}

impl<F> fmt::Debug for ResponseFuture<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture").finish_non_exhaustive()
    }
}
