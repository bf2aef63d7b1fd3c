//! What pages and answers show of the services that are called.

use std::net::SocketAddr;
use std::sync::Arc;

use outrigger_balance::EndpointStatus;
use outrigger_core::{CircuitState, Freshness, Language, PolicyVersion, RouteName, ServiceName};
use outrigger_tower::Mirrored;
use serde::Serialize;

use crate::PolicySource;
use crate::policy::InForce;

/// One service that this process calls, as it is now.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct ServiceView {
    /// Which.
    pub service: ServiceName,
    /// In which datacenter, where it is called by that; `None` for the own.
    pub datacenter: Option<Arc<str>>,
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
    /// What copies of its requests have told; empty where none are made.
    pub mirrors: Vec<MirrorView>,
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

/// What copies of a route's requests have told so far.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct MirrorView {
    /// The route that is mirrored.
    pub route: String,
    /// Copies that were answered while nothing was compared.
    pub answered: u64,
    /// Answers that were alike.
    pub same: u64,
    /// Answers with another status.
    pub status: u64,
    /// Answers with other headers, of those that are compared.
    pub headers: u64,
    /// Answers with another body.
    pub body: u64,
    /// Copies that broke, or answers that could not be compared.
    pub failed: u64,
    /// Requests that were not copied, though it was their turn: too large, unread, or too many
    /// copies under way.
    pub skipped: u64,
    /// The last differences, oldest first: method and path, what differs, and both statuses.
    pub differences: Vec<DifferenceView>,
}

/// Two answers that differ.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct DifferenceView {
    /// The method of the request.
    pub method: String,
    /// Its path, without query.
    pub path: String,
    /// `status`, `headers` or `body`.
    pub what: &'static str,
    /// The status that the caller got, and that of the copy.
    pub statuses: (u16, u16),
    /// Units: bytes from the beginning to where the bodies part.
    pub body_differs_at: Option<usize>,
    /// The request's trace, in hex; empty when it has none.
    pub trace_id: String,
}

impl MirrorView {
    pub(crate) fn of((route, seen): (&RouteName, &Mirrored)) -> Self {
        let counts = seen.counts();
        let differences = seen.differences().into_iter().map(|one| DifferenceView {
            method: one.method.to_string(),
            path: one.path,
            what: one.what,
            statuses: (one.primary.status, one.mirror.status),
            body_differs_at: one.body_differs_at,
            trace_id: if one.trace_id == 0 {
                String::new()
            } else {
                format!("{:032x}", one.trace_id)
            },
        });
        Self {
            route: route.to_string(),
            answered: counts.answered,
            same: counts.same,
            status: counts.status,
            headers: counts.headers,
            body: counts.body,
            failed: counts.failed + counts.incomplete,
            skipped: counts.too_large + counts.unread + counts.full,
            differences: differences.collect(),
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
    /// Units: milliseconds since 1970 until when nothing passes; `None` while traffic flows, or a
    /// probe may be made at once.
    pub retry_at_ms: Option<u64>,
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
