use std::future::Future;
use std::pin::Pin;
use std::task::{Context as Task, Poll, ready};

use outrigger_core::{
    BoxError, Carry, Context, Decision, Event, Observers, Receipt, Refusal, Rejected, RouteName,
    ServiceName,
};
use pin_project_lite::pin_project;
use std::sync::Arc;
use std::time::Instant;
use tower_layer::Layer;
use tower_service::Service;

use crate::clock;

/// Tells observers what a server refuses by its inbound rules, as
/// [`ObserveLayer`](crate::ObserveLayer) does for calls. Stands outside of those rules.
#[derive(Clone, Debug)]
pub struct TellRefusedLayer {
    observers: Observers,
    service: Option<ServiceName>,
}

impl TellRefusedLayer {
    /// Tells these.
    #[must_use]
    pub const fn new(observers: Observers) -> Self {
        Self { observers, service: None }
    }

    /// Only what refuses requests to this service: what the application hands on of services that
    /// it called is told where it called. Default all.
    #[must_use]
    pub fn with_service(mut self, service: ServiceName) -> Self {
        self.service = Some(service);
        self
    }
}

impl<S> Layer<S> for TellRefusedLayer {
    type Service = TellRefused<S>;

    fn layer(&self, inner: S) -> TellRefused<S> {
        TellRefused { inner, rule: self.clone() }
    }
}

/// Tells observers what a server refuses.
#[derive(Clone, Debug)]
pub struct TellRefused<S> {
    inner: S,
    rule: TellRefusedLayer,
}

impl<S, R> Service<R> for TellRefused<S>
where
    R: Carry,
    S: Service<R, Error: Into<BoxError>>,
{
    type Response = S::Response;
    type Error = BoxError;
    type Future = TellRefusedFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Task<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, mut request: R) -> Self::Future {
        let context = request.context_or_insert_with(|| Context::new(clock::now()));
        let (route, receipt) = (context.route.clone(), context.receipt.clone());
        let about =
            Some(About { rule: self.rule.clone(), route, receipt, started: context.started });
        TellRefusedFuture { inner: self.inner.call(request), about }
    }
}

#[derive(Debug)]
struct About {
    rule: TellRefusedLayer,
    route: RouteName,
    receipt: Option<Arc<Receipt>>,
    started: Instant,
}

pin_project! {
    /// The answer; a refusal is told.
    #[derive(Debug)]
    pub struct TellRefusedFuture<F> {
        #[pin]
        inner: F,
        about: Option<About>,
    }
}

impl<F, T, E> Future for TellRefusedFuture<F>
where
    F: Future<Output = Result<T, E>>,
    E: Into<BoxError>,
{
    type Output = Result<T, BoxError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Task<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let result = ready!(this.inner.poll(cx)).map_err(Into::into);
        let about = this.about.take();
        if let (Err(error), Some(about)) = (&result, about)
            && let Some(rejected) = Rejected::find(&**error)
            && about.rule.service.as_ref().is_none_or(|own| own == rejected.service())
        {
            about.rule.observers.emit(&Event::Rejected { rejected, route: &about.route });
            if let Some(receipt) = &about.receipt {
                let at = clock::now().saturating_duration_since(about.started);
                receipt.push(at, Decision::Refused { reason: Refusal::from(rejected).reason });
            }
        }
        Poll::Ready(result)
    }
}
