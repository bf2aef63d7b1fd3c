//! The demo's page: the admin surface of a process that is many members at once.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;

use outrigger::Fleet;
use outrigger::admin::{MetricsFormat, Reach, Readiness, Serving, Source, Surface};
use outrigger::telemetry::Metrics;
use serde_json::{Map, Value, json};
use tokio::net::TcpListener;

use super::show::Shown;
use crate::clock;

/// Serves the page until dropped.
pub(crate) async fn serve(address: SocketAddr, shown: &Arc<Shown>) -> std::io::Result<Serving> {
    let listener = TcpListener::bind(address).await?;
    let surface = Surface::new(Arc::clone(shown) as Arc<dyn Source>, shown.board().events());
    surface.serve(listener, Reach::Loopback).map_err(std::io::Error::other)
}

impl Source for Shown {
    fn readiness(&self) -> Readiness {
        if self.members().is_empty() {
            return Readiness::ready().because("starting", "the fleet is being started");
        }
        Readiness::ready()
    }

    fn state(&self) -> Option<Vec<u8>> {
        let members = self.members();
        let mut figures = self.show();
        // These two have their own places in the document.
        let (callers, trace) = (figures["callers"].take(), figures["trace"].take());
        let callers = callers.as_array().cloned().unwrap_or_default();
        let mut services = Map::new();
        for (name, service) in callers.iter().filter_map(|c| c["services"].as_object()).flatten() {
            services.entry(name.clone()).or_insert_with(|| service.clone());
        }
        let members: Vec<Value> =
            members.iter().map(|(name, fleet)| member(name, fleet, &callers)).collect();
        let registry = members.first().map_or(Value::Null, |first| first["registry"].clone());
        let wall = clock::wall().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        let state = json!({
            "service": "demo",
            "instance": null,
            "version": env!("CARGO_PKG_VERSION"),
            "zone": null,
            "at_ms": u64::try_from(wall.as_millis()).unwrap_or(u64::MAX),
            "services": services,
            "policy": null,
            "registry": registry_of_all(registry, &figures),
            "listeners": {},
            "mesh": { "kind": null, "owners": {} },
            "members": members,
            "trace": trace,
            "demo": figures,
        });
        serde_json::to_vec(&state).ok()
    }

    fn metrics(&self, format: MetricsFormat) -> String {
        let members = self.members();
        // The first instance of each service speaks for it.
        let mut told = BTreeSet::new();
        let speakers: Vec<(&str, &Metrics)> = members
            .iter()
            .filter(|(name, _)| told.insert(name.as_str()))
            .map(|(name, fleet)| (name.as_str(), &**fleet.telemetry().metrics()))
            .collect();
        let mut page = String::new();
        match format {
            MetricsFormat::OpenMetrics => Metrics::encode_members_openmetrics(&speakers, &mut page),
            _ => Metrics::encode_members(&speakers, &mut page),
        }
        page
    }
}

/// One member's state, with what the demo measures of each endpoint beside it.
fn member(name: &str, fleet: &Fleet, callers: &[Value]) -> Value {
    let mut state = serde_json::to_value(fleet.state()).unwrap_or_default();
    let measured = callers.iter().find(|caller| caller["caller"] == name);
    if let Some(measured) = measured {
        state["services"] = measured["services"].clone();
    }
    state
}

/// The registry as all members see it: lost as soon as one has lost it.
fn registry_of_all(mut first: Value, figures: &Value) -> Value {
    if first.is_null() {
        first = json!({
            "kind": "consul", "address": null, "age_ms": null, "holding_empty": [], "connections": 0,
        });
    }
    first["connected"] = figures["registry"]["connected"].clone();
    first
}
