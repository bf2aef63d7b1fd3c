//! What else the service itself asks for: how much is worked on at once, and what is told of it.

use outrigger_policy::AccessLog;

use super::NETWORKING;
use crate::lines::percent;
use crate::render::Document;
use crate::scene::Scene;
use crate::yaml::Map;

pub(super) fn of(scene: &Scene<'_>) -> Vec<Document> {
    sidecar(scene).into_iter().chain(telemetry(scene)).collect()
}

/// The bound on requests in flight stands in the workload's Sidecar.
fn sidecar(scene: &Scene<'_>) -> Option<Document> {
    let most = scene.policy.inbound.as_ref()?.concurrency.as_ref()?.max_in_flight;
    let http = Map::new().said(
        "http2MaxRequests",
        most,
        scene.lines.inbound("inbound.concurrency.max_in_flight"),
    );
    let spec = Map::new()
        .with("workloadSelector", Map::new().with("labels", scene.own_workloads()))
        .with("inboundConnectionPool", Map::new().with("http", http));
    Some(scene.resource(NETWORKING, "Sidecar", "", spec))
}

/// Only where the policy says something of it: the mesh has settings of its own.
fn telemetry(scene: &Scene<'_>) -> Option<Document> {
    let said = |key: &str| scene.lines.inbound(key).filter(|words| !words.ends_with("default"));
    let (sample, log) = (said("telemetry.sample"), said("telemetry.access_log"));
    if sample.is_none() && log.is_none() {
        return None;
    }
    let mut spec =
        Map::new().with("selector", Map::new().with("matchLabels", scene.own_workloads()));
    if sample.is_some() {
        let share = percent(scene.policy.telemetry.sample.get());
        let tracing = Map::new().with("randomSamplingPercentage", share);
        spec = spec.said("tracing", vec![tracing], sample);
    }
    if log.is_some() {
        let mut logging = Map::new().with("match", Map::new().with("mode", "SERVER"));
        match scene.policy.telemetry.access_log {
            AccessLog::None => logging = logging.with("disabled", true),
            AccessLog::Errors => {
                let errors = Map::new().with("expression", "response.code >= 400");
                logging = logging.with("filter", errors);
            }
            _ => {}
        }
        spec = spec.said("accessLogging", vec![logging], log);
    }
    Some(scene.resource("telemetry.istio.io/v1", "Telemetry", "", spec))
}
