//! The addresses in force.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;

use outrigger::core::ServiceName;

use crate::Place;

/// Where a sidecar listens, once every port is claimed.
///
/// Printed, it has one line for each: `inbound 127.0.0.1:40123`.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Addresses {
    /// Where callers come in; `None` where only outbound traffic is served.
    pub inbound: Option<SocketAddr>,
    /// Where the application's calls come in.
    pub outbound: Place,
    /// Where pages, metrics and state are shown.
    pub admin: SocketAddr,
    /// Where health and metrics are shown to others than loopback.
    pub probe: Option<SocketAddr>,
    /// The local ports that stand for one service each.
    pub upstreams: BTreeMap<ServiceName, SocketAddr>,
}

impl fmt::Display for Addresses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(inbound) = self.inbound {
            writeln!(f, "inbound {inbound}")?;
        }
        write!(f, "outbound {}\nadmin {}", self.outbound, self.admin)?;
        if let Some(probe) = self.probe {
            write!(f, "\nprobe {probe}")?;
        }
        for (service, address) in &self.upstreams {
            write!(f, "\nupstream {service} {address}")?;
        }
        Ok(())
    }
}
