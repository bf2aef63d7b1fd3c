use std::fmt;
use std::sync::Arc;

use outrigger_breaker::Breaker;
use outrigger_core::{Observers, ServiceName};
use tower_layer::Layer;

use super::{Fallback, FallbackAnswer};

/// Answers in another way while a circuit is open.
pub struct FallbackLayer<B> {
    pub(super) service: ServiceName,
    pub(super) circuit: Breaker,
    pub(super) answer: FallbackAnswer<B>,
    pub(super) observers: Observers,
}

impl<B> FallbackLayer<B> {
    /// For calls to `service`; the circuit is the one that the
    /// [`CircuitBreakerLayer`](crate::CircuitBreakerLayer) just within has.
    #[must_use]
    pub const fn new(service: ServiceName, circuit: Breaker, answer: FallbackAnswer<B>) -> Self {
        Self { service, circuit, answer, observers: Observers::none() }
    }

    /// Who is told of each answer.
    #[must_use]
    pub fn with_observers(mut self, observers: Observers) -> Self {
        self.observers = observers;
        self
    }
}

impl<B> Clone for FallbackLayer<B> {
    fn clone(&self) -> Self {
        let answer = match &self.answer {
            FallbackAnswer::Fixed(fixed) => FallbackAnswer::Fixed(fixed.clone()),
            FallbackAnswer::Service(elsewhere) => FallbackAnswer::Service(elsewhere.clone()),
        };
        let (service, circuit) = (self.service.clone(), self.circuit.clone());
        Self { service, circuit, answer, observers: self.observers.clone() }
    }
}

impl<B> fmt::Debug for FallbackLayer<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FallbackLayer").field("service", &self.service).finish_non_exhaustive()
    }
}

impl<S, B> Layer<S> for FallbackLayer<B> {
    type Service = Fallback<S, B>;

    fn layer(&self, inner: S) -> Fallback<S, B> {
        Fallback::new(inner, Arc::new(self.clone()))
    }
}
