use std::sync::Arc;

use outrigger_balance::EndpointSet;
use outrigger_core::Observers;
use outrigger_retry::Classifier;
use tower_layer::Layer;

use super::{Balance, HashOn};

/// Chooses an endpoint of a set for each try.
#[derive(Clone, Debug)]
pub struct BalanceLayer {
    pub(super) set: EndpointSet,
    pub(super) classifier: Classifier,
    pub(super) observers: Observers,
    pub(super) hash_on: Option<HashOn>,
    pub(super) subset: Option<Arc<str>>,
}

impl BalanceLayer {
    /// From this set.
    #[must_use]
    pub fn new(set: EndpointSet) -> Self {
        Self {
            set,
            classifier: Classifier::default(),
            observers: Observers::none(),
            hash_on: None,
            subset: None,
        }
    }

    /// Who judges answers. Default: any 5xx but 501 and 505 is a failure.
    #[must_use]
    pub const fn with_classifier(mut self, classifier: Classifier) -> Self {
        self.classifier = classifier;
        self
    }

    /// Who is told of each try.
    #[must_use]
    pub fn with_observers(mut self, observers: Observers) -> Self {
        self.observers = observers;
        self
    }

    /// What the hashing algorithms go by.
    #[must_use]
    pub fn with_hash_on(mut self, hash_on: HashOn) -> Self {
        self.hash_on = Some(hash_on);
        self
    }

    /// Only endpoints of this subset.
    #[must_use]
    pub fn with_subset(mut self, subset: Arc<str>) -> Self {
        self.subset = Some(subset);
        self
    }
}

impl<S> Layer<S> for BalanceLayer {
    type Service = Balance<S>;

    fn layer(&self, inner: S) -> Balance<S> {
        Balance::new(inner, Arc::new(self.clone()))
    }
}
