//! What a policy's route does beside the rules: splits, faults, header edits.

use std::collections::BTreeMap;
use std::sync::Arc;

use outrigger_core::BoxError;
use outrigger_policy as policy;
use outrigger_policy::RoutePlan;
use outrigger_tower::{
    FaultLayer, FaultRule, HeaderEditLayer, HeaderEdits, SplitLayer, SplitRule, TimeoutLayer,
};
use tower::util::option_layer;
use tower_layer::Layer;

use super::{Ingredients, RichTries, boxed};
use crate::table::hash_on;

/// Whether a route needs more than the one future of the plain way.
pub(super) fn is_rich(plan: &RoutePlan) -> bool {
    plan.fault.is_some() || has_edits(plan)
}

fn has_edits(plan: &RoutePlan) -> bool {
    !plan.headers.request.is_empty() || !plan.headers.response.is_empty()
}

/// The draw among subsets, by the keys under which the endpoint set knows them.
pub(super) fn split(plan: &RoutePlan, keys: &BTreeMap<Arc<str>, Arc<str>>) -> Option<SplitLayer> {
    let split = plan.split.as_ref()?;
    let key = |name: &Arc<str>| Arc::clone(keys.get(name).unwrap_or(name));
    let sides = split.parts.iter().map(|part| (key(&part.subset.name), part.weight));
    // A split without any weight is none; whoever reads policies refuses it.
    let rule = SplitRule::new(sides).ok()?;
    Some(SplitLayer::new(rule).with_sticky(split.sticky.as_ref().and_then(hash_on)))
}

/// What stands between circuit and fault.
pub(super) struct Timed {
    pub(super) split: Option<SplitLayer>,
    pub(super) timeout: TimeoutLayer,
}

/// Puts the rest of a route around its tries, outermost: header edits, fault, timeout, split.
pub(super) fn around(
    timed: Timed,
    tries: RichTries,
    with: &Ingredients<'_>,
) -> Result<RichTries, BoxError> {
    let timed = timed.timeout.layer(option_layer(timed.split).layer(tries));
    let Some(plan) = with.plan else { return Ok(boxed(timed)) };
    let fault = plan.fault.as_ref().map(|fault| {
        FaultLayer::new(with.service.clone(), fault_rule(fault))
            .with_observers(with.observers.clone())
    });
    let edits = if has_edits(plan) {
        let (request, response) = (&plan.headers.request, &plan.headers.response);
        Some(HeaderEditLayer::new(edits(request)?, edits(response)?))
    } else {
        None
    };
    Ok(boxed(option_layer(edits).layer(option_layer(fault).layer(timed))))
}

fn fault_rule(fault: &policy::Fault) -> FaultRule {
    let mut rule = FaultRule::new();
    if let Some(delay) = &fault.delay {
        rule = rule.with_delay(delay.ratio, delay.span);
    }
    if let Some(abort) = &fault.abort {
        rule = rule.with_abort(abort.ratio, abort.status);
    }
    rule
}

fn edits(written: &policy::HeaderEdits) -> Result<HeaderEdits, BoxError> {
    let mut edits = HeaderEdits::new();
    for name in &written.remove {
        edits = edits.remove(name.clone())?;
    }
    for (name, value) in &written.set {
        edits = edits.set(name.clone(), value.clone())?;
    }
    for (name, value) in &written.add {
        edits = edits.add(name.clone(), value.clone())?;
    }
    Ok(edits)
}
