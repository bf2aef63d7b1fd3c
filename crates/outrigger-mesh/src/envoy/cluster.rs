//! The endpoints of one service: how they are chosen, bounded and taken out.

use outrigger_core::{Address, Instance};
use outrigger_policy::{Algorithm, ErrorClass, PolicyProtocol};

use super::{at, typed};
use crate::lines::{percent, seconds, whole_percent};
use crate::render::RenderError;
use crate::scene::Scene;
use crate::yaml::{Map, Yaml};

/// The cluster of one subset, for copies: a mirror names a cluster, and no part of one.
pub(super) fn of_subset(service: &str, subset: &str) -> String {
    format!("{service}/{subset}")
}

/// The key under which an endpoint says that it belongs to a subset.
pub(super) fn belongs(subset: &str) -> String {
    format!("subset-{subset}")
}

pub(super) fn all(scene: &Scene<'_>, instances: &[Instance]) -> Result<Vec<Map>, RenderError> {
    let policy = scene.policy;
    if instances.is_empty() && !policy.subsets.is_empty() {
        return Err(RenderError::NoInstances { service: scene.service.clone() });
    }
    let service = scene.service.as_str();
    let every: Vec<&Instance> = instances.iter().collect();
    let mut whole = one(scene, service, &every);
    if !policy.subsets.is_empty() {
        let selectors: Vec<Map> = policy
            .subsets
            .keys()
            .map(|name| {
                Map::new().with("keys", vec![belongs(name)]).with("fallback_policy", "NO_FALLBACK")
            })
            .collect();
        let config =
            Map::new().with("fallback_policy", "ANY_ENDPOINT").with("subset_selectors", selectors);
        whole = whole.said("lb_subset_config", config, scene.lines.service("subsets"));
    }
    let mut all = vec![whole];
    for (name, subset) in &policy.subsets {
        let mut mirrors = policy.routes.iter().filter_map(|route| route.mirror.as_ref());
        if mirrors.any(|mirror| mirror.subset == *name) {
            let members: Vec<&Instance> =
                instances.iter().filter(|instance| subset.contains(instance)).collect();
            all.push(one(scene, &of_subset(service, name), &members));
        }
    }
    Ok(all)
}

fn one(scene: &Scene<'_>, name: &str, instances: &[&Instance]) -> Map {
    let policy = scene.policy;
    let said = |key: &str| scene.lines.service(key);
    // Without instances their name is asked for; a subset without any stays empty.
    let asks = instances.is_empty() && name == scene.service.as_str();
    let is_named = instances.iter().any(|one| matches!(one.address, Address::Name(..)));
    let kind = if asks || is_named { "STRICT_DNS" } else { "STATIC" };
    let mut map = Map::new().with("name", name).with("type", kind).said(
        "connect_timeout",
        seconds(policy.connect_timeout),
        said("connect_timeout"),
    );
    if policy.protocol == PolicyProtocol::Grpc {
        let options = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions";
        let http2 = Map::new().with("http2_protocol_options", Map::new());
        let config = typed(options).with("explicit_http_config", http2);
        map = map.said(
            "typed_extension_protocol_options",
            Map::new().with(options, config),
            said("protocol"),
        );
    }
    if !instances.is_empty() && instances.iter().all(|instance| instance.protocol.is_tls()) {
        map = map.said("transport_socket", tls(scene), said("tls"));
    }
    map = balancer(scene, map);
    map = map.with("circuit_breakers", bounds(scene));
    if let Some(ejection) = ejection(scene) {
        map = map.said("outlier_detection", ejection, said("eject"));
    }
    let panic = Map::new().with("value", percent(policy.balance.panic_below.get()));
    let common = Map::new()
        .said("healthy_panic_threshold", panic, said("balance.panic_below"))
        // Without a window what is taken out or comes back counts at once.
        .with("update_merge_window", "0s");
    map = map.with("common_lb_config", common);
    let endpoints: Vec<Yaml> = if asks {
        vec![endpoint(scene.host(), scene.port()).into()]
    } else {
        instances.iter().map(|instance| known(scene, instance).into()).collect()
    };
    let assignment = Map::new()
        .with("cluster_name", name)
        .with("endpoints", vec![Map::new().with("lb_endpoints", endpoints)]);
    map.with("load_assignment", assignment)
}

fn endpoint(host: &str, port: u16) -> Map {
    Map::new().with("endpoint", Map::new().with("address", at(host, port)))
}

fn known(scene: &Scene<'_>, instance: &Instance) -> Map {
    let map = match &instance.address {
        Address::Name(name, port) => endpoint(name, *port),
        Address::Socket(socket) => endpoint(&socket.ip().to_string(), socket.port()),
        other => endpoint(&other.to_string(), other.port()),
    };
    let map = map.with("load_balancing_weight", u64::from(instance.weight().max(1)));
    let subsets = scene.policy.subsets.iter().filter(|(_, subset)| subset.contains(instance));
    let marks = subsets.fold(Map::new(), |map, (name, _)| map.with(belongs(name), "true"));
    if marks.is_empty() {
        return map;
    }
    let marks = Map::new().with("envoy.lb", marks);
    map.with("metadata", Map::new().with("filter_metadata", marks))
}

fn tls(scene: &Scene<'_>) -> Map {
    let tls = scene.policy.tls.clone().unwrap_or_default();
    let sni = tls.sni.as_deref().unwrap_or_else(|| scene.service.as_str());
    let ca = tls.ca.as_deref().unwrap_or("/etc/ssl/certs/ca-certificates.crt");
    let names: Vec<&str> =
        if tls.san.is_empty() { vec![sni] } else { tls.san.iter().map(|san| &**san).collect() };
    let names: Vec<Map> = names
        .into_iter()
        .map(|name| {
            let exact = Map::new().with("exact", name);
            Map::new().with("san_type", "DNS").with("matcher", exact)
        })
        .collect();
    let verified = Map::new()
        .with("trusted_ca", Map::new().with("filename", ca))
        .with("match_typed_subject_alt_names", names);
    let context = typed("envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext")
        .with("sni", sni)
        .with("common_tls_context", Map::new().with("validation_context", verified));
    Map::new().with("name", "envoy.transport_sockets.tls").with("typed_config", context)
}

fn balancer(scene: &Scene<'_>, map: Map) -> Map {
    let balance = &scene.policy.balance;
    let (word, config) = match balance.algorithm {
        Algorithm::RoundRobin => ("ROUND_ROBIN", Some("round_robin_lb_config")),
        Algorithm::Random => ("RANDOM", None),
        Algorithm::RingHash => ("RING_HASH", None),
        Algorithm::Maglev => ("MAGLEV", None),
        _ => ("LEAST_REQUEST", Some("least_request_lb_config")),
    };
    let map = map.said("lb_policy", word, scene.lines.service("balance.algorithm"));
    let (Some(key), Some(slow)) = (config, &balance.slow_start) else { return map };
    let aggression = Map::new()
        .with("default_value", slow.aggression)
        .with("runtime_key", format!("outrigger.{}.aggression", scene.service));
    let slow = Map::new()
        .with("slow_start_window", seconds(slow.window))
        .with("aggression", aggression)
        .with("min_weight_percent", Map::new().with("value", percent(slow.floor.get())));
    let slow =
        Map::new().said("slow_start_config", slow, scene.lines.service("balance.slow_start"));
    map.with(key, slow)
}

/// Always told: Envoy's own bounds would be 1024.
fn bounds(scene: &Scene<'_>) -> Map {
    let said = |key: &str| scene.lines.service(key);
    let capacity = scene.policy.capacity.as_ref();
    let most = |number: fn(&outrigger_policy::Capacity) -> u32| capacity.map_or(u32::MAX, number);
    let budget = scene.policy.rules.retry.budget;
    let budget = Map::new()
        .with("budget_percent", Map::new().with("value", percent(budget.ratio.get())))
        .with("min_retry_concurrency", budget.min_concurrent);
    let threshold = Map::new()
        .said("max_connections", most(|c| c.max_connections), said("capacity.max_connections"))
        .said("max_pending_requests", most(|c| c.max_pending), said("capacity.max_pending"))
        .said("max_requests", most(|c| c.max_requests), said("capacity.max_requests"))
        .said("retry_budget", budget, scene.lines.route("default", "retry.budget.ratio"));
    Map::new().with("thresholds", vec![threshold])
}

fn ejection(scene: &Scene<'_>) -> Option<Map> {
    let eject = scene.policy.eject.as_ref()?;
    let said = |key: &str| scene.lines.service(key);
    let errors = eject.consecutive_errors.get();
    let is_gateway = eject.errors == ErrorClass::Gateway;
    let (count, server, gateway) = if is_gateway {
        ("consecutive_gateway_failure", 0_u64, 100_u64)
    } else {
        ("consecutive_5xx", 100, 0)
    };
    let mut map = Map::new()
        .said(count, errors, said("eject.consecutive_errors"))
        .said("enforcing_consecutive_5xx", server, said("eject.errors"))
        .with("enforcing_consecutive_gateway_failure", gateway)
        .with("enforcing_success_rate", 0_u64)
        .said("interval", seconds(eject.interval), said("eject.interval"))
        .said("base_ejection_time", seconds(eject.base_time), said("eject.base_time"))
        .said("max_ejection_time", seconds(eject.max_time), said("eject.max_time"))
        .said(
            "max_ejection_percent",
            whole_percent(eject.max_ejected.get()),
            said("eject.max_ejected"),
        );
    if let Some(ratio) = eject.success_ratio_below {
        let most = whole_percent(1.0 - ratio.get());
        map = map
            .said("failure_percentage_threshold", most, said("eject.success_ratio_below"))
            .with("enforcing_failure_percentage", 100_u64)
            .with("failure_percentage_minimum_hosts", 1_u64)
            .said(
                "failure_percentage_request_volume",
                eject.min_requests.get(),
                said("eject.min_requests"),
            );
    }
    Some(map)
}
