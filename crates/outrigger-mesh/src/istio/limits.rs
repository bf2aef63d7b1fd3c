//! Rates of the service itself, as Envoy's local rate limit in its sidecar.

use crate::bucket;
use crate::render::Document;
use crate::scene::Scene;
use crate::yaml::Map;

/// One EnvoyFilter for each rate: they are looked at one after the other.
pub(super) fn of(scene: &Scene<'_>) -> Vec<Document> {
    let Some(inbound) = &scene.policy.inbound else { return Vec::new() };
    let rates = inbound.rate_limits.iter().filter(|rate| bucket::can_say(rate));
    rates
        .map(|rate| {
            let name = super::labels::subset(&rate.name);
            let config = bucket::inbound(rate, inbound.grpc_status);
            let filter = Map::new()
                .with("name", format!("outrigger.rate-limit.{name}"))
                .with("typed_config", config);
            let router = Map::new().with("name", "envoy.filters.http.router");
            let chain = Map::new()
                .with("name", "envoy.filters.network.http_connection_manager")
                .with("subFilter", router);
            let listener = Map::new().with("filterChain", Map::new().with("filter", chain));
            let patch = Map::new()
                .with("applyTo", "HTTP_FILTER")
                .with(
                    "match",
                    Map::new().with("context", "SIDECAR_INBOUND").with("listener", listener),
                )
                .with("patch", Map::new().with("operation", "INSERT_BEFORE").with("value", filter));
            let spec = Map::new()
                .with("workloadSelector", Map::new().with("labels", scene.own_workloads()))
                .said("configPatches", vec![patch], scene.lines.inbound("inbound.rate_limits"));
            let api = "networking.istio.io/v1alpha3";
            let note = "Sidecars only: Istio supports no EnvoyFilter on waypoints.";
            let suffix = format!("-limit-{name}");
            scene.annotated(api, "EnvoyFilter", &suffix, None, spec, &[note])
        })
        .collect()
}
