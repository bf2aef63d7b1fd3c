//! Istio with sidecars: what a policy becomes there, one resource a file.
//!
//! Workloads are selected by the label `app: <service>`, and subsets by `language` and what the
//! policy names of the registry's metadata; see [`labels`].

mod access;
mod destination_rule;
mod door;
mod entries;
mod labels;
mod limits;
mod matching;
mod virtual_service;

use outrigger_core::ServiceName;
use outrigger_policy::{Parsed, TextMatch};

use crate::render::{Document, Fleet, Options, RenderError};
use crate::scene::Scene;
use crate::yaml::Map;

impl Scene<'_> {
    /// One resource. `suffix` tells two of a kind apart.
    fn resource(&self, api: &str, kind: &str, suffix: &str, spec: Map) -> Document {
        self.annotated(api, kind, suffix, None, spec, &[])
    }

    fn annotated(
        &self,
        api: &str,
        kind: &str,
        suffix: &str,
        annotations: Option<Map>,
        spec: Map,
        notes: &[&str],
    ) -> Document {
        let name = format!("{}{suffix}", labels::resource(self.service.as_str()));
        let metadata = Map::new()
            .with("name", name.as_str())
            .maybe("namespace", self.options.namespace.as_deref())
            .maybe("annotations", annotations);
        let whole = Map::new()
            .with("apiVersion", api)
            .with("kind", kind)
            .with("metadata", metadata)
            .with("spec", spec);
        let head: Vec<String> = std::iter::once(self.head.as_str())
            .chain(notes.iter().copied())
            .map(str::to_owned)
            .collect();
        Document { path: format!("{name}.{}.yaml", kind.to_lowercase()), text: whole.file(&head) }
    }

    /// The workloads of the service itself.
    fn own_workloads(&self) -> Map {
        Map::new().with("app", labels::value(self.service.as_str()))
    }
}

const NETWORKING: &str = "networking.istio.io/v1";
const SECURITY: &str = "security.istio.io/v1";

/// Every document of one policy.
pub(crate) fn render(
    parsed: &Parsed,
    service: &ServiceName,
    fleet: &Fleet,
    options: &Options,
) -> Result<Vec<Document>, RenderError> {
    let scene = Scene::new(parsed, service, options);
    for route in &parsed.policy.routes {
        let mut query = route.matcher.query.iter();
        if let Some((name, _)) = query.find(|(_, wanted)| *wanted == TextMatch::Present(false)) {
            return Err(RenderError::AbsentParameter {
                service: service.clone(),
                route: route.name.to_string(),
                parameter: name.to_string(),
            });
        }
    }
    let mut all = vec![virtual_service::of(&scene), destination_rule::of(&scene)?];
    all.extend(entries::of(&scene, fleet));
    all.extend(access::of(&scene));
    all.extend(limits::of(&scene));
    all.extend(door::of(&scene));
    Ok(all)
}
