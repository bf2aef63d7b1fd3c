use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use http::Response;
use outrigger_core::{BoxError, Rejected};
use pin_project_lite::pin_project;

use super::flight::{CircuitGuard, Flight};
use crate::signal::signal_of;
use crate::{GuardedBody, clock};

pin_project! {
    /// The answer, or the circuit's refusal.
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
        Admitted { #[pin] inner: F, flight: Option<Flight> },
        Rejected { rejected: Option<Rejected> },
    }
}

impl<F> ResponseFuture<F> {
    pub(super) const fn admitted(inner: F, flight: Flight) -> Self {
        Self { state: State::Admitted { inner, flight: Some(flight) } }
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
    type Output = Result<Response<GuardedBody<B, CircuitGuard>>, BoxError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project().state.project() {
            StateProj::Admitted { inner, flight } => {
                let result = ready!(inner.poll(cx)).map_err(Into::into);
                let flight = flight.take().expect("a future is not polled after it is ready");
                let guard = flight.land(signal_of(&result), clock::now());
                Poll::Ready(
                    result.map(|response| response.map(|body| GuardedBody::new(body, guard))),
                )
            }
            StateProj::Rejected { rejected } => {
                let rejected = rejected.take().expect("a future is not polled after it is ready");
                Poll::Ready(Err(rejected.into()))
            }
        }
    }
}
