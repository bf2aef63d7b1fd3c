//! What we turn away ourselves.

use std::error::Error;
use std::iter;
use std::time::Duration;

use crate::{RouteName, ServiceName};

/// Why a request was turned away before any endpoint saw it: always safe to send again.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Rejected {
    /// The bucket is empty; another endpoint would not help.
    #[error("rate limit of `{service}` reached")]
    RateLimited {
        /// Whose limit.
        service: ServiceName,
        /// When a token will be there.
        retry_after: Duration,
        /// What the limit's window says, for the `ratelimit-*` headers: (limit, remaining).
        limit: Option<(u32, u32)>,
        /// The gRPC code to answer with, where it is not that of the reason.
        grpc_status: Option<u8>,
    },
    /// The route's circuit is open; no endpoint of the service is asked until the next probe.
    #[error("circuit of `{service}` route `{route}` is open")]
    CircuitOpen {
        /// Whose circuit.
        service: ServiceName,
        /// Which route's.
        route: RouteName,
        /// Until the next probe.
        retry_after: Duration,
    },
    /// The newest snapshot holds no usable endpoint; only the next one can change that.
    #[error("`{service}` has no usable endpoint")]
    NoEndpoint {
        /// Who has none.
        service: ServiceName,
    },
    /// More requests are in flight, or waiting for a connection, than is allowed.
    #[error("`{service}` is at its limit of {limit} requests")]
    Overloaded {
        /// Who is overloaded.
        service: ServiceName,
        /// The bound that was reached.
        limit: u32,
        /// When to come back, where that can be told.
        retry_after: Option<Duration>,
    },
    /// The machine has no CPU to spare for a part of the requests, and this one is of that part.
    #[error("`{service}` sheds load")]
    Shed {
        /// Who sheds.
        service: ServiceName,
        /// When to come back.
        retry_after: Duration,
    },
    /// The request's body is larger than the service accepts.
    #[error("`{service}` accepts bodies of {limit} bytes at most")]
    BodyTooLarge {
        /// Who does not accept it.
        service: ServiceName,
        /// Units: bytes.
        limit: u64,
    },
    /// A failure was injected on purpose.
    #[error("a fault was injected into a request to `{service}`")]
    Fault {
        /// Who was called.
        service: ServiceName,
        /// The HTTP status that the policy names.
        status: u16,
        /// The gRPC code that the policy names, or else the one that stands for the status.
        grpc_status: Option<u8>,
    },
}

impl Rejected {
    /// Finds the rejection in a boxed error, whatever other layers have wrapped around it.
    pub fn find<'e>(error: &'e (dyn Error + 'static)) -> Option<&'e Self> {
        iter::successors(Some(error), |&e| e.source()).find_map(|e| e.downcast_ref())
    }

    /// The service whose rule refused.
    #[must_use]
    pub const fn service(&self) -> &ServiceName {
        match self {
            Self::RateLimited { service, .. }
            | Self::CircuitOpen { service, .. }
            | Self::NoEndpoint { service }
            | Self::Overloaded { service, .. }
            | Self::Shed { service, .. }
            | Self::BodyTooLarge { service, .. }
            | Self::Fault { service, .. } => service,
        }
    }

    /// When to come back, where waiting helps.
    #[must_use]
    pub const fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::RateLimited { retry_after, .. }
            | Self::CircuitOpen { retry_after, .. }
            | Self::Shed { retry_after, .. } => Some(*retry_after),
            Self::NoEndpoint { .. } | Self::BodyTooLarge { .. } | Self::Fault { .. } => None,
            Self::Overloaded { retry_after, .. } => *retry_after,
        }
    }
}
