//! Where others reach an instance.

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::time::Duration;

use outrigger_consul::AgentAddress;

use super::ServeError;

/// Where others reach the instance: as told, else the listener's address, else the source address
/// of the machine's route to the registry, or to the outside when the registry is on this machine.
///
/// A loopback address beside a registry elsewhere is refused: others would connect to themselves.
pub(super) async fn advertised(
    told: Option<&str>,
    local: SocketAddr,
    registry: Option<&AgentAddress>,
    allow_loopback: bool,
) -> Result<(IpAddr, u16), ServeError> {
    let elsewhere = match registry {
        Some(registry) => elsewhere(registry).await,
        None => Elsewhere::No,
    };
    let (address, port) = chosen(told, local, &elsewhere)?;
    if let (Some(registry), true) = (registry, elsewhere != Elsewhere::No)
        && address.to_canonical().is_loopback()
        && !allow_loopback
    {
        return Err(ServeError::Loopback {
            value: SocketAddr::new(address, port),
            registry: registry.to_string(),
        });
    }
    Ok((address, port))
}

/// Whether the registry is on another machine, and where.
#[derive(Debug, PartialEq, Eq)]
enum Elsewhere {
    No,
    /// Without an address while its name does not resolve.
    Yes(Option<SocketAddr>),
}

async fn elsewhere(registry: &AgentAddress) -> Elsewhere {
    // Whoever starts while the DNS is away does not wait for it long.
    const PATIENCE: Duration = Duration::from_secs(2);
    let AgentAddress::Tcp { host, port, .. } = registry else { return Elsewhere::No };
    if host.eq_ignore_ascii_case("localhost") {
        return Elsewhere::No;
    }
    let looking = tokio::net::lookup_host((host.as_str(), *port));
    let found: Vec<SocketAddr> = match tokio::time::timeout(PATIENCE, looking).await {
        Ok(Ok(found)) => found.collect(),
        _ => Vec::new(),
    };
    if !found.is_empty() && found.iter().all(|address| address.ip().to_canonical().is_loopback()) {
        return Elsewhere::No;
    }
    Elsewhere::Yes(found.first().copied())
}

fn chosen(
    told: Option<&str>,
    local: SocketAddr,
    elsewhere: &Elsewhere,
) -> Result<(IpAddr, u16), ServeError> {
    if let Some(told) = told {
        if let Ok(address) = told.parse::<SocketAddr>() {
            return Ok((address.ip(), address.port()));
        }
        return match told.parse::<IpAddr>() {
            Ok(address) => Ok((address, local.port())),
            Err(_) => Err(ServeError::Advertise { value: told.to_owned() }),
        };
    }
    if !local.ip().is_unspecified() {
        return Ok((local.ip(), local.port()));
    }
    let to_registry = match elsewhere {
        Elsewhere::Yes(Some(registry)) if registry.is_ipv4() || local.is_ipv6() => {
            routed_address(*registry)
        }
        _ => None,
    };
    let address = to_registry.or_else(|| routed_address(outside(local)));
    Ok((address.unwrap_or_else(|| IpAddr::from([127, 0, 0, 1])), local.port()))
}

/// An address of the outside that documentation reserves (RFC 5737, RFC 3849): nobody's.
fn outside(local: SocketAddr) -> SocketAddr {
    let text = if local.is_ipv4() { "192.0.2.1:9" } else { "[2001:db8::1]:9" };
    text.parse().expect("a constant that is an address")
}

/// The source address of the route to somewhere; asks the kernel and sends nothing.
fn routed_address(to: SocketAddr) -> Option<IpAddr> {
    // Connecting a datagram socket only looks the route up: no packet is ever sent.
    let from = if to.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
    let socket = UdpSocket::bind(from).ok()?;
    socket.connect(to).ok()?;
    let address = socket.local_addr().ok()?.ip();
    (!address.is_unspecified()).then_some(address)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn local() -> SocketAddr {
        "127.0.0.1:8080".parse().expect("an address")
    }

    async fn told(
        told: Option<&str>,
        registry: &str,
        allow_loopback: bool,
    ) -> Result<(IpAddr, u16), ServeError> {
        let registry = registry.parse().expect("an address");
        advertised(told, local(), Some(&registry), allow_loopback).await
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    #[tokio::test]
    async fn what_is_told_wins_and_a_listener_s_own_address_comes_next() {
        let near = "http://127.0.0.1:8500";
        assert_eq!(told(None, near, false).await.expect("valid"), (ip("127.0.0.1"), 8080));
        assert_eq!(
            told(Some("10.1.2.3"), near, false).await.expect("valid"),
            (ip("10.1.2.3"), 8080)
        );
        assert_eq!(
            told(Some("10.1.2.3:99"), near, false).await.expect("valid"),
            (ip("10.1.2.3"), 99)
        );
        let error = told(Some("orders.example"), near, false).await.expect_err("no address");
        assert!(error.to_string().contains("ADDRESS or ADDRESS:PORT"));
    }

    #[tokio::test]
    async fn a_loopback_address_beside_a_registry_elsewhere_is_refused_with_the_way_out() {
        let far = "http://192.0.2.7:8500";
        for value in [None, Some("127.0.0.9"), Some("[::1]:80"), Some("::ffff:127.0.0.1")] {
            let error = told(value, far, false).await.expect_err("nobody else could reach it");
            let text = error.to_string();
            for word in ["advertise", far, "OUTRIGGER_ADVERTISE=", "OUTRIGGER_ADVERTISE_LOOPBACK"] {
                assert!(text.contains(word), "{word}: {text}");
            }
        }
        assert_eq!(told(None, far, true).await.expect("meant"), (ip("127.0.0.1"), 8080));
        assert_eq!(
            told(Some("10.1.2.3"), far, false).await.expect("valid"),
            (ip("10.1.2.3"), 8080)
        );
    }

    #[tokio::test]
    async fn a_registry_on_this_machine_takes_any_address() {
        for near in [
            "http://127.0.0.3:1",
            "http://localhost:8500",
            "http://[::1]:8500",
            "unix:///run/c.sock",
        ] {
            assert_eq!(told(None, near, false).await.expect(near), (ip("127.0.0.1"), 8080));
        }
        // Another kind of registry is not known to be anywhere.
        assert!(advertised(None, local(), None, false).await.is_ok());
    }
}
