use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use http::Response;
use pin_project_lite::pin_project;

use super::HeaderEdits;

pin_project! {
    /// The answer, its head changed.
    #[derive(Debug)]
    pub struct ResponseFuture<F> {
        #[pin]
        inner: F,
        edits: Option<Arc<HeaderEdits>>,
    }
}

impl<F> ResponseFuture<F> {
    pub(super) const fn new(inner: F, edits: Option<Arc<HeaderEdits>>) -> Self {
        Self { inner, edits }
    }
}

impl<F, B, E> Future for ResponseFuture<F>
where
    F: Future<Output = Result<Response<B>, E>>,
{
    type Output = Result<Response<B>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let mut result = ready!(this.inner.poll(cx));
        if let (Some(edits), Ok(response)) = (&this.edits, &mut result) {
            edits.apply(response.headers_mut());
        }
        Poll::Ready(result)
    }
}
