//! What a policy's route does beside the rules: splits, mirrors, fallbacks, faults, header edits.

use std::collections::BTreeMap;
use std::sync::Arc;

use http::Request;
use outrigger_core::{BoxError, Call};
use outrigger_policy as policy;
use outrigger_policy::RoutePlan;
use outrigger_tower::{
    Compare, Elsewhere, FallbackAnswer, FallbackLayer, FaultLayer, FaultRule, FixedAnswer,
    FusedRules, HeaderEditLayer, HeaderEdits, MirrorLayer, MirrorRule, SplitLayer, SplitRule,
    TeeBody,
};
use tower::util::{MapRequestLayer, option_layer};
use tower_layer::Layer;

use super::{Ingredients, RichTries, boxed, one_try, sent_once};
use crate::Body;
use crate::table::hash_on;

/// Whether a route needs more than the one future of the plain way.
pub(super) fn is_rich(plan: &RoutePlan) -> bool {
    plan.fault.is_some() || plan.mirror.is_some() || has_edits(plan)
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

/// What is answered while the route's circuit is open.
pub(super) fn fallback(with: &Ingredients<'_>) -> Option<FallbackLayer<Body>> {
    let (circuit, link) = (with.circuit?, with.link?);
    let answer = match with.plan?.breaker.as_ref()?.fallback.as_ref()? {
        policy::Fallback::Answer { status, content_type, body } => {
            let fixed = FixedAnswer::new(*status, body.clone());
            FallbackAnswer::Fixed(match content_type {
                Some(content_type) => fixed.with_content_type(content_type.clone()),
                None => fixed,
            })
        }
        policy::Fallback::Service(name) => {
            FallbackAnswer::Service(Elsewhere::new(link.to(name.clone())))
        }
        // A word that is newer than this crate: the refusal.
        _ => return None,
    };
    let layer = FallbackLayer::new(with.service.clone(), circuit.breaker().clone(), answer);
    Some(layer.with_observers(with.observers.clone()))
}

/// What goes between the circuit and whatever stands around the timeout.
pub(super) struct Inner<'a> {
    pub(super) split: Option<SplitLayer>,
    pub(super) parts: &'a FusedRules,
    pub(super) tries: RichTries,
}

/// Puts the rest of a route around its tries, outermost: header edits, fault, timeout, mirror,
/// split.
pub(super) fn around(
    Inner { split, parts, tries }: Inner<'_>,
    with: &Ingredients<'_>,
) -> Result<RichTries, BoxError> {
    let tries = boxed(option_layer(split).layer(tries));
    let tries = match mirror(parts, with) {
        None => tries,
        Some(mirror) => {
            let whole =
                |call: Call<Request<TeeBody<Body>>>| call.map(|request| request.map(Body::new));
            boxed(mirror.layer(MapRequestLayer::new(whole).layer(tries)))
        }
    };
    let timed = parts.timeout.layer(tries);
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

/// Copies of the route's requests, each one try on an endpoint of the mirror's subset.
fn mirror(parts: &FusedRules, with: &Ingredients<'_>) -> Option<MirrorLayer> {
    let (mirror, seen) = (with.plan?.mirror.as_ref()?, with.mirrored.as_ref()?);
    let name = &mirror.subset.name;
    let subset = Arc::clone(with.subsets.get(name).unwrap_or(name));
    let compare = mirror.compare.as_ref();
    let compare = compare.map(|compare| Compare::new(compare.headers.clone(), compare.body_limit));
    let rule = MirrorRule::new()
        .with_ratio(mirror.ratio)
        .with_subset(Some(subset))
        .with_body_limit(mirror.body_limit)
        .with_compare(compare);
    let wire = with.telemetry.try_layer().layer(with.pools.pool());
    // Copies have a bound of their own: they take nothing of what requests may use.
    let one = one_try(parts, None, wire, with.service);
    let target = Elsewhere::new(MapRequestLayer::new(sent_once).layer(one));
    let layer = MirrorLayer::new(with.service.clone(), rule, target, Arc::clone(seen));
    Some(layer.with_observers(with.observers.clone()))
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

/// The changes of heads, as the layer takes them.
pub(super) fn edits(written: &policy::HeaderEdits) -> Result<HeaderEdits, BoxError> {
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
