use std::sync::Arc;

use outrigger_core::{Observers, ServiceName};
use outrigger_limit::CpuShed;
use tower_layer::Layer;

use super::Shed;
use crate::Dice;

/// Turns requests away while the machine has no CPU to spare.
#[derive(Clone, Debug)]
pub struct ShedLayer {
    pub(super) service: ServiceName,
    pub(super) shed: CpuShed,
    pub(super) dice: Dice,
    pub(super) observers: Observers,
}

impl ShedLayer {
    /// Requests of `service`, which is this process's own.
    #[must_use]
    pub const fn new(service: ServiceName, shed: CpuShed) -> Self {
        Self { service, shed, dice: Dice::new(), observers: Observers::none() }
    }

    /// Where the draws come from. Default fair ones.
    #[must_use]
    pub fn with_dice(mut self, dice: Dice) -> Self {
        self.dice = dice;
        self
    }

    /// Who is told of requests that would have been turned away, were the rule not only observed.
    #[must_use]
    pub fn with_observers(mut self, observers: Observers) -> Self {
        self.observers = observers;
        self
    }
}

impl<S> Layer<S> for ShedLayer {
    type Service = Shed<S>;

    fn layer(&self, inner: S) -> Shed<S> {
        Shed::new(inner, Arc::new(self.clone()))
    }
}
