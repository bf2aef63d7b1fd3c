//! Local ports that stand for one service each.

use std::net::SocketAddr;
use std::str::FromStr;

use outrigger::core::ServiceName;

use super::Listen;

/// What is spoken on an upstream's port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum UpstreamKind {
    /// HTTP, with every rule.
    Http,
    /// Bytes: discovery, balance by connections, ejection, timeouts.
    Tcp,
}

/// A local port that stands for one service: `NAME=ADDR:PORT`, or `NAME=tcp://ADDR:PORT` for a
/// service that does not speak HTTP.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Upstream {
    /// The service.
    pub service: ServiceName,
    /// What is spoken.
    pub kind: UpstreamKind,
    /// Where.
    pub listen: Listen,
}

impl Upstream {
    /// An upstream at a place that somebody named.
    #[must_use]
    pub const fn new(service: ServiceName, kind: UpstreamKind, address: SocketAddr) -> Self {
        Self { service, kind, listen: Listen::at(address) }
    }
}

impl FromStr for Upstream {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?}; allowed is NAME=ADDR:PORT or NAME=tcp://ADDR:PORT");
        let (name, place) = text.split_once('=').ok_or_else(wrong)?;
        let name = name.to_ascii_lowercase();
        let service = ServiceName::new(&name).map_err(|error| format!("{text:?}: {error}"))?;
        let (kind, place) = match place.split_once("://") {
            Some(("tcp", place)) => (UpstreamKind::Tcp, place),
            Some(("http", place)) => (UpstreamKind::Http, place),
            Some(_) => return Err(wrong()),
            None => (UpstreamKind::Http, place),
        };
        let address = place.parse().map_err(|_| wrong())?;
        Ok(Self::new(service, kind, address))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_upstream_is_a_name_and_a_port_and_perhaps_bytes() {
        let read = |text: &str| text.parse::<Upstream>();
        let one = read("Inventory=127.0.0.1:15901").expect("valid");
        assert_eq!((one.service.as_str(), one.kind), ("inventory", UpstreamKind::Http));
        assert!(!one.listen.is_default);
        assert_eq!(read("db=tcp://127.0.0.1:0").map(|one| one.kind), Ok(UpstreamKind::Tcp));
        for wrong in ["", "db", "db=", "=127.0.0.1:1", "db=udp://127.0.0.1:1", "db=localhost:1"] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }
}
