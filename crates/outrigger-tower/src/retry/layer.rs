use std::sync::Arc;

use outrigger_core::{Observers, ServiceName};
use outrigger_retry::{Budget, RetryRule};
use tower_layer::Layer;

use super::Retry;

/// Sends requests again.
#[derive(Clone, Debug)]
pub struct RetryLayer {
    pub(super) service: ServiceName,
    pub(crate) rule: Arc<RetryRule>,
    pub(crate) budget: Arc<Budget>,
    pub(super) observers: Observers,
}

impl RetryLayer {
    /// By `rule`, within the `budget` that all callers of `service` in this process share.
    #[must_use]
    pub const fn new(service: ServiceName, rule: Arc<RetryRule>, budget: Arc<Budget>) -> Self {
        Self { service, rule, budget, observers: Observers::none() }
    }

    /// Who is told of retries, and of those that were forbidden.
    #[must_use]
    pub fn with_observers(mut self, observers: Observers) -> Self {
        self.observers = observers;
        self
    }
}

impl<S> Layer<S> for RetryLayer {
    type Service = Retry<S>;

    fn layer(&self, inner: S) -> Retry<S> {
        Retry::new(inner, Arc::new(self.clone()))
    }
}
