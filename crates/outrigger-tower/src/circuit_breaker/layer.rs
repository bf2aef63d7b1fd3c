use outrigger_breaker::Breaker;
use outrigger_core::ServiceName;
use outrigger_retry::Classifier;
use tower_layer::Layer;

use super::CircuitBreaker;

/// Puts a circuit before a service.
#[derive(Clone, Debug)]
pub struct CircuitBreakerLayer {
    service: ServiceName,
    circuit: Breaker,
    classifier: Classifier,
}

impl CircuitBreakerLayer {
    /// The circuit of `service`; every clone and every stack that is given it shares it.
    #[must_use]
    pub fn new(service: ServiceName, circuit: Breaker) -> Self {
        Self { service, circuit, classifier: Classifier::default() }
    }

    /// Who judges answers. Default: any 5xx but 501 and 505 is a failure.
    #[must_use]
    pub const fn with_classifier(mut self, classifier: Classifier) -> Self {
        self.classifier = classifier;
        self
    }
}

impl<S> Layer<S> for CircuitBreakerLayer {
    type Service = CircuitBreaker<S>;

    fn layer(&self, inner: S) -> CircuitBreaker<S> {
        CircuitBreaker::new(inner, self.service.clone(), self.circuit.clone(), self.classifier)
    }
}
