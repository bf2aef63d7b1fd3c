use std::sync::Arc;
use std::task::{Context as Task, Poll};

use http::Response;
use tower_service::Service;

use super::{HeaderEdits, ResponseFuture};
use crate::HttpCall;

/// Changes the heads of requests and responses.
///
/// # Cancel safety
/// It holds nothing.
#[derive(Clone, Debug)]
pub struct EditHeaders<S> {
    inner: S,
    request: Option<Arc<HeaderEdits>>,
    response: Option<Arc<HeaderEdits>>,
}

impl<S> EditHeaders<S> {
    pub(super) const fn new(
        inner: S,
        request: Option<Arc<HeaderEdits>>,
        response: Option<Arc<HeaderEdits>>,
    ) -> Self {
        Self { inner, request, response }
    }
}

impl<S, R, B> Service<R> for EditHeaders<S>
where
    R: HttpCall,
    S: Service<R, Response = Response<B>>,
{
    type Response = Response<B>;
    type Error = S::Error;
    type Future = ResponseFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Task<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: R) -> Self::Future {
        if let Some(edits) = &self.request {
            edits.apply(request.request_mut().headers_mut());
        }
        ResponseFuture::new(self.inner.call(request), self.response.clone())
    }
}
