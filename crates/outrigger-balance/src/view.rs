//! What pages and answers show of a set.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use outrigger_core::{EjectionCause, Endpoint, Freshness, Status};

use crate::config::SlowStart;
use crate::estimate::Nanos;
use crate::state::{Member, State};

/// Why an endpoint gets traffic, or none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum EndpointStatus {
    /// Passing, with all its share.
    Passing,
    /// Warning, by its warning weight.
    Warning,
    /// New: its share is growing.
    Warming,
    /// Taken out by us.
    Ejected,
    /// Critical in the registry.
    Critical,
    /// Its operator gave it no weight.
    Unweighted,
}

impl EndpointStatus {
    /// The word used in answers and on pages.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Passing => "passing",
            Self::Warning => "warning",
            Self::Warming => "warming",
            Self::Ejected => "ejected",
            Self::Critical => "critical",
            Self::Unweighted => "unweighted",
        }
    }
}

/// One endpoint as it is now.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct EndpointView {
    /// Which.
    pub endpoint: Endpoint,
    /// Why it gets traffic, or none.
    pub status: EndpointStatus,
    /// Whether it can be picked at this moment, panic and locality included.
    pub candidate: bool,
    /// Time until it may return, while it is ejected.
    pub ejected_for: Option<Duration>,
    /// Why it was ejected, while it is.
    pub ejected_by: Option<EjectionCause>,
    /// The weight that applies now, slow start included.
    pub weight: f64,
    /// Requests in flight.
    pub in_flight: u32,
    /// The estimate of its answer time; `None` before the first answer.
    pub latency: Option<Duration>,
    /// What peak EWMA compares, lower is better.
    pub load: f64,
    /// Judged answers so far.
    pub requests: u64,
    /// Those of them that were failures.
    pub failures: u64,
    /// Errors since the last answer that was none.
    pub errors_in_a_row: u32,
}

/// A whole set as it is now.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct SetView {
    /// The snapshot's version.
    pub version: u64,
    /// How far it is to be trusted.
    pub freshness: Freshness,
    /// Whether ejection or the registry's checks are ignored.
    pub panicking: bool,
    /// Share of requests that stays near; 1 without locality.
    pub near_share: f64,
    /// All registered endpoints, in the order of the update.
    pub endpoints: Vec<EndpointView>,
}

/// One endpoint as it is now; `listed` are those that can be picked.
pub(crate) fn view_of(
    member: &Member,
    slow: Option<&SlowStart>,
    listed: &HashSet<*const State>,
    now: Nanos,
) -> EndpointView {
    let state = &member.state;
    let ejection = state.ledger().ejection;
    let ramp = slow.map_or(1.0, |slow| state.ramp(now, slow));
    let instance = member.endpoint.instance();
    let status = if member.is_critical() {
        EndpointStatus::Critical
    } else if ejection.is_some() {
        EndpointStatus::Ejected
    } else if member.weight() == 0 {
        EndpointStatus::Unweighted
    } else if ramp < 1.0 {
        EndpointStatus::Warming
    } else if instance.status == Status::Warning {
        EndpointStatus::Warning
    } else {
        EndpointStatus::Passing
    };
    let in_flight = state.in_flight();
    let queue = in_flight as f32;
    let cost = state.cost(queue, now);
    EndpointView {
        endpoint: member.endpoint.clone(),
        status,
        candidate: listed.contains(&Arc::as_ptr(state)),
        ejected_for: ejection.map(|e| Duration::from_nanos(e.until.saturating_sub(now))),
        ejected_by: ejection.map(|e| e.cause),
        weight: f64::from(member.weight()) * f64::from(ramp),
        in_flight,
        latency: cost.map(|cost| Duration::from_nanos((cost * (1.0 + queue).sqrt()) as u64)),
        load: f64::from(cost.unwrap_or(0.0) * (1.0 + queue)),
        requests: state.answers.judged(),
        failures: state.failures.load(Relaxed),
        errors_in_a_row: state.in_a_row.load(Relaxed),
    }
}
