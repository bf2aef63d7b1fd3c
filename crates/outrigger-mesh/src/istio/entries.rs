//! Instances of the registry, for a mesh that does not run them: the bridge that Istio dropped.

use outrigger_core::{Address, Instance, Status};

use super::{NETWORKING, labels};
use crate::render::{Document, Fleet};
use crate::scene::Scene;
use crate::yaml::Map;

/// A ServiceEntry, and a WorkloadEntry for each instance; nothing for a service that the fleet does
/// not hold, which the cluster runs itself then.
pub(super) fn of(scene: &Scene<'_>, fleet: &Fleet) -> Vec<Document> {
    let instances = fleet.instances(scene.service);
    if instances.is_empty() {
        return Vec::new();
    }
    let protocol = match scene.policy.protocol.as_str() {
        "grpc" => "GRPC",
        _ => "HTTP",
    };
    let port = Map::new()
        .with("number", scene.port())
        .with("name", protocol.to_lowercase())
        .with("protocol", protocol);
    let is_named = instances.iter().any(|one| matches!(one.address, Address::Name(..)));
    let spec = Map::new()
        .said("hosts", vec![scene.host()], scene.lines.service("mesh"))
        .with("ports", vec![port])
        .with("location", "MESH_INTERNAL")
        .with("resolution", if is_named { "DNS" } else { "STATIC" })
        .with("workloadSelector", Map::new().with("labels", scene.own_workloads()));
    let mut all = vec![scene.resource(NETWORKING, "ServiceEntry", "", spec)];
    all.extend(instances.iter().map(|instance| entry(scene, instance, protocol)));
    all
}

fn entry(scene: &Scene<'_>, instance: &Instance, protocol: &str) -> Document {
    let (address, port) = match &instance.address {
        Address::Name(name, port) => (name.to_string(), *port),
        Address::Socket(socket) => (socket.ip().to_string(), socket.port()),
        other => (other.to_string(), other.port()),
    };
    let mut marks = scene.own_workloads();
    let language = instance.language.as_ref().map(|language| labels::value(language.as_str()));
    marks = marks.maybe("language", language);
    let version = instance.version.as_ref().map(|version| labels::value(version));
    marks = marks.maybe("version", version);
    for (name, subset) in &scene.policy.subsets {
        for key in subset.meta.keys().filter(|_| subset.contains(instance)) {
            let value = instance.meta.get(key).map(|value| labels::value(value));
            marks = marks.maybe(&labels::value(key), value);
        }
        if subset.contains(instance) {
            marks = marks.with(labels::belongs(name), "true");
        }
    }
    let weight = match instance.status {
        Status::Warning => instance.weights.warning,
        _ => instance.weights.passing,
    };
    let spec = Map::new()
        .with("address", address)
        .with("ports", Map::new().with(protocol.to_lowercase(), port))
        .with("labels", marks)
        // A zone is a zone of some region.
        .maybe(
            "locality",
            instance.zone.as_ref().map(|zone| {
                let region = instance.datacenter.as_deref().unwrap_or("default");
                format!("{region}/{zone}")
            }),
        )
        .with("weight", weight.max(1));
    let id = labels::subset(instance.id.as_str());
    scene.resource(NETWORKING, "WorkloadEntry", &format!("-{id}"), spec)
}
