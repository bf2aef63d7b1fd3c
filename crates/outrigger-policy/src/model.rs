//! What a policy says, after reading: every field of the file, with what it left out filled in.

mod access;
mod inbound;
mod matching;
mod outbound;
mod route;

pub use access::{Authorize, AuthorizeMode, AuthorizeRule, From, PathPattern, Verdict};
pub use inbound::{AccessLog, Concurrency, Inbound, InboundRate, Per, Shed, Telemetry};
pub use matching::{HashKey, PathMatch, Pattern, PatternError, RouteMatch, TextMatch};
pub use outbound::{
    Breaker, Capacity, Fallback, GrpcStatus, MeshAddress, OutboundRate, PolicyProtocol, RouteRules,
    Tls,
};
pub use route::{
    Abort, Compare, Delay, Fault, HeaderEdits, HeaderRules, Mirror, Route, Split, SplitPart,
};

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use outrigger_balance::{BalanceConfig, EjectConfig, Subset};
use outrigger_core::{PolicyVersion, ServiceName};

/// A policy: how callers reach a service, and what the service accepts.
///
/// Shape: complete; what the file leaves out stands here as its default, and what a route leaves
/// out stands in the route as it comes from above. The default is what holds without a file.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Policy {
    /// The first 12 hex digits of the SHA-256 of the text; `default` without a text.
    pub version: PolicyVersion,
    /// Who is called; `None` in a fleet-wide `_default` policy.
    pub service: Option<ServiceName>,
    /// What is spoken. Default HTTP.
    pub protocol: PolicyProtocol,
    /// Time until a connection is usable, 1 ms to 1 min. Default 1 s.
    pub connect_timeout: Duration,
    /// How instances that speak TLS are verified. Default by the system's roots.
    pub tls: Option<Tls>,
    /// Where a mesh has the service, for callers inside of one. Default `http://{service}:80`.
    pub mesh: Option<MeshAddress>,
    /// How endpoints are chosen. Default peak EWMA.
    pub balance: BalanceConfig,
    /// When an endpoint is taken out; `None` for never. Default after five errors in a row.
    pub eject: Option<EjectConfig>,
    /// How much may be in flight. Default unlimited.
    pub capacity: Option<Capacity>,
    /// One caller's own use of the service, per process. Default unlimited.
    pub rate_limits: Vec<OutboundRate>,
    /// What a gRPC caller is told when `rate_limits` refuse. Default `unavailable`.
    pub grpc_status: GrpcStatus,
    /// Instances that share labels, by the names that routes use.
    pub subsets: BTreeMap<Arc<str>, Subset>,
    /// What holds for a request that no route matches, and for what routes leave out.
    pub rules: RouteRules,
    /// Routes; the first that matches wins.
    pub routes: Vec<Route>,
    /// What the service accepts. Default everything.
    pub inbound: Option<Inbound>,
    /// What the service's server side tells.
    pub telemetry: Telemetry,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            version: PolicyVersion::default(),
            service: None,
            protocol: PolicyProtocol::Http,
            connect_timeout: Duration::from_secs(1),
            tls: None,
            mesh: None,
            balance: BalanceConfig::default(),
            eject: Some(EjectConfig::default()),
            capacity: None,
            rate_limits: Vec::new(),
            grpc_status: GrpcStatus::Unavailable,
            subsets: BTreeMap::new(),
            rules: RouteRules::default(),
            routes: Vec::new(),
            inbound: None,
            telemetry: Telemetry::default(),
        }
    }
}
