//! Subsets by name, and the draw among them.

use std::sync::Arc;

use outrigger_balance::Subset;
use outrigger_core::Instance;

use crate::model::{HashKey, Split};

/// A subset and its name.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SubsetPlan {
    /// Its name in the policy.
    pub name: Arc<str>,
    /// Which instances belong to it; `None` is a name that stands for none.
    pub labels: Option<Subset>,
}

impl SubsetPlan {
    pub(super) fn new(name: &Arc<str>, labels: &Subset) -> Self {
        Self { name: Arc::clone(name), labels: Some(labels.clone()) }
    }

    /// The subset of a name, or one without instances.
    pub(super) fn find(name: &Arc<str>, among: &[Arc<Self>]) -> Arc<Self> {
        let found = among.iter().find(|subset| subset.name == *name);
        let nobody = || Arc::new(Self { name: Arc::clone(name), labels: None });
        found.map_or_else(nobody, Arc::clone)
    }

    /// Whether an instance belongs to it.
    #[must_use]
    pub fn contains(&self, instance: &Instance) -> bool {
        self.labels.as_ref().is_some_and(|labels| labels.contains(instance))
    }
}

/// The shares of a route.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SplitPlan {
    /// The shares in the order of the file.
    pub parts: Box<[SplitPlanPart]>,
    /// What keeps a caller on one side.
    pub sticky: Option<HashKey>,
    total: u64,
}

/// One share.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SplitPlanPart {
    /// Who serves it.
    pub subset: Arc<SubsetPlan>,
    /// Its weight.
    pub weight: u32,
    /// The sum of the weights up to this one: it gets what is drawn below and not by another.
    pub upto: u64,
}

impl SplitPlan {
    pub(super) fn of(split: &Split, subsets: &[Arc<SubsetPlan>]) -> Self {
        let mut total = 0;
        let part = |part: &crate::model::SplitPart| {
            total += u64::from(part.weight);
            let subset = SubsetPlan::find(&part.subset, subsets);
            SplitPlanPart { subset, weight: part.weight, upto: total }
        };
        let parts = split.parts.iter().map(part).collect();
        Self { parts, sticky: split.sticky.clone(), total }
    }

    /// The part of a request, by a uniform draw or by the hash of what `sticky` names; `None` only
    /// for a split without weight.
    ///
    /// Cost: one multiplication and a look at each part; no allocation.
    #[must_use]
    pub fn choose(&self, draw: u64) -> Option<&SplitPlanPart> {
        // The high half of the product is `draw` scaled to 0..total, without the bias of `%`.
        let at = ((u128::from(draw) * u128::from(self.total)) >> 64) as u64;
        self.parts.iter().find(|part| at < part.upto)
    }
}
