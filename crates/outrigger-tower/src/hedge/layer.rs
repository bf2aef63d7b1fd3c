use std::sync::Arc;

use outrigger_core::{Observers, ServiceName};
use outrigger_retry::{Budget, Classifier, HedgeRule};
use tower_layer::Layer;

use super::Hedge;

/// Sends hedges.
#[derive(Clone, Debug)]
pub struct HedgeLayer {
    pub(super) service: ServiceName,
    pub(super) rule: HedgeRule,
    pub(super) budget: Arc<Budget>,
    pub(super) classifier: Classifier,
    pub(super) observers: Observers,
    pub(super) counts: bool,
    pub(super) body_limit: usize,
}

impl HedgeLayer {
    /// By `rule`, within the `budget` that all callers of `service` in this process share.
    #[must_use]
    pub fn new(service: ServiceName, rule: HedgeRule, budget: Arc<Budget>) -> Self {
        Self {
            service,
            rule,
            budget,
            classifier: Classifier::default(),
            observers: Observers::none(),
            counts: true,
            body_limit: 64 * 1024,
        }
    }

    /// Says that a [`RetryLayer`](crate::RetryLayer) further out counts the requests for the
    /// budget already.
    #[must_use]
    pub const fn within_retry(mut self) -> Self {
        self.counts = false;
        self
    }

    /// Units: bytes. A larger body is not hedged. Default 64 KiB.
    #[must_use]
    pub const fn with_body_limit(mut self, bytes: usize) -> Self {
        self.body_limit = bytes;
        self
    }

    /// Who judges answers. Default: any 5xx but 501 and 505 is a failure.
    #[must_use]
    pub const fn with_classifier(mut self, classifier: Classifier) -> Self {
        self.classifier = classifier;
        self
    }

    /// Who is told of hedges, and of those that were forbidden.
    #[must_use]
    pub fn with_observers(mut self, observers: Observers) -> Self {
        self.observers = observers;
        self
    }
}

impl<S> Layer<S> for HedgeLayer {
    type Service = Hedge<S>;

    fn layer(&self, inner: S) -> Hedge<S> {
        Hedge::new(inner, Arc::new(self.clone()))
    }
}
