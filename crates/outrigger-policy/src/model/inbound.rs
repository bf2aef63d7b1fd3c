//! What the service accepts and tells.

use std::sync::Arc;

use http::HeaderName;
use outrigger_core::Ratio;
use outrigger_limit::{Gradient2Config, RateLimitConfig};

use super::{Authorize, GrpcStatus, RouteMatch};

/// What a service accepts; the `inbound` section.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Inbound {
    /// Largest request body in bytes; a larger one is 413. Default unlimited.
    pub body_limit: Option<u64>,
    /// Rates, all of which must hold. Default unlimited.
    pub rate_limits: Vec<InboundRate>,
    /// How many requests are worked on at once. Default unlimited.
    pub concurrency: Option<Concurrency>,
    /// When requests are turned away since the machine is busy. Default never.
    pub shed: Option<Shed>,
    /// Who may call. Default everybody.
    pub authorize: Option<Authorize>,
    /// What a gRPC caller is told when a rate limit refuses. Default `unavailable`.
    pub grpc_status: GrpcStatus,
}

/// A rate at which a service accepts requests; an entry of `inbound.rate_limits`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct InboundRate {
    /// Its name in metrics and answers. Default `limit-1` and so on, by its place.
    pub name: Arc<str>,
    /// The bucket.
    pub limit: RateLimitConfig,
    /// What has a bucket of its own. Default the service as a whole.
    pub per: Per,
    /// Which requests count. Default all.
    pub matcher: RouteMatch,
}

impl InboundRate {
    /// A rate for the service as a whole.
    #[must_use]
    pub fn new(name: Arc<str>, limit: RateLimitConfig) -> Self {
        Self { name, limit, per: Per::Service, matcher: RouteMatch::default() }
    }
}

/// What has a bucket of its own.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Per {
    /// The service as a whole.
    #[default]
    Service,
    /// Each calling service, by `x-outrigger-caller`: cooperation, not authentication.
    Caller,
    /// Each address that requests come from.
    ClientAddress,
    /// Each value of a header.
    Header(HeaderName),
    /// Each value of a parameter of the query.
    Query(Arc<str>),
    /// Each path, in its normal form.
    Path,
}

/// How many requests a service works on at once.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Concurrency {
    /// 1 to 1,048,576. Default 256.
    pub max_in_flight: u32,
    /// A limit that follows the answer times, at most `max_in_flight`. Default off.
    pub adaptive: Option<Gradient2Config>,
}

impl Default for Concurrency {
    fn default() -> Self {
        Self { max_in_flight: 256, adaptive: None }
    }
}

/// When requests are turned away since the machine is busy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Shed {
    /// Share of the processors that the process (its cgroup) may use, above which requests are
    /// turned away; a tenth is always let through. Default 0.9.
    pub cpu_above: Ratio,
}

impl Default for Shed {
    fn default() -> Self {
        Self { cpu_above: Ratio::from_percent(90) }
    }
}

/// What the service's server side tells; the `telemetry` section.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Telemetry {
    /// Share of the traces that start here and are kept. Default 0.01.
    pub sample: Ratio,
    /// Which requests are written to the access log. Default errors.
    pub access_log: AccessLog,
}

impl Default for Telemetry {
    fn default() -> Self {
        Self { sample: Ratio::from_percent(1), access_log: AccessLog::Errors }
    }
}

/// Which requests are written to the access log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum AccessLog {
    /// No request.
    None,
    /// Those that failed or were refused.
    #[default]
    Errors,
    /// Each one.
    All,
}

impl AccessLog {
    /// The word used in the file.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Errors => "errors",
            Self::All => "all",
        }
    }
}
