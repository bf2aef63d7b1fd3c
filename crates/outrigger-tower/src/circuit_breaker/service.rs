use std::task::{Context as Task, Poll};

use http::Response;
use outrigger_breaker::Breaker;
use outrigger_core::{
    BoxError, Carry, CircuitState, Context, Decision, Rejected, RouteName, ServiceName,
};
use outrigger_retry::Classifier;
use tower_service::Service;

use super::ResponseFuture;
use super::flight::{CircuitGuard, Flight};
use crate::{GuardedBody, clock};

/// Refuses calls while a circuit is open.
///
/// # Cancel safety
/// A call dropped in flight says nothing and gives a probe's place back, unless the policy's
/// timeout ended it, which is a failure.
#[derive(Clone, Debug)]
pub struct CircuitBreaker<S> {
    inner: S,
    service: ServiceName,
    circuit: Breaker,
    classifier: Classifier,
}

impl<S> CircuitBreaker<S> {
    pub(super) const fn new(
        inner: S,
        service: ServiceName,
        circuit: Breaker,
        classifier: Classifier,
    ) -> Self {
        Self { inner, service, circuit, classifier }
    }

    /// Asks the circuit.
    pub(crate) fn admit(&self, context: &Context) -> Result<Flight, Rejected> {
        let now = context.started;
        let admitted = self.circuit.admit(now);
        if let Some(receipt) = &context.receipt {
            let state = match &admitted {
                Ok(permit) if permit.is_probe() => CircuitState::HalfOpen,
                Ok(permit) if permit.is_spared() => CircuitState::Open,
                Ok(_) => CircuitState::Closed,
                Err(open) => open.state,
            };
            let at = now.saturating_duration_since(context.started);
            receipt.push(at, Decision::Circuit { state, admitted: admitted.is_ok() });
        }
        match admitted {
            Ok(permit) => Ok(Flight::new(self.circuit.clone(), permit, self.classifier, context)),
            Err(open) => Err(Rejected::CircuitOpen {
                service: self.service.clone(),
                route: RouteName::clone(&context.route),
                retry_after: open.retry_after,
            }),
        }
    }
}

impl<S, R, B> Service<R> for CircuitBreaker<S>
where
    R: Carry,
    B: http_body::Body,
    S: Service<R, Response = Response<B>, Error: Into<BoxError>>,
{
    type Response = Response<GuardedBody<B, CircuitGuard>>;
    type Error = BoxError;
    type Future = ResponseFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Task<'_>) -> Poll<Result<(), BoxError>> {
        // The circuit is asked in `call`: a probe's place must not be held by readiness that
        // nobody uses.
        self.inner.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, mut request: R) -> Self::Future {
        let context = request.context_or_insert_with(|| Context::new(clock::now()));
        match self.admit(context) {
            Ok(flight) => ResponseFuture::admitted(self.inner.call(request), flight),
            Err(rejected) => ResponseFuture::rejected(rejected),
        }
    }
}
