use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use http::Response;
use outrigger_core::{BoxError, Rejected};
use pin_project_lite::pin_project;

use super::flight::{Flight, Seat};
use crate::{GuardedBody, clock};

pin_project! {
    /// The answer of the chosen endpoint, or the refusal for want of one.
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
        // The inner future goes first when this is dropped: then the connection is already given
        // back when the endpoint hears that the try is over.
        Picked { #[pin] inner: F, flight: Option<Flight> },
        Rejected { rejected: Option<Rejected> },
    }
}

impl<F> ResponseFuture<F> {
    pub(super) const fn picked(inner: F, flight: Flight) -> Self {
        Self { state: State::Picked { inner, flight: Some(flight) } }
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
    type Output = Result<Response<GuardedBody<B, Seat>>, BoxError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project().state.project() {
            StateProj::Picked { inner, flight } => {
                let mut result = ready!(inner.poll(cx)).map_err(Into::into);
                let flight = flight.take().expect("a future is not polled after it is ready");
                let seat = flight.land(&mut result, clock::now()).expect("a flight lands once");
                Poll::Ready(
                    result.map(|response| response.map(|body| GuardedBody::new(body, seat))),
                )
            }
            StateProj::Rejected { rejected } => {
                let rejected = rejected.take().expect("a future is not polled after it is ready");
                Poll::Ready(Err(rejected.into()))
            }
        }
    }
}
