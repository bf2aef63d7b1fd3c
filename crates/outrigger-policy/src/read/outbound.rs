//! What concerns the service as a whole.

use std::num::NonZeroU32;
use std::sync::Arc;

use outrigger_balance::{
    Algorithm, BalanceConfig, EjectConfig, ErrorClass, Locality, SlowStart, Subset,
};
use outrigger_core::Language;
use outrigger_limit::{Gradient2Config, Mode, RateLimitConfig};

use super::route;
use crate::model::{Capacity, GrpcStatus, MeshAddress, OutboundRate, Policy, PolicyProtocol, Tls};
use crate::tree::Node;
use crate::view::{Part, View, text};

pub(super) fn read(top: &View<'_>) -> Policy {
    let mut policy = Policy {
        service: top.text("service").and_then(|name| name.parse().ok()),
        rules: route::rules(top, &route::budget(top)),
        grpc_status: grpc_status(top),
        ..Policy::default()
    };
    if top.text("protocol") == Some("grpc") {
        policy.protocol = PolicyProtocol::Grpc;
    }
    if let Some(span) = top.duration("connect_timeout") {
        policy.connect_timeout = span;
    }
    if let Part::On(tls) = top.part("tls") {
        policy.tls = Some(Tls {
            ca: tls.text("ca").map(Arc::from),
            sni: tls.text("sni").map(Arc::from),
            san: match tls.get("san") {
                None => Vec::new(),
                Some(one) => match text(one) {
                    Some(name) => vec![name.into()],
                    None => one.items().iter().filter_map(text).map(Arc::from).collect(),
                },
            },
        });
    }
    if let Part::On(mesh) = top.part("mesh") {
        let port = mesh.int("port").unwrap_or(80);
        policy.mesh = Some(MeshAddress { host: mesh.text("host").map(Arc::from), port });
    }
    policy.balance = balance(&top.section("balance"));
    match top.part("eject") {
        Part::Off => policy.eject = None,
        Part::On(view) => policy.eject = Some(eject(&view)),
        Part::Absent | Part::Word => {}
    }
    if let Part::On(view) = top.part("capacity") {
        policy.capacity = Some(capacity(&view));
    }
    for item in top.items("rate_limits").unwrap_or_default() {
        let view = View::of(item);
        if let Some(limit) = bucket(&view) {
            policy.rate_limits.push(OutboundRate { name: view.text("name").map(Arc::from), limit });
        }
    }
    policy.subsets = top.pairs("subsets").map(|(name, node)| (name.into(), subset(node))).collect();
    policy
}

pub(super) fn grpc_status(view: &View<'_>) -> GrpcStatus {
    match view.text("grpc_status") {
        Some("resource_exhausted") => GrpcStatus::ResourceExhausted,
        _ => GrpcStatus::Unavailable,
    }
}

/// A bucket; `None` without a rate.
pub(super) fn bucket(view: &View<'_>) -> Option<RateLimitConfig> {
    let mut limit = RateLimitConfig::new(view.parse("rate")?);
    limit.burst = view.int::<u32>("burst").and_then(NonZeroU32::new);
    if view.text("mode") == Some("observe") {
        limit.mode = Mode::Observe;
    }
    Some(limit)
}

fn balance(view: &View<'_>) -> BalanceConfig {
    let mut config = BalanceConfig::default();
    if let Some(word) = view.text("algorithm")
        && let Some(known) = Algorithm::ALL.into_iter().find(|known| known.as_str() == word)
    {
        config.algorithm = known;
    }
    match view.part("slow_start") {
        Part::Off => config.slow_start = None,
        Part::On(view) => {
            let mut slow = SlowStart::default();
            set(&mut slow.window, view.duration("window"));
            set(&mut slow.aggression, view.float("aggression"));
            set(&mut slow.floor, view.ratio("floor"));
            config.slow_start = Some(slow);
        }
        Part::Absent | Part::Word => {}
    }
    match view.part("locality") {
        Part::Off => config.locality = None,
        Part::On(view) => {
            let mut locality = Locality::default();
            set(&mut locality.spill_below, view.ratio("spill_below"));
            config.locality = Some(locality);
        }
        Part::Absent | Part::Word => {}
    }
    let failover = view.items("failover").unwrap_or_default();
    config.failover = failover.iter().filter_map(text).map(Arc::from).collect();
    config.aperture = view.int::<u32>("aperture").and_then(NonZeroU32::new);
    set(&mut config.panic_below, view.ratio("panic_below"));
    config
}

fn eject(view: &View<'_>) -> EjectConfig {
    let mut config = EjectConfig::default();
    set(&mut config.consecutive_errors, nonzero(view, "consecutive_errors"));
    if view.text("errors") == Some("gateway") {
        config.errors = ErrorClass::Gateway;
    }
    set(&mut config.interval, view.duration("interval"));
    set(&mut config.base_time, view.duration("base_time"));
    set(&mut config.max_time, view.duration("max_time"));
    set(&mut config.max_ejected, view.ratio("max_ejected"));
    config.success_ratio_below = view.ratio("success_ratio_below");
    set(&mut config.min_requests, nonzero(view, "min_requests"));
    config
}

fn capacity(view: &View<'_>) -> Capacity {
    let mut capacity = Capacity::default();
    set(&mut capacity.max_requests, view.int("max_requests"));
    set(&mut capacity.max_connections, view.int("max_connections"));
    set(&mut capacity.max_pending, view.int("max_pending"));
    capacity.adaptive = adaptive(view);
    capacity
}

pub(super) fn adaptive(view: &View<'_>) -> Option<Gradient2Config> {
    let mut config = Gradient2Config::default();
    match view.part("adaptive") {
        Part::Absent | Part::Off => return None,
        Part::Word => {}
        Part::On(view) => {
            set(&mut config.initial, nonzero(&view, "initial"));
            set(&mut config.min, nonzero(&view, "min"));
            set(&mut config.max, nonzero(&view, "max"));
            set(&mut config.smoothing, view.ratio("smoothing"));
            set(&mut config.long_window, nonzero(&view, "long_window"));
            set(&mut config.tolerance_tenths, nonzero(&view, "tolerance_tenths"));
            set(&mut config.queue, view.int("queue"));
            set(&mut config.step, view.duration("step"));
            set(&mut config.min_samples, nonzero(&view, "min_samples"));
        }
    }
    Some(config)
}

fn subset(node: &Node) -> Subset {
    let view = View::of(node);
    let mut subset = Subset::default();
    subset.language = view.text("language").and_then(Language::named);
    subset.version = view.parse("version");
    subset.tag = view.text("tag").map(Arc::from);
    let meta = view.pairs("meta").filter_map(|(key, node)| Some((key.into(), text(node)?.into())));
    subset.meta = meta.collect();
    subset
}

pub(super) fn set<T>(field: &mut T, found: Option<T>) {
    if let Some(found) = found {
        *field = found;
    }
}

pub(super) fn nonzero(view: &View<'_>, key: &str) -> Option<NonZeroU32> {
    view.int::<u32>(key).and_then(NonZeroU32::new)
}
