use std::sync::Arc;

use outrigger_core::{Observers, ServiceName};
use outrigger_retry::Classifier;
use tower_layer::Layer;

use super::Observed;

/// Tells observers how each request ended.
#[derive(Clone, Debug)]
pub struct ObserveLayer {
    pub(super) service: ServiceName,
    pub(super) observers: Observers,
    pub(super) classifier: Classifier,
}

impl ObserveLayer {
    /// Of requests to (or, on a server, of) `service`.
    #[must_use]
    pub fn new(service: ServiceName, observers: Observers) -> Self {
        Self { service, observers, classifier: Classifier::default() }
    }

    /// Who judges answers. Default: any 5xx but 501 and 505 is a failure.
    #[must_use]
    pub const fn with_classifier(mut self, classifier: Classifier) -> Self {
        self.classifier = classifier;
        self
    }
}

impl<S> Layer<S> for ObserveLayer {
    type Service = Observed<S>;

    fn layer(&self, inner: S) -> Observed<S> {
        Observed::new(inner, Arc::new(self.clone()))
    }
}
