use std::fmt;
use std::sync::Arc;
use std::task::{Context as Task, Poll};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use outrigger_core::{BoxError, Context, Dispatch};
use tower_service::Service;

use super::layer::Plan;
use super::places::Places;
use super::{FusedBody, ResponseFuture};
use crate::{HttpCall, ReplayBody, clock};

/// Walks all rules of a call.
///
/// Nothing is decided before the future is polled: the clock alone is read, if nobody above has.
///
/// # Cancel safety
/// Dropping the future drops the try or the wait, and gives back what either holds: permits, the
/// place on the endpoint, what is held of the budget, a probe's place.
///
/// Cost: one timer; no allocation, once as many calls have ended as are in flight.
pub struct Fused<S, B, RB>
where
    S: Service<Dispatch<Request<ReplayBody<B>>>>,
{
    places: Arc<Places<S, B, RB>>,
}

impl<S, B, RB> Fused<S, B, RB>
where
    S: Service<Dispatch<Request<ReplayBody<B>>>>,
{
    pub(super) fn new(inner: S, plan: Arc<Plan>) -> Self {
        Self { places: Arc::new(Places::new(inner, plan)) }
    }
}

impl<S, R, B, RB> Service<R> for Fused<S, B, RB>
where
    R: HttpCall<Body = B>,
    B: Body<Data = Bytes> + Unpin,
    RB: Body<Error: Into<BoxError>>,
    S: Service<Dispatch<Request<ReplayBody<B>>>, Response = Response<RB>, Error: Into<BoxError>>
        + Clone,
{
    type Response = Response<FusedBody<S, B, RB>>;
    type Error = BoxError;
    type Future = ResponseFuture<S, B, RB>;

    fn poll_ready(&mut self, _cx: &mut Task<'_>) -> Poll<Result<(), BoxError>> {
        // Each call has a clone of what is inside, and waits for it once it has an endpoint: a
        // permit or a connection taken here would sit there while nobody calls.
        Poll::Ready(Ok(()))
    }

    #[inline]
    fn call(&mut self, request: R) -> Self::Future {
        let mut place = self.places.take();
        if let Some(exchange) = place.exchange() {
            exchange.put(request.take_apart(|| Context::new(clock::now())));
        }
        ResponseFuture { place }
    }
}

impl<S, B, RB> Clone for Fused<S, B, RB>
where
    S: Service<Dispatch<Request<ReplayBody<B>>>>,
{
    fn clone(&self) -> Self {
        Self { places: Arc::clone(&self.places) }
    }
}

impl<S, B, RB> fmt::Debug for Fused<S, B, RB>
where
    S: Service<Dispatch<Request<ReplayBody<B>>>>,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fused").finish_non_exhaustive()
    }
}
