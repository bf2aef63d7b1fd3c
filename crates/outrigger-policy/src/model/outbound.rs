//! How callers reach the service.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use outrigger_breaker::BreakerConfig;
use outrigger_core::ServiceName;
use outrigger_limit::{Gradient2Config, RateLimitConfig};
use outrigger_retry::{HedgeConfig, RetryConfig};

use super::HashKey;

/// What is spoken between caller and service.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum PolicyProtocol {
    /// HTTP/1.1 or HTTP/2, as the instance says.
    #[default]
    Http,
    /// gRPC: HTTP/2, refusals as gRPC statuses.
    Grpc,
}

impl PolicyProtocol {
    /// The word used in the file.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Grpc => "grpc",
        }
    }
}

/// How instances that speak TLS are verified; the `tls` section.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Tls {
    /// File of root certificates, PEM. Default the system's roots.
    pub ca: Option<Arc<str>>,
    /// Name sent in the handshake. Default the service's name.
    pub sni: Option<Arc<str>>,
    /// Names of which the certificate must bear one. Default the name sent.
    pub san: Vec<Arc<str>>,
}

/// Where a mesh has the service; the `mesh` section.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct MeshAddress {
    /// Host name that the mesh knows. Default the service's name.
    pub host: Option<Arc<str>>,
    /// Port of the mesh's service. Default 80.
    pub port: u16,
}

impl Default for MeshAddress {
    fn default() -> Self {
        Self { host: None, port: 80 }
    }
}

/// How much may be in flight to a service; the `capacity` section.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Capacity {
    /// Requests in flight, 1 to 1,048,576; one more is refused at once. Default 1024.
    pub max_requests: u32,
    /// Connections to one endpoint, 1 to 65,536. Default 256.
    pub max_connections: u32,
    /// Requests that wait for a connection to one endpoint, 0 to 1,048,576. Default 256.
    pub max_pending: u32,
    /// A limit that follows the answer times, at most `max_requests`. Default off.
    pub adaptive: Option<Gradient2Config>,
}

impl Default for Capacity {
    fn default() -> Self {
        Self { max_requests: 1_024, max_connections: 256, max_pending: 256, adaptive: None }
    }
}

/// One rate of a caller's own use of the service; an entry of `rate_limits`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct OutboundRate {
    /// Its name in metrics; default `limit-1` and so on, by its place.
    pub name: Option<Arc<str>>,
    /// The bucket.
    pub limit: RateLimitConfig,
}

impl OutboundRate {
    /// A rate without a name.
    #[must_use]
    pub const fn new(limit: RateLimitConfig) -> Self {
        Self { name: None, limit }
    }
}

/// What a gRPC caller is told when a rate limit refuses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum GrpcStatus {
    /// 14, as Envoy answers: most clients take it for retryable.
    #[default]
    Unavailable,
    /// 8: few clients retry it.
    ResourceExhausted,
}

impl GrpcStatus {
    /// The word used in the file.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unavailable => "unavailable",
            Self::ResourceExhausted => "resource_exhausted",
        }
    }

    /// The gRPC code.
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Self::Unavailable => 14,
            Self::ResourceExhausted => 8,
        }
    }
}

/// The circuit of a route, and what is answered while it is open; the `breaker` section.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Breaker {
    /// When it opens and how it recovers.
    pub config: BreakerConfig,
    /// What the caller gets instead of a refusal. Default the refusal.
    pub fallback: Option<Fallback>,
}

/// What a caller gets while the circuit is open.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fallback {
    /// An answer that stands in the file.
    Answer {
        /// Its status, 200 to 599.
        status: StatusCode,
        /// Its `content-type`. Default `application/json` for a body that starts with `{` or `[`,
        /// else `text/plain; charset=utf-8`; none without a body.
        content_type: Option<http::HeaderValue>,
        /// Its body, at most 64 KiB.
        body: Bytes,
    },
    /// Another service is asked instead, under its own policy; it has no further fallback.
    Service(ServiceName),
}

/// What holds for the requests of one route, complete.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct RouteRules {
    /// Time for all tries and backoffs, to the end of the body; `None` for no end. Default 15 s.
    pub timeout: Option<Duration>,
    /// Longest time between two frames of a stream; `None` for no end. Default 5 min.
    pub idle_timeout: Option<Duration>,
    /// When a request is sent again. The budget is the same in every route of a policy.
    pub retry: RetryConfig,
    /// When a second try joins the first. Default never.
    pub hedge: Option<HedgeConfig>,
    /// What the hashing algorithms go by. Default nothing.
    pub hash_on: Option<HashKey>,
    /// The route's circuit. Default none.
    pub breaker: Option<Breaker>,
}

impl Default for RouteRules {
    fn default() -> Self {
        Self {
            timeout: Some(Duration::from_secs(15)),
            idle_timeout: Some(Duration::from_secs(300)),
            retry: RetryConfig::default(),
            hedge: None,
            hash_on: None,
            breaker: None,
        }
    }
}
