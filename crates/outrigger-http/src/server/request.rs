//! One request at a connection: hyper's service over tower's, what is checked before it, and the
//! count of what is in flight.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use http::{Method, Request, Response, StatusCode};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use outrigger_core::header;
use pin_project_lite::pin_project;
use tower_service::Service;

use super::activity::{Activity, InFlight};
use super::check::Check;
use super::refused::Refused;

/// hyper's service over a clone of tower's per request.
#[derive(Debug)]
pub(crate) struct Requests<S> {
    pub(crate) service: S,
    pub(crate) activity: Arc<Activity>,
    pub(crate) check: Check,
}

impl<S, B> hyper::service::Service<Request<Incoming>> for Requests<S>
where
    S: Service<Request<Incoming>, Response = Response<B>> + Clone,
{
    type Response = Response<CountedBody<B>>;
    type Error = S::Error;
    type Future = Answer<S, S::Future>;

    fn call(&self, mut request: Request<Incoming>) -> Self::Future {
        let (in_flight, nth) = InFlight::begin(&self.activity);
        let verdict = match self.activity.refusal_of(nth) {
            Some(refused) => Err(refused),
            None => self.check.request(&mut request),
        };
        let is_connect = request.method() == Method::CONNECT;
        let step = match verdict {
            Ok(()) => Step::Ready { service: self.service.clone(), request: Some(request) },
            Err(refused) => {
                let is_grpc = header::is_grpc(request.headers());
                Step::Refused { refused, is_grpc }
            }
        };
        Answer { in_flight: Some(in_flight), is_http2: self.check.is_http2, is_connect, step }
    }
}

pin_project! {
    /// Waits until the service is ready, and then for its answer.
    pub(crate) struct Answer<S, F> {
        in_flight: Option<InFlight>,
        is_http2: bool,
        is_connect: bool,
        #[pin]
        step: Step<S, F>,
    }
}

pin_project! {
    #[project = StepProject]
    enum Step<S, F> {
        Ready { service: S, request: Option<Request<Incoming>> },
        Called { #[pin] future: F },
        Refused { refused: Refused, is_grpc: bool },
    }
}

impl<S, B> Future for Answer<S, S::Future>
where
    S: Service<Request<Incoming>, Response = Response<B>>,
{
    type Output = Result<Response<CountedBody<B>>, S::Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        loop {
            match this.step.as_mut().project() {
                StepProject::Ready { service, request } => {
                    ready!(service.poll_ready(cx))?;
                    // Taken once: the step changes in the same breath.
                    let Some(request) = request.take() else { return Poll::Pending };
                    let future = service.call(request);
                    this.step.set(Step::Called { future });
                }
                StepProject::Called { future } => {
                    let polled = future.poll(cx);
                    if let Some(in_flight) = &*this.in_flight
                        && let Some(refused) = in_flight.activity().broken()
                    {
                        // Whatever the service makes of a body that broke off, this is why.
                        this.step.set(Step::Refused { refused, is_grpc: false });
                        continue;
                    }
                    let response = ready!(polled)?;
                    let in_flight = this.in_flight.take();
                    if let Some(in_flight) = &in_flight {
                        let status = response.status();
                        in_flight.activity().answered(
                            status == StatusCode::SWITCHING_PROTOCOLS
                                || (*this.is_connect && status.is_success()),
                        );
                    }
                    return Poll::Ready(Ok(
                        response.map(|body| CountedBody { body: Some(body), in_flight })
                    ));
                }
                StepProject::Refused { refused, is_grpc } => {
                    let answer = refused.answer(*this.is_http2, *is_grpc);
                    if let Some(in_flight) = &*this.in_flight {
                        in_flight.activity().linger();
                        in_flight.activity().answered(false);
                    }
                    let in_flight = this.in_flight.take();
                    return Poll::Ready(Ok(answer.map(|()| CountedBody { body: None, in_flight })));
                }
            }
        }
    }
}

pin_project! {
    /// A response's body that is in flight until its end; none for a refusal.
    pub(crate) struct CountedBody<B> {
        #[pin]
        body: Option<B>,
        in_flight: Option<InFlight>,
    }
}

impl<B: Body> Body for CountedBody<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        match self.project().body.as_pin_mut() {
            Some(body) => body.poll_frame(cx),
            None => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map_or_else(|| SizeHint::with_exact(0), Body::size_hint)
    }
}
