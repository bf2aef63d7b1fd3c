use std::mem;
use std::sync::Arc;
use std::task::{Context as Task, Poll};

use http::Response;
use outrigger_core::{BoxError, Carry, Context, Decision, Event, Rejected};
use tower_service::Service;

use super::{FaultLayer, ResponseFuture};
use crate::clock;

/// Injects faults.
///
/// Cost: at most two draws; a delay allocates, a request without a fault does not.
///
/// # Cancel safety
/// A request dropped while it is held back was seen by nobody.
#[derive(Clone, Debug)]
pub struct InjectFault<S> {
    inner: S,
    layer: Arc<FaultLayer>,
}

impl<S> InjectFault<S> {
    pub(super) const fn new(inner: S, layer: Arc<FaultLayer>) -> Self {
        Self { inner, layer }
    }
}

impl<S, R, B> Service<R> for InjectFault<S>
where
    R: Carry,
    S: Service<R, Response = Response<B>, Error: Into<BoxError>> + Clone,
{
    type Response = Response<B>;
    type Error = BoxError;
    type Future = ResponseFuture<S, R>;

    fn poll_ready(&mut self, cx: &mut Task<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, mut request: R) -> Self::Future {
        let (delay, abort) = self.layer.rule.draw(&self.layer.dice);
        if delay.is_none() && abort.is_none() {
            return ResponseFuture::running(self.inner.call(request));
        }
        let layer = &*self.layer;
        let context = request.context_or_insert_with(|| Context::new(clock::now()));
        let service = context.service.as_ref().unwrap_or(&layer.service);
        for (kind, is_drawn) in [("delay", delay.is_some()), ("abort", abort.is_some())] {
            if is_drawn {
                let route = &context.route;
                layer.observers.emit(&Event::FaultInjected { service, route, kind });
            }
        }
        if let Some(receipt) = &context.receipt {
            let at = clock::now().saturating_duration_since(context.started);
            receipt.push(at, Decision::Fault { delay, abort: abort.map(|abort| abort.status) });
        }
        let rejected = abort.map(|abort| Rejected::Fault {
            service: service.clone(),
            status: abort.status,
            grpc_status: abort.grpc_status,
        });
        match (delay, rejected) {
            (None, Some(rejected)) => ResponseFuture::over(rejected.into()),
            (delay, rejected) => {
                // The one that is ready waits with the request, the other one takes its place.
                let spare = self.inner.clone();
                let ready = mem::replace(&mut self.inner, spare);
                ResponseFuture::waiting(ready, request, delay.unwrap_or_default(), rejected)
            }
        }
    }
}
