//! What the service itself reads.

use std::sync::Arc;

use outrigger_core::Ratio;
use outrigger_limit::WhenFull;

use super::outbound::{adaptive, bucket, grpc_status, nonzero, set};
use super::route::{hash_key, matcher, methods};
use crate::model::{
    AccessLog, Authorize, AuthorizeMode, AuthorizeRule, Concurrency, From, HashKey, Inbound,
    InboundRate, PathPattern, Per, Shed, Telemetry, Verdict,
};
use crate::tree::Node;
use crate::view::{Part, View, text};

pub(super) fn read(top: &View<'_>) -> Option<Inbound> {
    let Part::On(view) = top.part("inbound") else { return None };
    let mut inbound = Inbound { grpc_status: grpc_status(&view), ..Inbound::default() };
    inbound.body_limit = view.bytes("body_limit");
    let rates = view.items("rate_limits").unwrap_or_default();
    inbound.rate_limits =
        rates.iter().enumerate().filter_map(|(at, item)| rate(at, item)).collect();
    if let Part::On(view) = view.part("concurrency") {
        let mut concurrency = Concurrency::default();
        set(&mut concurrency.max_in_flight, view.int("max_in_flight"));
        concurrency.adaptive = adaptive(&view);
        inbound.concurrency = Some(concurrency);
    }
    if let Part::On(view) = view.part("shed") {
        let cpu_above = view.ratio("cpu_above").unwrap_or(Ratio::from_percent(90));
        inbound.shed = Some(Shed { cpu_above });
    }
    if let Part::On(view) = view.part("authorize") {
        inbound.authorize = Some(authorize(&view));
    }
    Some(inbound)
}

/// The name of the rate at a place.
pub(crate) fn rate_name(at: usize, item: &Node) -> Arc<str> {
    let given = item.get("name").and_then(text);
    given.map_or_else(|| format!("limit-{}", at + 1).into(), Arc::from)
}

fn rate(at: usize, item: &Node) -> Option<InboundRate> {
    let view = View::of(item);
    let mut rate = InboundRate::new(rate_name(at, item), bucket(&view)?);
    set(&mut rate.limit.max_keys, nonzero(&view, "max_keys"));
    if view.text("when_full") == Some("refuse") {
        rate.limit.when_full = WhenFull::Refuse;
    }
    rate.matcher = matcher(&view.section("match"));
    rate.per = match (view.text("per"), view.get("per").and_then(hash_key)) {
        (Some("caller"), _) => Per::Caller,
        (Some("client_address"), _) => Per::ClientAddress,
        (Some("path"), _) => Per::Path,
        (None, Some(HashKey::Header(name))) => Per::Header(name),
        (None, Some(HashKey::Query(name))) => Per::Query(name),
        _ => Per::Service,
    };
    Some(rate)
}

fn authorize(view: &View<'_>) -> Authorize {
    let rules = |key| view.items(key).unwrap_or_default().iter().map(rule).collect();
    Authorize {
        mode: match view.text("mode") {
            Some("observe") => AuthorizeMode::Observe,
            _ => AuthorizeMode::Enforce,
        },
        default: match view.text("default") {
            Some("allow") => Verdict::Allow,
            _ => Verdict::Deny,
        },
        deny: rules("deny"),
        allow: rules("allow"),
    }
}

fn rule(item: &Node) -> AuthorizeRule {
    let view = View::of(item);
    let from = view.items("from").unwrap_or_default().iter().filter_map(text);
    let paths = view.items("paths").unwrap_or_default().iter().filter_map(text);
    let from = from.filter_map(|name| match name {
        "*" => Some(From::AnyService),
        name => name.parse().ok().map(From::Service),
    });
    AuthorizeRule {
        from: from.collect(),
        methods: methods(&view),
        paths: paths.filter_map(PathPattern::new).collect(),
    }
}

pub(super) fn telemetry(top: &View<'_>) -> Telemetry {
    let view = top.section("telemetry");
    let mut telemetry = Telemetry::default();
    set(&mut telemetry.sample, view.ratio("sample"));
    telemetry.access_log = match view.text("access_log") {
        Some("none") => AccessLog::None,
        Some("all") => AccessLog::All,
        _ => AccessLog::Errors,
    };
    telemetry
}
