//! Names, matchers, splits and header edits of the routes.

use http::HeaderName;

use super::covers::covers;
use crate::check::Findings;
use crate::finding::Rule;
use crate::model::{Policy, Route};
use crate::scalar::nearest;
use crate::source::Span;
use crate::tree::{Node, shown};
use crate::view::{View, first_items};

pub(super) fn check(policy: &Policy, tree: &Node, out: &mut Findings<'_>) {
    let items = tree.get("routes").map(first_items).unwrap_or_default();
    for (at, (item, route)) in items.iter().zip(&policy.routes).enumerate() {
        let path = format!("routes[{at}]");
        name(&policy.routes, items, at, out);
        if let Some(node) = item.get("match") {
            matching(node, &format!("{path}.match"), out);
        }
        unreachable(&policy.routes, items, at, out);
        split(policy, item, &path, out);
        mirror(policy, item, &path, out);
        if let Some(node) = item.get("headers") {
            for side in ["request", "response"] {
                let below = format!("{path}.headers.{side}");
                edits(node.get(side), &below, out);
            }
        }
        fault(route, item, &path, out);
    }
    unused(policy, tree, out);
}

fn name(routes: &[Route], items: &[Node], at: usize, out: &mut Findings<'_>) {
    let subject = format!("routes[{at}].name");
    if out.touches(&subject) {
        return;
    }
    let span = |at: usize| items[at].get("name").unwrap_or(&items[at]).span;
    let name = &routes[at].name;
    if name.as_str() == "default" {
        let fix = "give it another name; `default` is what no route matches";
        out.add(Rule::DuplicateName, span(at), &subject, "a route may not be named `default`", fix);
    }
    if let Some(first) = routes[..at].iter().position(|route| route.name == *name) {
        let message = format!("two routes are named `{name}`");
        let fix = "circuits, metrics and spans are told apart by the name: give each its own";
        let also = (span(first), "first here");
        out.add_with(Rule::DuplicateName, span(at), &subject, message, fix, also);
    }
}

pub(super) fn matching(node: &Node, path: &str, out: &mut Findings<'_>) {
    let keys = ["path_exact", "path_prefix", "path_regex"];
    let mut given = node.entries().iter().filter(|(key, _)| keys.contains(&&*key.name));
    if let (Some((first, _)), Some((second, _))) = (given.next(), given.next()) {
        let message = format!("`{path}` has `{}` and `{}`", first.name, second.name);
        let fix = "keep one of them; two routes do what one of two paths should";
        let also = (first.span, "and this");
        out.add_with(Rule::Contradiction, second.span, path, message, fix, also);
    }
    if let Some(methods) = node.get("methods") {
        empty_list(methods, &format!("{path}.methods"), "every method", out);
    }
}

pub(super) fn empty_list(node: &Node, path: &str, all: &str, out: &mut Findings<'_>) {
    if matches!(&node.value, crate::tree::Value::List(items) if items.is_empty()) {
        let message = format!("`{path}` is an empty list, which would hold nothing");
        let fix = format!("leave it out for {all}");
        out.add(Rule::Contradiction, node.span, path, message, fix);
    }
}

fn unreachable(routes: &[Route], items: &[Node], at: usize, out: &mut Findings<'_>) {
    let own = format!("routes[{at}].match");
    if out.touches(&own) {
        return;
    }
    let inner = &routes[at].matcher;
    let taken = |first: &usize| {
        let theirs = format!("routes[{first}].match");
        !out.touches(&theirs) && covers(&routes[*first].matcher, inner)
    };
    let Some(first) = (0..at).find(taken) else { return };
    let span = |at: usize| {
        let start = items[at].entry("match").map(|(key, node)| key.span.to(node.span));
        start.unwrap_or_else(|| Span::new(items[at].span.start, items[at].span.start + 1))
    };
    let message = format!(
        "no request reaches route `{}`: route `{}` before it takes all of them",
        routes[at].name, routes[first].name
    );
    let fix = "the first route that matches wins: put the narrower one first, or remove it";
    out.add_with(Rule::Unreachable, span(at), &own, message, fix, (span(first), "takes them"));
}

/// A name of a subset that must be there.
fn subset(policy: &Policy, node: Option<&Node>, path: &str, out: &mut Findings<'_>) {
    let Some(node) = node else { return };
    let Some(name) = node.scalar() else { return };
    if policy.subsets.contains_key(name) || out.touches(path) {
        return;
    }
    let known = || policy.subsets.keys().map(|name| &**name);
    let fix = match nearest(name, known()) {
        Some(near) => format!("did you mean `{near}`?"),
        None if policy.subsets.is_empty() => {
            format!("add it: `subsets: {{ {}: {{ language: rust }} }}`", shown(name))
        }
        None => format!("known are {}", crate::fields::or(known().map(|name| format!("`{name}`")))),
    };
    let message = format!("there is no subset `{}`", shown(name));
    out.add(Rule::DanglingSubset, node.span, path, message, fix);
}

fn split(policy: &Policy, item: &Node, path: &str, out: &mut Findings<'_>) {
    let sticky = item.entry("sticky");
    let Some((key, node)) = item.entry("split") else {
        if let Some((key, _)) = sticky {
            let subject = format!("{path}.sticky");
            let fix = "add `split`, or remove it";
            let message = "`sticky` has nothing to stick to: the route has no `split`";
            out.add(Rule::UnusedKey, key.span, &subject, message, fix);
        }
        return;
    };
    let own = format!("{path}.split");
    let parts = first_items(node);
    if parts.is_empty() && !out.touches(&own) {
        let fix = "leave it out for all instances";
        out.add(Rule::Weights, node.span, &own, "`split` is an empty list", fix);
        return;
    }
    for (at, part) in parts.iter().enumerate() {
        let below = format!("{own}[{at}]");
        subset(policy, part.get("subset"), &format!("{below}.subset"), out);
        let twice = |other: &&Node| {
            other.get("subset").and_then(Node::scalar) == part.get("subset").and_then(Node::scalar)
        };
        if let Some(first) = parts[..at].iter().find(twice)
            && let Some(name) = part.get("subset")
        {
            let message =
                format!("the subset `{}` stands twice", shown(name.scalar().unwrap_or_default()));
            let also = (first.span, "first here");
            out.add_with(
                Rule::DuplicateName,
                name.span,
                &below,
                message,
                "add their weights up",
                also,
            );
        }
        if parts.len() > 1 && part.get("weight").is_none() && part.get("subset").is_some() {
            let message = format!("`{below}` has no `weight`");
            let fix = "where there are several parts each needs one, and they sum to 100";
            out.add(Rule::MissingKey, part.span, &format!("{below}.weight"), message, fix);
        }
    }
    if out.touches(&own) {
        return;
    }
    let weights = parts.iter().map(|part| View::of(part).int::<u64>("weight"));
    let alone = parts.len() == 1;
    let sum: u64 = weights.map(|weight| weight.unwrap_or(if alone { 100 } else { 0 })).sum();
    if sum != 100 {
        let written: Vec<_> =
            parts.iter().filter_map(|part| part.get("weight").and_then(Node::scalar)).collect();
        let message =
            format!("the weights sum to {sum} ({}); they must sum to 100", written.join(" + "));
        let fix = if sum < 100 {
            format!("{} is missing", 100 - sum)
        } else {
            format!("{} is too much", sum - 100)
        };
        out.add(Rule::Weights, key.span.to(node.span), &own, message, fix);
    }
}

fn mirror(policy: &Policy, item: &Node, path: &str, out: &mut Findings<'_>) {
    if let Some(node) = item.get("mirror") {
        subset(policy, node.get("subset"), &format!("{path}.mirror.subset"), out);
    }
}

/// Whether a header is not a policy's to change.
fn is_reserved(name: &HeaderName) -> bool {
    const NAMES: &[&str] = &[
        "host",
        "content-length",
        "transfer-encoding",
        "connection",
        "keep-alive",
        "te",
        "trailer",
        "upgrade",
        "proxy-connection",
        "proxy-authenticate",
        "proxy-authorization",
        "traceparent",
        "tracestate",
        "b3",
        "grpc-timeout",
        "grpc-status",
        "grpc-message",
        "expect",
        "http2-settings",
    ];
    NAMES.contains(&name.as_str()) || name.as_str().starts_with("x-outrigger-")
}

fn edits(node: Option<&Node>, path: &str, out: &mut Findings<'_>) {
    let Some(node) = node else { return };
    let keyed = ["set", "add"].into_iter().flat_map(|key| {
        let entries = node.get(key).map(Node::entries).unwrap_or_default();
        entries.iter().map(move |(name, _)| (key, &*name.name, name.span))
    });
    let listed = node.get("remove").map(Node::items).unwrap_or_default();
    let listed = listed.iter().filter_map(|item| Some(("remove", item.scalar()?, item.span)));
    let mut seen: Vec<(&str, HeaderName, Span)> = Vec::new();
    for (key, text, span) in keyed.chain(listed) {
        let Ok(name) = HeaderName::from_bytes(text.as_bytes()) else { continue };
        let subject = format!("{path}.{key}");
        if is_reserved(&name) {
            let message = format!("the header `{name}` may not be edited");
            let fix = "framing, connection, trace and `x-outrigger-*` headers are what the rules go by; \
                       use a name of your own";
            out.add(Rule::ReservedHeader, span, &subject, message, fix);
        }
        let twice = seen.iter().find(|(other, named, _)| {
            *named == name && (*other == key || key != "remove" || *other == "set")
        });
        if let Some((other, _, first)) = twice {
            let contradicts = *other == key || key == "remove";
            if contradicts {
                let message = format!("the header `{name}` stands in `{other}` and in `{key}`");
                let fix = if *other == key {
                    "names are compared without regard to case: keep one of them"
                } else {
                    "`remove` comes first and `set` replaces every value anyway: keep one of them"
                };
                out.add_with(
                    Rule::Contradiction,
                    span,
                    &subject,
                    message,
                    fix,
                    (*first, "and here"),
                );
            }
        }
        seen.push((key, name, span));
    }
}

fn fault(route: &Route, item: &Node, path: &str, out: &mut Findings<'_>) {
    let Some(fault) = route.fault else { return };
    let ratios = [
        ("delay", fault.delay.map(|delay| delay.ratio)),
        ("abort", fault.abort.map(|abort| abort.ratio)),
    ];
    for (key, ratio) in ratios {
        if ratio == Some(outrigger_core::Ratio::ONE)
            && let Some(node) =
                item.get("fault").and_then(|node| node.get(key)).and_then(|node| node.get("ratio"))
        {
            let subject = format!("{path}.fault.{key}.ratio");
            let message = format!("`{key}` hits every request of the route");
            let fix = "match some requests, for instance by a header, or lower the ratio";
            out.add(Rule::FaultForAll, node.span, &subject, message, fix);
        }
    }
}

fn unused(policy: &Policy, tree: &Node, out: &mut Findings<'_>) {
    let Some(subsets) = tree.get("subsets") else { return };
    for (key, _) in subsets.entries() {
        let used = |route: &Route| {
            let split = route.split.iter().flat_map(|split| &split.parts).map(|part| &part.subset);
            split
                .chain(route.mirror.as_ref().map(|mirror| &mirror.subset))
                .any(|name| **name == *key.name)
        };
        let subject = format!("subsets.{}", shown(&key.name));
        if !policy.routes.iter().any(used) && !out.touches("routes") && !out.touches(&subject) {
            let message = format!("no route uses the subset `{}`", shown(&key.name));
            let fix = "use it in a `split` or `mirror`, or remove it";
            out.add(Rule::UnusedSubset, key.span, &subject, message, fix);
        }
    }
}
