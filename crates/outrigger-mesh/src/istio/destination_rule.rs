//! How endpoints are chosen, bounded and taken out.

use std::collections::BTreeMap;

use outrigger_policy::{Algorithm, ErrorClass, HashKey};

use super::{NETWORKING, labels};
use crate::lines::{percent, seconds, whole_percent};
use crate::render::{Document, RenderError};
use crate::scene::Scene;
use crate::yaml::{Map, Yaml};

pub(super) fn of(scene: &Scene<'_>) -> Result<Document, RenderError> {
    let mut traffic = Map::new().with("connectionPool", pool(scene)).said(
        "loadBalancer",
        balancer(scene),
        scene.lines.service("balance.algorithm"),
    );
    if let Some(ejection) = ejection(scene) {
        let from = scene.lines.service("eject");
        traffic = traffic.said("outlierDetection", ejection, from);
    }
    let policy = scene.policy;
    let rules = || policy.routes.iter().map(|route| &route.rules).chain([&policy.rules]);
    if rules().any(|rules| rules.retry.attempts > 0) {
        // Of the service as a whole: in a subset old releases drop it.
        let budget = policy.rules.retry.budget;
        let map = Map::new()
            .with("percent", percent(budget.ratio.get()))
            .with("minRetryConcurrency", budget.min_concurrent);
        traffic =
            traffic.said("retryBudget", map, scene.lines.route("default", "retry.budget.ratio"));
    }
    let mut spec = Map::new().with("host", scene.host()).with("trafficPolicy", traffic);
    let mut names: BTreeMap<String, &str> = BTreeMap::new();
    let mut subsets: Vec<Yaml> = Vec::new();
    for name in policy.subsets.keys() {
        let known = labels::subset(name);
        if let Some(other) = names.insert(known.clone(), name) {
            return Err(RenderError::SameSubset {
                service: scene.service.clone(),
                one: other.to_owned(),
                other: name.to_string(),
            });
        }
        let labels = labels::of_subset(name, policy);
        subsets.push(Map::new().with("name", known).with("labels", labels).into());
    }
    if !subsets.is_empty() {
        spec = spec.said("subsets", subsets, scene.lines.service("subsets"));
    }
    Ok(scene.resource(NETWORKING, "DestinationRule", "", spec))
}

fn pool(scene: &Scene<'_>) -> Map {
    let time = seconds(scene.policy.connect_timeout);
    let mut tcp = Map::new().said("connectTimeout", time, scene.lines.service("connect_timeout"));
    let mut http = Map::new();
    if let Some(capacity) = &scene.policy.capacity {
        let said = |key: &str| scene.lines.service(key);
        tcp =
            tcp.said("maxConnections", capacity.max_connections, said("capacity.max_connections"));
        http = http
            .said("http2MaxRequests", capacity.max_requests, said("capacity.max_requests"))
            .said("http1MaxPendingRequests", capacity.max_pending, said("capacity.max_pending"));
    }
    let map = Map::new().with("tcp", tcp);
    if http.is_empty() { map } else { map.with("http", http) }
}

fn balancer(scene: &Scene<'_>) -> Map {
    let balance = &scene.policy.balance;
    let said = |key: &str| scene.lines.service(key);
    let key = scene.policy.rules.hash_on.as_ref();
    let hash = |table: &str| {
        let map = match key {
            Some(HashKey::Header(name)) => Map::new().with("httpHeaderName", name.as_str()),
            // Without a time to live none is given out to callers that bring none.
            Some(HashKey::Cookie(name)) => {
                Map::new().with("httpCookie", Map::new().with("name", &**name))
            }
            Some(HashKey::Query(name)) => Map::new().with("httpQueryParameterName", &**name),
            _ => Map::new().with("useSourceIp", true),
        };
        Map::new().said(
            "consistentHash",
            map.with(table, Map::new()),
            scene.lines.route("default", "balance.hash_on"),
        )
    };
    let simple = |word: &str| Map::new().with("simple", word);
    let (mut map, warms) = match balance.algorithm {
        Algorithm::RoundRobin => (simple("ROUND_ROBIN"), true),
        Algorithm::Random => (simple("RANDOM"), false),
        Algorithm::RingHash => (hash("ringHash"), false),
        Algorithm::Maglev => (hash("maglev"), false),
        _ => (simple("LEAST_REQUEST"), true),
    };
    if let Some(slow) = balance.slow_start.as_ref().filter(|_| warms) {
        let warmup = Map::new()
            .with("duration", seconds(slow.window))
            .with("minimumPercent", percent(slow.floor.get()))
            // Istio refuses less than 1.
            .with("aggression", slow.aggression.max(1.0));
        map = map.said("warmup", warmup, said("balance.slow_start"));
    }
    let near = Map::new().with("enabled", balance.locality.is_some());
    map.said("localityLbSetting", near, said("balance.locality"))
}

fn ejection(scene: &Scene<'_>) -> Option<Map> {
    let eject = scene.policy.eject.as_ref()?;
    let said = |key: &str| scene.lines.service(key);
    let errors = eject.consecutive_errors.get();
    let (server, gateway) = match eject.errors {
        ErrorClass::Gateway => (0, errors),
        _ => (errors, 0),
    };
    Some(
        Map::new()
            .said("consecutive5xxErrors", server, said("eject.consecutive_errors"))
            .said("consecutiveGatewayErrors", gateway, said("eject.errors"))
            .said("interval", seconds(eject.interval), said("eject.interval"))
            .said("baseEjectionTime", seconds(eject.base_time), said("eject.base_time"))
            // Always told: the mesh's own 10 % takes nobody out below ten endpoints.
            .said(
                "maxEjectionPercent",
                whole_percent(eject.max_ejected.get()),
                said("eject.max_ejected"),
            )
            .said(
                "minHealthPercent",
                whole_percent(scene.policy.balance.panic_below.get()),
                said("balance.panic_below"),
            ),
    )
}
