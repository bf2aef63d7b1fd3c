use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use http::Response;
use outrigger_core::{
    BoxError, Decision, Event, Outcome, Receipt, Refusal, Rejected, RouteName, ServiceName,
};
use outrigger_retry::Signal;
use pin_project_lite::pin_project;

use super::ObserveLayer;
use crate::signal::signal_of;
use crate::{AfterTries, TriesMade, clock};

pin_project! {
    /// The answer, told to observers.
    #[derive(Debug)]
    pub struct ResponseFuture<F> {
        #[pin]
        inner: F,
        about: Option<About>,
    }
}

/// What an observer is told beside the answer.
#[derive(Debug)]
pub(crate) struct About {
    pub(super) rule: Arc<ObserveLayer>,
    pub(super) service: Option<ServiceName>,
    pub(super) route: RouteName,
    pub(super) started: Instant,
    pub(super) deadline: Option<Instant>,
    pub(super) receipt: Option<Arc<Receipt>>,
    pub(super) method: &'static str,
}

impl<F> ResponseFuture<F> {
    pub(super) const fn new(inner: F, about: Option<About>) -> Self {
        Self { inner, about }
    }
}

impl<F, B, E> Future for ResponseFuture<F>
where
    F: Future<Output = Result<Response<B>, E>>,
    E: Into<BoxError>,
{
    type Output = Result<Response<B>, BoxError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let result = ready!(this.inner.poll(cx)).map_err(Into::into);
        if let Some(about) = this.about.take() {
            about.tell(&result, clock::now());
        }
        Poll::Ready(result)
    }
}

impl About {
    pub(crate) fn tell<B>(&self, result: &Result<Response<B>, BoxError>, now: Instant) {
        let elapsed = now.saturating_duration_since(self.started);
        let signal = signal_of(result);
        let refusal = result.as_ref().err().and_then(|error| Refusal::of(&**error));
        if let (Some(refusal), Some(receipt)) = (&refusal, &self.receipt) {
            receipt.push(elapsed, Decision::Refused { reason: refusal.reason });
        }
        let observers = &self.rule.observers;
        if !observers.hears_requests() {
            return;
        }
        let outcome = match signal {
            Signal::Rejected => Outcome::Ignored,
            signal => {
                let left = self.deadline.map(|at| at.saturating_duration_since(now));
                self.rule.classifier.outcome(signal, left)
            }
        };
        let (service, route) = (self.service.as_ref().unwrap_or(&self.rule.service), &self.route);
        let mut tries = 1;
        match result {
            Ok(response) => {
                if let Some(made) = response.extensions().get::<TriesMade>() {
                    tries = made.0;
                }
            }
            Err(error) => {
                tries = AfterTries::count(&**error);
                if let Some(rejected) = Rejected::find(&**error) {
                    // The last of them ended before an endpoint was chosen.
                    tries -= 1;
                    observers.emit(&Event::Rejected { rejected, route });
                }
            }
        }
        // What we answer ourselves has a status too: the one that the caller is going to see.
        let status = match signal {
            Signal::Status(status) => Some(status.as_u16()),
            Signal::Grpc(_) => Some(200),
            _ => refusal.map(|refusal| refusal.http_status()),
        };
        let method = self.method;
        observers.emit(&Event::Finished {
            service,
            route,
            method,
            status,
            outcome,
            elapsed,
            tries,
        });
    }
}
