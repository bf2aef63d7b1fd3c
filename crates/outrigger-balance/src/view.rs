//! What pages and answers show of a set.

use std::time::Duration;

use outrigger_core::{EjectionCause, Endpoint, Freshness};

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
