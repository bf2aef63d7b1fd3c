use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use http::{HeaderMap, HeaderValue, Response};
use outrigger_core::{BoxError, Rejected, header};
use pin_project_lite::pin_project;

pin_project! {
    /// The answer, or the refusal of an empty bucket.
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
        Admitted { #[pin] inner: F, tell: Option<(u32, u32)> },
        Rejected { rejected: Option<Rejected> },
    }
}

impl<F> ResponseFuture<F> {
    pub(super) const fn admitted(inner: F, tell: Option<(u32, u32)>) -> Self {
        Self { state: State::Admitted { inner, tell } }
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
            StateProj::Admitted { inner, tell } => {
                let mut response = ready!(inner.poll(cx)).map_err(Into::into)?;
                if let Some(tell) = *tell {
                    write(response.headers_mut(), tell);
                }
                Poll::Ready(Ok(response))
            }
            StateProj::Rejected { rejected } => {
                let rejected = rejected.take().expect("a future is not polled after it is ready");
                Poll::Ready(Err(rejected.into()))
            }
        }
    }
}

/// Tells the bucket's size and what is left in it.
pub(crate) fn write(headers: &mut HeaderMap, (limit, remaining): (u32, u32)) {
    headers.insert(header::RATELIMIT_LIMIT, HeaderValue::from(limit));
    headers.insert(header::RATELIMIT_REMAINING, HeaderValue::from(remaining));
}
