//! What the service itself reads.

use super::routes::{empty_list, matching};
use super::service::{adaptive, buckets, names};
use crate::check::Findings;
use crate::finding::Rule;
use crate::model::{Authorize, AuthorizeRule, Inbound, Per, Verdict};
use crate::tree::Node;
use crate::view::View;

pub(super) fn check(inbound: &Inbound, view: &View<'_>, out: &mut Findings<'_>) {
    let items = view.items("rate_limits").unwrap_or_default();
    let path = "inbound.rate_limits";
    buckets(inbound.rate_limits.iter().map(|rate| &rate.limit), items, path, out);
    names(items, path, out);
    for (at, (item, rate)) in items.iter().zip(&inbound.rate_limits).enumerate() {
        let below = format!("{path}[{at}]");
        if let Some(node) = item.get("match") {
            matching(node, &format!("{below}.match"), out);
        }
        for key in ["max_keys", "when_full"] {
            if rate.per == Per::Service
                && let Some((name, _)) = item.entry(key)
                && !out.touches(&below)
            {
                let message = format!("`{key}` is given, and the service has one bucket only");
                let fix = "give `per`, for instance `per: caller`, or remove it";
                out.add(Rule::UnusedKey, name.span, &format!("{below}.{key}"), message, fix);
            }
        }
    }
    if let Some(limits) = &inbound.concurrency {
        let below = view.section("concurrency");
        let path = "inbound.concurrency";
        adaptive(
            limits.adaptive.as_ref(),
            limits.max_in_flight,
            "max_in_flight",
            &below,
            path,
            out,
        );
    }
    if let Some(authorize) = &inbound.authorize {
        access(authorize, &view.section("authorize"), out);
    }
}

fn access(authorize: &Authorize, view: &View<'_>, out: &mut Findings<'_>) {
    let path = "inbound.authorize";
    for list in ["deny", "allow"] {
        for (at, item) in view.items(list).unwrap_or_default().iter().enumerate() {
            let below = format!("{path}.{list}[{at}]");
            for (key, all) in
                [("from", "anybody"), ("methods", "every method"), ("paths", "every path")]
            {
                if let Some(node) = item.get(key) {
                    empty_list(node, &format!("{below}.{key}"), all, out);
                }
            }
        }
    }
    if out.touches(path) {
        return;
    }
    let everything = AuthorizeRule::default();
    let first = |list: &str, at: usize| {
        view.items(list).and_then(|items| items.get(at)).map(|item: &Node| item.span)
    };
    if let Some(at) = authorize.deny.iter().position(|rule| *rule == everything)
        && let (Some(taken), Some(never)) = (first("deny", at), first("allow", 0))
    {
        let message = "no request reaches `allow`: a rule of `deny` names every request";
        let fix = "name callers, methods or paths in it; `default: deny` refuses the rest anyway";
        let subject = "inbound.authorize.allow";
        out.add_with(
            Rule::Unreachable,
            never,
            subject,
            message,
            fix,
            (taken, "names every request"),
        );
    }
    if authorize.default == Verdict::Allow
        && let Some(span) = first("allow", 0)
    {
        let message = "`allow` changes nothing: what no rule names is let through anyway";
        let fix = "set `default: deny`, or remove `allow`";
        out.add(Rule::UnusedKey, span, "inbound.authorize.allow", message, fix);
    }
    for (at, rule) in authorize.allow.iter().enumerate() {
        if rule.from.is_empty()
            && authorize.default == Verdict::Deny
            && let Some(span) = first("allow", at)
        {
            let message =
                "the rule has no `from`: it lets callers through that cannot prove who they are";
            let fix =
                "name the callers, or write `from: [\"*\"]` for every service that has an identity";
            let subject = format!("inbound.authorize.allow[{at}]");
            out.add(Rule::AuthorizeAll, span, &subject, message, fix);
        }
    }
}
