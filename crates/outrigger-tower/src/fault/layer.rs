use std::sync::Arc;

use outrigger_core::{Observers, ServiceName};
use tower_layer::Layer;

use super::{FaultRule, InjectFault};
use crate::Dice;

/// Injects faults.
#[derive(Clone, Debug)]
pub struct FaultLayer {
    pub(super) service: ServiceName,
    pub(super) rule: FaultRule,
    pub(super) dice: Dice,
    pub(super) observers: Observers,
}

impl FaultLayer {
    /// Into requests to `service`.
    #[must_use]
    pub const fn new(service: ServiceName, rule: FaultRule) -> Self {
        Self { service, rule, dice: Dice::new(), observers: Observers::none() }
    }

    /// Where the draws come from. Default fair ones.
    #[must_use]
    pub fn with_dice(mut self, dice: Dice) -> Self {
        self.dice = dice;
        self
    }

    /// Who is told of each fault.
    #[must_use]
    pub fn with_observers(mut self, observers: Observers) -> Self {
        self.observers = observers;
        self
    }
}

impl<S> Layer<S> for FaultLayer {
    type Service = InjectFault<S>;

    fn layer(&self, inner: S) -> InjectFault<S> {
        InjectFault::new(inner, Arc::new(self.clone()))
    }
}
