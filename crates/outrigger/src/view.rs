//! What pages and answers show of the services that are called.

use std::net::SocketAddr;
use std::sync::Arc;

use outrigger_balance::EndpointStatus;
use outrigger_core::{CircuitState, Freshness, Language, PolicyVersion, ServiceName};
use serde::Serialize;

use crate::PolicySource;
use crate::policy::InForce;

/// One service that this process calls, as it is now.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct ServiceView {
    /// Which.
    pub service: ServiceName,
    /// How far its set is to be trusted; `None` before the registry has said anything.
    pub freshness: Option<Freshness>,
    /// Whether ejection or the registry's checks are ignored for want of usable endpoints.
    pub panicking: bool,
    /// Its endpoints, in the registry's order.
    pub endpoints: Vec<EndpointView>,
    /// The policy in force.
    pub policy: PolicyView,
    /// Its circuits; empty when it has none.
    pub circuits: Vec<CircuitView>,
}

/// One endpoint, as it is now.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct EndpointView {
    /// The instance's id.
    pub id: String,
    /// Where it listens.
    pub address: SocketAddr,
    /// Why it gets traffic, or none.
    pub status: EndpointStatus,
    /// Whether we took it out.
    pub ejected: bool,
    /// Units: milliseconds until it may return, while it is ejected.
    pub ejected_for_ms: Option<u64>,
    /// The weight that applies now, slow start included.
    pub weight: f64,
    /// Requests in flight.
    pub in_flight: u32,
    /// What peak EWMA compares, lower is better.
    pub load: f64,
    /// Judged answers so far.
    pub requests: u64,
    /// Those that were failures.
    pub failures: u64,
    /// The language, where the registration tells one.
    pub language: Option<Language>,
    /// The version, as written.
    pub version: Option<Arc<str>>,
    /// The zone.
    pub zone: Option<Arc<str>>,
}

/// The policy in force, and what keeps a newer one from it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct PolicyView {
    /// The first 12 hex digits of the SHA-256 of its text; `default` without a policy.
    pub version: String,
    /// Where it comes from.
    pub source: PolicySource,
    /// Why what stands in the policy's place is not in force: where, what, and what is allowed.
    pub error: Option<String>,
}

impl PolicyView {
    pub(crate) fn of(followed: &InForce, version: PolicyVersion) -> Self {
        Self {
            version: version.to_string(),
            source: followed.source,
            error: followed.trouble.as_ref().map(ToString::to_string),
        }
    }
}

/// One circuit, as it is now.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct CircuitView {
    /// The route it belongs to.
    pub route: String,
    /// Its state.
    pub state: CircuitState,
}

impl From<&outrigger_balance::EndpointView> for EndpointView {
    fn from(view: &outrigger_balance::EndpointView) -> Self {
        let instance = view.endpoint.instance();
        Self {
            id: instance.id.to_string(),
            address: view.endpoint.address(),
            status: view.status,
            ejected: view.status == EndpointStatus::Ejected,
            ejected_for_ms: view
                .ejected_for
                .map(|span| u64::try_from(span.as_millis()).unwrap_or(u64::MAX)),
            weight: view.weight,
            in_flight: view.in_flight,
            load: view.load,
            requests: view.requests,
            failures: view.failures,
            language: instance.language.clone(),
            version: instance.version.clone(),
            zone: instance.zone.clone(),
        }
    }
}
