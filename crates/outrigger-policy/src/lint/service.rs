//! What concerns the service as a whole.

use outrigger_core::Ratio;
use outrigger_limit::{Gradient2Config, RateLimitConfig};

use crate::check::Findings;
use crate::finding::Rule;
use crate::model::Policy;
use crate::scalar::write_duration;
use crate::tree::Node;
use crate::view::View;

pub(super) fn check(policy: &Policy, top: &View<'_>, out: &mut Findings<'_>) {
    if let Some(node) = top.get("service")
        && node.is_word("_default")
    {
        let fix = "remove `service`: a policy without one is the fleet's default, and `_default.yaml` its file";
        let message = "`_default` is no service";
        out.add(Rule::Contradiction, node.span, "service", message, fix);
    }
    eject(policy, &top.section("eject"), out);
    balance(policy, top, out);
    let capacity = top.section("capacity");
    if let Some(limits) = &policy.capacity {
        adaptive(
            limits.adaptive.as_ref(),
            limits.max_requests,
            "max_requests",
            &capacity,
            "capacity",
            out,
        );
    }
    let items = top.items("rate_limits").unwrap_or_default();
    buckets(policy.rate_limits.iter().map(|rate| &rate.limit), items, "rate_limits", out);
    names(items, "rate_limits", out);
    if let (Some(node), Some(timeout)) = (top.get("connect_timeout"), policy.rules.timeout)
        && policy.connect_timeout > timeout
        && !out.touches("timeout")
        && !out.touches("connect_timeout")
    {
        let message = format!(
            "`connect_timeout` is {}, longer than the `timeout` of {}",
            write_duration(policy.connect_timeout),
            write_duration(timeout)
        );
        let fix =
            "a connection that takes so long leaves no time for the answer, or for another try";
        out.add(Rule::TimeNeverReached, node.span, "connect_timeout", message, fix);
    }
}

fn eject(policy: &Policy, view: &View<'_>, out: &mut Findings<'_>) {
    let Some(eject) = &policy.eject else { return };
    if out.touches("eject") {
        return;
    }
    if eject.max_time < eject.base_time
        && let Some(node) = view.get("max_time").or_else(|| view.get("base_time"))
    {
        let message = format!(
            "`max_time` is {}, shorter than the `base_time` of {}",
            write_duration(eject.max_time),
            write_duration(eject.base_time)
        );
        let fix = format!("allowed is {} to 24h", write_duration(eject.base_time));
        out.add(Rule::Contradiction, node.span, "eject.max_time", message, fix);
    }
    if let Some(node) = view.get("max_ejected") {
        if eject.max_ejected == Ratio::ONE {
            let message = "`max_ejected: 1.0` lets one bad deploy take every endpoint out";
            let fix = "0.5 keeps half of them; `balance.panic_below` is then the only floor";
            out.add(Rule::EjectAll, node.span, "eject.max_ejected", message, fix);
        }
        if eject.max_ejected == Ratio::ZERO {
            let message = "`max_ejected: 0` ejects nobody";
            out.add(
                Rule::Contradiction,
                node.span,
                "eject.max_ejected",
                message,
                "write `eject: none`",
            );
        }
    }
    if let Some(node) = view.get("min_requests")
        && eject.success_ratio_below.is_none()
    {
        let message =
            "`min_requests` is given, and there is no `success_ratio_below` that looks at it";
        out.add(
            Rule::UnusedKey,
            node.span,
            "eject.min_requests",
            message,
            "add it, or remove this one",
        );
    }
}

fn balance(policy: &Policy, top: &View<'_>, out: &mut Findings<'_>) {
    let view = top.section("balance");
    let algorithm = policy.balance.algorithm;
    let keyed = policy.rules.hash_on.is_some()
        || policy.routes.iter().any(|route| route.rules.hash_on.is_some());
    if let Some(node) = view.get("algorithm")
        && algorithm.is_hashing()
        && !keyed
        && !out.touches("balance")
    {
        let message = format!("the algorithm `{}` has nothing to hash", algorithm.as_str());
        let fix = "add `hash_on`, for instance `hash_on: { header: x-user-id }`";
        out.add(Rule::HashWithoutKey, node.span, "balance.algorithm", message, fix);
    }
    let items = view.items("failover").unwrap_or_default();
    for (at, item) in items.iter().enumerate() {
        if let Some(first) = items[..at].iter().find(|first| first.scalar() == item.scalar()) {
            let subject = format!("balance.failover[{at}]");
            let message =
                format!("the datacenter `{}` stands twice", item.scalar().unwrap_or_default());
            let also = (first.span, "first here");
            out.add_with(
                Rule::DuplicateName,
                item.span,
                &subject,
                message,
                "remove one of them",
                also,
            );
        }
    }
}

/// An adaptive limit under a fixed one.
pub(super) fn adaptive(
    config: Option<&Gradient2Config>,
    most: u32,
    fixed: &str,
    view: &View<'_>,
    path: &str,
    out: &mut Findings<'_>,
) {
    let (Some(config), Some(node)) = (config, view.get("adaptive")) else { return };
    if out.touches(path) {
        return;
    }
    let key = format!("{path}.adaptive");
    if config.min > config.max || config.initial > config.max || config.initial < config.min {
        let message = format!(
            "an adaptive limit starts at {}, between {} and {}",
            config.initial, config.min, config.max
        );
        out.add(
            Rule::Contradiction,
            node.span,
            &key,
            message,
            "`min` ≤ `initial` ≤ `max` must hold",
        );
    } else if config.min.get() > most {
        let message =
            format!("the smallest adaptive limit is {}, above the `{fixed}` of {most}", config.min);
        let fix = format!("allowed is `adaptive.min` from 1 to {most}");
        out.add(Rule::Contradiction, node.span, &key, message, fix);
    }
}

/// Buckets that no state of ours could hold.
pub(super) fn buckets<'c>(
    limits: impl Iterator<Item = &'c RateLimitConfig>,
    items: &[Node],
    path: &str,
    out: &mut Findings<'_>,
) {
    if out.touches(path) {
        return;
    }
    for (at, (limit, item)) in limits.zip(items).enumerate() {
        if let Err(error) = limit.validate() {
            let subject = format!("{path}[{at}]");
            let message =
                format!("the bucket is too large: a burst of {} at {}", error.value, limit.rate);
            let fix = format!("allowed is {}", error.allowed);
            out.add(Rule::Value, item.span, &subject, message, fix);
        }
    }
}

/// Names that stand twice.
pub(super) fn names(items: &[Node], path: &str, out: &mut Findings<'_>) {
    for (at, item) in items.iter().enumerate() {
        let Some(name) = item.get("name") else { continue };
        let same = |other: &&Node| other.get("name").and_then(Node::scalar) == name.scalar();
        if let Some(first) = items[..at].iter().find(same) {
            let subject = format!("{path}[{at}].name");
            let message = format!("two rates are named `{}`", name.scalar().unwrap_or_default());
            let also = (first.get("name").map_or(first.span, |node| node.span), "first here");
            let fix = "metrics are told apart by the name: give each its own";
            out.add_with(Rule::DuplicateName, name.span, &subject, message, fix, also);
        }
    }
}
