use std::sync::Arc;

use tower_layer::Layer;

use super::{Split, SplitRule};
use crate::{Dice, HashOn};

/// Chooses the subset of each request.
#[derive(Clone, Debug)]
pub struct SplitLayer {
    pub(super) rule: SplitRule,
    pub(super) sticky: Option<HashOn>,
    pub(super) dice: Dice,
}

impl SplitLayer {
    /// By these shares.
    #[must_use]
    pub const fn new(rule: SplitRule) -> Self {
        Self { rule, sticky: None, dice: Dice::new() }
    }

    /// What keeps a caller on one side; a request that lacks it is drawn by lot. Default nothing.
    #[must_use]
    pub fn with_sticky(mut self, sticky: Option<HashOn>) -> Self {
        self.sticky = sticky;
        self
    }

    /// Where the draws come from. Default fair ones.
    #[must_use]
    pub fn with_dice(mut self, dice: Dice) -> Self {
        self.dice = dice;
        self
    }
}

impl<S> Layer<S> for SplitLayer {
    type Service = Split<S>;

    fn layer(&self, inner: S) -> Split<S> {
        Split::new(inner, Arc::new(self.clone()))
    }
}
