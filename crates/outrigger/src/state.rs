//! The whole of a member at one moment: what the admin surface shows.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, SystemTime};

use outrigger_admin::Readiness;
use outrigger_core::{Freshness, InstanceId, ServiceName};
use serde::Serialize;

use crate::serve::Serving;
use crate::{Fleet, PolicyView, ServiceView};

/// A member of a fleet as it is now: the document of `/api/v1/state`.
///
/// Shape: nothing secret is in it; addresses of the registry come without user and password.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct FleetState {
    /// The member's own name.
    pub service: ServiceName,
    /// The id it is registered under; `None` while it is not.
    pub instance: Option<InstanceId>,
    /// Its version, where it was told.
    pub version: Option<String>,
    /// Its zone, where it was told.
    pub zone: Option<String>,
    /// Units: milliseconds since 1970, when this was looked at.
    pub at_ms: u64,
    /// The services that it calls, by name; `NAME.service.DC.consul` for one elsewhere.
    pub services: BTreeMap<String, ServiceView>,
    /// Its own policy, whose inbound half it obeys; `None` while it does not serve.
    pub policy: Option<PolicyView>,
    /// How it stands with the registry.
    pub registry: RegistryView,
    /// Where it listens, by what for: `inbound`, `admin`, and what a program adds.
    pub listeners: BTreeMap<String, String>,
    /// Which mesh it stands in.
    pub mesh: MeshView,
    /// What a program adds of its own, by name.
    #[serde(flatten)]
    pub more: serde_json::Map<String, serde_json::Value>,
}

/// How a member stands with its registry.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct RegistryView {
    /// `consul`, `other` for one of the program's own, or `none`.
    pub kind: &'static str,
    /// Where it is, when that is known.
    pub address: Option<String>,
    /// Whether it could be reached when it was last asked; false where there is none.
    pub connected: bool,
    /// Units: milliseconds since it last answered anything; `None` where it never did. A watch that
    /// waits for a change is answered every few minutes at the latest.
    pub age_ms: Option<u64>,
    /// Services whose last good set is held against an empty answer.
    pub holding_empty: Vec<String>,
    /// Connections to it that are open.
    pub connections: usize,
}

/// The mesh that a member stands in.
#[derive(Clone, Debug, Default, Serialize)]
#[non_exhaustive]
pub struct MeshView {
    /// Which; `None` where nobody looked, or there is none.
    pub kind: Option<String>,
    /// Who answers for what, by concern.
    pub owners: BTreeMap<String, String>,
}

impl Fleet {
    /// All that is known now.
    #[must_use]
    pub fn state(&self) -> FleetState {
        let parts = &self.inner.parts;
        let views = self.services();
        let holding_empty = views
            .iter()
            .filter(|view| view.freshness == Some(Freshness::Held))
            .map(key_of)
            .collect();
        FleetState {
            service: parts.service.clone(),
            instance: self.instance_id(),
            version: parts.version.clone(),
            zone: parts.zone.clone(),
            at_ms: unix_ms(parts.clock.wall()),
            services: views.into_iter().map(|view| (key_of(&view), view)).collect(),
            policy: self.policy(),
            registry: self.registry(holding_empty),
            listeners: self.listeners(),
            mesh: MeshView::default(),
            more: serde_json::Map::new(),
        }
    }

    fn registry(&self, holding_empty: Vec<String>) -> RegistryView {
        let registries = &self.inner.parts.registries;
        let health = registries.health();
        RegistryView {
            kind: match (&health, &registries.consul) {
                (None, _) => "none",
                (Some(_), Some(_)) => "consul",
                (Some(_), None) => "other",
            },
            address: registries.consul.as_ref().map(ToString::to_string),
            connected: health.is_some_and(|health| health.is_connected),
            age_ms: health.and_then(|health| health.age).map(millis),
            holding_empty,
            connections: health.map_or(0, |health| health.connections),
        }
    }

    fn listeners(&self) -> BTreeMap<String, String> {
        let inbound = self.inner.opened.load().as_ref().map(|opened| opened.address);
        let admin = self.admin_address();
        let named = |(name, address): (&str, Option<SocketAddr>)| {
            address.map(|address| (name.to_owned(), address.to_string()))
        };
        [("inbound", inbound), ("admin", admin)].into_iter().filter_map(named).collect()
    }

    /// Whether requests should come: it serves, the registry has it, and it does not drain.
    ///
    /// A registry that is lost later changes nothing: callers know where it is, and a fleet that
    /// leaves its load balancers whenever Consul restarts is worse off.
    #[must_use]
    pub fn readiness(&self) -> Readiness {
        let mut readiness = match &*self.inner.serving.borrow() {
            Serving::Not => Readiness::ready().because("not_serving", "nothing is served yet"),
            Serving::Announced(_) => Readiness::ready()
                .because("not_registered", "the registry has not confirmed the instance yet"),
            Serving::Draining => Readiness::ready().because("draining", "it leaves the fleet"),
            Serving::Unannounced | Serving::Registered(_) => Readiness::ready(),
        };
        if let Some(opened) = &*self.inner.opened.load()
            && let Some(why) = opened.ready.closed()
        {
            readiness = readiness.because("closed", why.to_string());
        }
        readiness
    }
}

fn key_of(view: &ServiceView) -> String {
    match &view.datacenter {
        Some(datacenter) => format!("{}.service.{datacenter}.consul", view.service),
        None => view.service.to_string(),
    }
}

fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

pub(crate) fn unix_ms(at: SystemTime) -> u64 {
    millis(at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default())
}
