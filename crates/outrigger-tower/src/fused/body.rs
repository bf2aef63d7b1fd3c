use std::fmt;
use std::pin::Pin;
use std::task::{Context as Task, Poll, ready};

use bytes::Bytes;
use http::{Request, Response};
use http_body::{Body, Frame, SizeHint};
use outrigger_core::{BoxError, Dispatch};
use tower_service::Service;

use super::places::Place;
use crate::ReplayBody;

/// The body of an answer; what the request holds is given back at its end, and at its drop.
pub struct FusedBody<S, B, RB>
where
    S: Service<Dispatch<Request<ReplayBody<B>>>>,
{
    place: Place<S, B, RB>,
}

impl<S, B, RB> FusedBody<S, B, RB>
where
    B: Body<Data = Bytes> + Unpin,
    RB: Body<Error: Into<BoxError>>,
    S: Service<Dispatch<Request<ReplayBody<B>>>, Response = Response<RB>>,
{
    pub(super) fn new(mut place: Place<S, B, RB>) -> Self {
        if place
            .exchange_ref()
            .and_then(|exchange| exchange.body_ref())
            .is_none_or(Body::is_end_stream)
        {
            place.leave();
        }
        Self { place }
    }
}

impl<S, B, RB> Body for FusedBody<S, B, RB>
where
    B: Body<Data = Bytes> + Unpin,
    RB: Body<Error: Into<BoxError>>,
    S: Service<Dispatch<Request<ReplayBody<B>>>, Response = Response<RB>>,
{
    type Data = RB::Data;
    type Error = BoxError;

    #[inline]
    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Task<'_>,
    ) -> Poll<Option<Result<Frame<RB::Data>, BoxError>>> {
        let body = self.place.exchange().and_then(|exchange| exchange.body());
        let Some(mut body) = body else { return Poll::Ready(None) };
        let frame = ready!(body.as_mut().poll_frame(cx));
        // Whoever reads by length does not poll past the last frame.
        if !matches!(frame, Some(Ok(_))) || body.is_end_stream() {
            self.place.leave();
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        let body = self.place.exchange_ref().and_then(|exchange| exchange.body_ref());
        body.is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        let body = self.place.exchange_ref().and_then(|exchange| exchange.body_ref());
        body.map_or_else(|| SizeHint::with_exact(0), Body::size_hint)
    }
}

impl<S, B, RB> fmt::Debug for FusedBody<S, B, RB>
where
    S: Service<Dispatch<Request<ReplayBody<B>>>>,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FusedBody").finish_non_exhaustive()
    }
}
