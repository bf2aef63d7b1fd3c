use std::sync::Arc;

use outrigger_core::{Observers, ServiceName};
use tower_layer::Layer;

use super::{Mirror, MirrorBody, MirrorRule, Mirrored};
use crate::{Dice, Elsewhere};

/// Sends copies of requests elsewhere.
#[derive(Clone, Debug)]
pub struct MirrorLayer {
    pub(super) service: ServiceName,
    pub(super) rule: MirrorRule,
    pub(super) target: Elsewhere<MirrorBody>,
    pub(super) seen: Arc<Mirrored>,
    pub(super) dice: Dice,
    pub(super) observers: Observers,
}

impl MirrorLayer {
    /// Of requests to `service`; `seen` carries the counts, and the copies under way, from one
    /// policy to the next. `target` sends a copy once, without retries, a circuit or a
    /// mirror of its own. For a subset of the same service it begins at the
    /// [`Balance`](crate::Balance), which reads the subset from the context.
    #[must_use]
    pub fn new(
        service: ServiceName,
        rule: MirrorRule,
        target: Elsewhere<MirrorBody>,
        seen: Arc<Mirrored>,
    ) -> Self {
        seen.bound.set_limit(rule.max_in_flight);
        let (dice, observers) = (Dice::new(), Observers::none());
        Self { service, rule, target, seen, dice, observers }
    }

    /// Where the draws come from. Default fair ones.
    #[must_use]
    pub fn with_dice(mut self, dice: Dice) -> Self {
        self.dice = dice;
        self
    }

    /// Who is told of what became of each copy.
    #[must_use]
    pub fn with_observers(mut self, observers: Observers) -> Self {
        self.observers = observers;
        self
    }
}

impl<S> Layer<S> for MirrorLayer {
    type Service = Mirror<S>;

    fn layer(&self, inner: S) -> Mirror<S> {
        Mirror::new(inner, Arc::new(self.clone()))
    }
}
