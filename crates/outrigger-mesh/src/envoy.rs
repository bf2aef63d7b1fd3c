//! A plain Envoy beside callers: one static bootstrap with a route table and a cluster for each
//! service.
//!
//! It stands where our sidecar's outbound half does. What a service accepts (`inbound`) is not in it.

mod cluster;
mod route;

use std::collections::BTreeMap;
use std::net::SocketAddr;

use outrigger_core::ServiceName;
use outrigger_policy::Parsed;

use crate::bucket;
use crate::render::{Document, Fleet, Options, RenderError};
use crate::scene::Scene;
use crate::yaml::{Map, Yaml};

const LISTEN: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 15_001);
const ADMIN: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 15_000);

/// The bootstrap for all policies.
pub(crate) fn render(
    policies: &BTreeMap<&ServiceName, &Parsed>,
    fleet: &Fleet,
    options: &Options,
) -> Result<Document, RenderError> {
    let (mut hosts, mut clusters, mut head) = (Vec::new(), Vec::new(), Vec::new());
    let mut limits = 0;
    for (service, parsed) in policies {
        let scene = Scene::new(parsed, service, options);
        limits = limits.max(scene.policy.rate_limits.len());
        let instances = fleet.instances(service);
        clusters.extend(cluster::all(&scene, instances)?);
        hosts.push(host(&scene));
        head.push(scene.head);
    }
    let manager = manager(hosts, limits);
    let filter = Map::new()
        .with("name", "envoy.filters.network.http_connection_manager")
        .with("typed_config", manager);
    let listener = Map::new()
        .with("name", "outbound")
        .with("address", address(options.listen.unwrap_or(LISTEN)))
        .with("filter_chains", vec![Map::new().with("filters", vec![filter])]);
    let resources = Map::new().with("listeners", vec![listener]).with("clusters", clusters);
    let whole = Map::new()
        .with("admin", Map::new().with("address", address(options.admin.unwrap_or(ADMIN))))
        .with("static_resources", resources);
    Ok(Document { path: "envoy.yaml".to_owned(), text: whole.file(&head) })
}

pub(crate) fn address(socket: SocketAddr) -> Map {
    at(&socket.ip().to_string(), socket.port())
}

fn at(host: &str, port: u16) -> Map {
    Map::new().with("socket_address", Map::new().with("address", host).with("port_value", port))
}

/// A message behind a type's name.
fn typed(kind: &str) -> Map {
    Map::new().with("@type", format!("type.googleapis.com/{kind}"))
}

fn host(scene: &Scene<'_>) -> Map {
    let mut domains = vec![scene.service.as_str()];
    if scene.host() != scene.service.as_str() {
        domains.push(scene.host());
    }
    let map = Map::new()
        .with("name", scene.service.as_str())
        .with("domains", domains)
        .with("routes", route::all(scene));
    let policy = scene.policy;
    let mut filters = Map::new();
    for (at, rate) in policy.rate_limits.iter().enumerate() {
        let name = rate.name.as_deref().map_or_else(|| format!("limit-{}", at + 1), str::to_owned);
        let bucket = bucket::bucket(&rate.limit);
        let name = format!("{}_{name}", scene.service);
        let config = bucket::filter(&name, &rate.limit, bucket, policy.grpc_status);
        filters = filters.said(limit(at), config, scene.lines.service("rate_limits"));
    }
    if filters.is_empty() { map } else { map.with("typed_per_filter_config", filters) }
}

/// The name of the filter in which the rates at a place of `rate_limits` stand.
fn limit(at: usize) -> String {
    format!("outrigger.rate-limit-{}", at + 1)
}

fn manager(hosts: Vec<Map>, limits: usize) -> Map {
    let mut filters: Vec<Yaml> = Vec::new();
    let mut add = |name: String, config: Map| {
        filters.push(Map::new().with("name", name).with("typed_config", config).into());
    };
    for at in 0..limits {
        let kind = "envoy.extensions.filters.http.local_ratelimit.v3.LocalRateLimit";
        // Without a bucket it lets all through: hosts bring theirs.
        add(limit(at), typed(kind).with("stat_prefix", format!("limit_{}", at + 1)));
    }
    add(FAULT.to_owned(), typed("envoy.extensions.filters.http.fault.v3.HTTPFault"));
    add(
        "envoy.filters.http.router".to_owned(),
        typed("envoy.extensions.filters.http.router.v3.Router"),
    );
    let kind = "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager";
    let table = Map::new()
        .with("name", "outbound")
        .with("ignore_port_in_host_matching", true)
        .with("virtual_hosts", hosts);
    typed(kind)
        .with("stat_prefix", "outbound")
        .with("normalize_path", true)
        .with("path_with_escaped_slashes_action", "REJECT_REQUEST")
        .with("route_config", table)
        .with("http_filters", filters)
}

const FAULT: &str = "envoy.filters.http.fault";
