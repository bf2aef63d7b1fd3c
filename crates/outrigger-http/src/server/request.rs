//! One request at a connection: hyper's service over tower's, and the count of what is in flight.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::task::{Context, Poll, ready};

use http::{Request, Response};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use pin_project_lite::pin_project;
use tower_service::Service;

/// What happens on a connection, as far as its watchdog wants to know.
#[derive(Debug, Default)]
pub(crate) struct Activity {
    in_flight: AtomicU32,
    /// Requests that have begun.
    begun: AtomicU64,
    /// Bytes came while no request was in flight: the next head has begun.
    has_bytes: AtomicBool,
}

impl Activity {
    pub(crate) fn is_busy(&self) -> bool {
        self.in_flight.load(Ordering::Relaxed) > 0
    }

    pub(crate) fn begun(&self) -> u64 {
        self.begun.load(Ordering::Relaxed)
    }

    pub(crate) fn has_begun_head(&self) -> bool {
        self.has_bytes.load(Ordering::Relaxed)
    }

    pub(crate) fn note_bytes(&self) {
        if !self.is_busy() {
            self.has_bytes.store(true, Ordering::Relaxed);
        }
    }
}

/// Counts one request, from its head to the end of its response's body.
struct InFlight(Arc<Activity>);

impl InFlight {
    fn begin(activity: &Arc<Activity>) -> Self {
        activity.in_flight.fetch_add(1, Ordering::Relaxed);
        activity.begun.fetch_add(1, Ordering::Relaxed);
        activity.has_bytes.store(false, Ordering::Relaxed);
        Self(Arc::clone(activity))
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

/// hyper's service over a clone of tower's per request.
#[derive(Debug)]
pub(crate) struct Requests<S> {
    pub(crate) service: S,
    pub(crate) activity: Arc<Activity>,
}

impl<S, B> hyper::service::Service<Request<Incoming>> for Requests<S>
where
    S: Service<Request<Incoming>, Response = Response<B>> + Clone,
{
    type Response = Response<CountedBody<B>>;
    type Error = S::Error;
    type Future = Answer<S, S::Future>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        Answer {
            in_flight: Some(InFlight::begin(&self.activity)),
            step: Step::Ready { service: self.service.clone(), request: Some(request) },
        }
    }
}

pin_project! {
    /// Waits until the service is ready, and then for its answer.
    pub(crate) struct Answer<S, F> {
        in_flight: Option<InFlight>,
        #[pin]
        step: Step<S, F>,
    }
}

pin_project! {
    #[project = StepProject]
    enum Step<S, F> {
        Ready { service: S, request: Option<Request<Incoming>> },
        Called { #[pin] future: F },
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
                    let response = ready!(future.poll(cx))?;
                    let in_flight = this.in_flight.take();
                    return Poll::Ready(Ok(response.map(|body| CountedBody { body, in_flight })));
                }
            }
        }
    }
}

pin_project! {
    /// A response's body that is in flight until its end.
    pub(crate) struct CountedBody<B> {
        #[pin]
        body: B,
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
        self.project().body.poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
