use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context as Task, Poll, ready};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use outrigger_core::{BoxError, Dispatch};
use tower_service::Service;

use super::FusedBody;
use super::places::Place;
use crate::ReplayBody;

/// The answer of the last try, or why there is none.
#[must_use = "futures do nothing unless polled"]
pub struct ResponseFuture<S, B, RB>
where
    S: Service<Dispatch<Request<ReplayBody<B>>>>,
{
    pub(super) place: Place<S, B, RB>,
}

impl<S, B, RB> Future for ResponseFuture<S, B, RB>
where
    B: Body<Data = Bytes> + Unpin,
    RB: Body<Error: Into<BoxError>>,
    S: Service<Dispatch<Request<ReplayBody<B>>>, Response = Response<RB>, Error: Into<BoxError>>,
{
    type Output = Result<Response<FusedBody<S, B, RB>>, BoxError>;

    #[inline]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Task<'_>) -> Poll<Self::Output> {
        let exchange = self.place.exchange().expect("a future is not polled after it is ready");
        let head = ready!(exchange.poll(cx));
        let place = self.place.take();
        // Dropped with an error, the place is given back.
        Poll::Ready(head.map(|head| head.map(|()| FusedBody::new(place))))
    }
}

impl<S, B, RB> fmt::Debug for ResponseFuture<S, B, RB>
where
    S: Service<Dispatch<Request<ReplayBody<B>>>>,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture").finish_non_exhaustive()
    }
}
