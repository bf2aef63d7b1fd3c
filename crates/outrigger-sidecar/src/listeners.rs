//! Ports, claimed so that nobody else can have them.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::os::unix::net::UnixListener;
use std::path::Path;

use outrigger::core::ServiceName;
use socket2::{Domain, Protocol, Socket, Type};

use crate::{Addresses, Config, Listen, Place, SidecarError, Upstream};

/// Every listener of a sidecar: claimed, and read by nobody yet.
#[derive(Debug)]
pub(crate) struct Listeners {
    pub(crate) inbound: Option<TcpListener>,
    pub(crate) outbound: Claimed,
    pub(crate) admin: TcpListener,
    pub(crate) probe: Option<TcpListener>,
    pub(crate) upstreams: Vec<(Upstream, TcpListener)>,
    pub(crate) addresses: Addresses,
    /// What did not get its default, in one line each.
    pub(crate) moved: Vec<String>,
}

/// A claimed place of either kind.
#[derive(Debug)]
pub(crate) enum Claimed {
    Tcp(TcpListener),
    Unix(UnixListener, SocketFile),
}

/// A socket file that is ours, and goes with us.
#[derive(Debug)]
pub(crate) struct SocketFile(std::path::PathBuf);

impl Drop for SocketFile {
    fn drop(&mut self) {
        // Somebody may have tidied up before us.
        let _ = std::fs::remove_file(&self.0);
    }
}

impl Listeners {
    /// Claims every place that a sidecar listens on.
    pub(crate) fn claim(config: &Config) -> Result<Self, SidecarError> {
        let mut moved = Vec::new();
        let inbound = match (&config.application, &config.inbound) {
            (None, _) => None,
            (Some(_), Some(listen)) => Some(tcp("--inbound", listen, &mut moved)?),
            (Some(_), None) => {
                let near = config.has_near_registry();
                let ip = if near { Ipv4Addr::LOCALHOST } else { Ipv4Addr::UNSPECIFIED };
                let listen = Listen::at(SocketAddr::from((ip, 0)));
                Some(tcp("--inbound", &listen, &mut moved)?)
            }
        };
        let (outbound, outbound_at) = match &config.outbound.address {
            Place::Tcp(address) => {
                let is_default = config.outbound.is_default;
                let listen = Listen { address: *address, is_default };
                let (listener, address) = tcp("--outbound", &listen, &mut moved)?;
                (Claimed::Tcp(listener), Place::Tcp(address))
            }
            Place::Unix(path) => {
                let listener = unix("--outbound", path)?;
                (Claimed::Unix(listener, SocketFile(path.clone())), Place::Unix(path.clone()))
            }
        };
        let (admin, admin_at) = tcp("--admin", &config.admin, &mut moved)?;
        let probe = match &config.probe {
            Some(listen) => Some(tcp("--probe", listen, &mut moved)?),
            None => None,
        };
        let mut upstreams = Vec::new();
        let mut upstreams_at = std::collections::BTreeMap::<ServiceName, SocketAddr>::new();
        for upstream in &config.upstreams {
            let what = format!("--upstream {}=", upstream.service);
            let (listener, address) = tcp(&what, &upstream.listen, &mut moved)?;
            upstreams_at.insert(upstream.service.clone(), address);
            upstreams.push((upstream.clone(), listener));
        }
        let addresses = Addresses {
            inbound: inbound.as_ref().map(|(_, address)| *address),
            outbound: outbound_at,
            admin: admin_at,
            probe: probe.as_ref().map(|(_, address)| *address),
            upstreams: upstreams_at,
        };
        Ok(Self {
            inbound: inbound.map(|(listener, _)| listener),
            outbound,
            admin,
            probe: probe.map(|(listener, _)| listener),
            upstreams,
            addresses,
            moved,
        })
    }
}

/// Claims a TCP port; a default that is taken becomes a free one of the same address.
fn tcp(
    what: &str,
    listen: &Listen,
    moved: &mut Vec<String>,
) -> Result<(TcpListener, SocketAddr), SidecarError> {
    let taken = |source| SidecarError::Taken {
        what: what.to_owned(),
        address: listen.address.to_string(),
        source,
    };
    let listener = match exclusive(listen.address) {
        Ok(listener) => listener,
        Err(error) if listen.is_default && error.kind() == io::ErrorKind::AddrInUse => {
            let free = SocketAddr::new(listen.address.ip(), 0);
            let listener = exclusive(free).map_err(taken)?;
            let address = listener.local_addr().map_err(taken)?;
            let flag = what.trim_start_matches('-');
            moved.push(format!("{flag} {} is taken: {address} instead", listen.address));
            listener
        }
        Err(error) => return Err(taken(error)),
    };
    let address = listener.local_addr().map_err(taken)?;
    Ok((listener, address))
}

/// Listens where nobody else does.
///
/// Without SO_REUSEPORT: with it a second sidecar could listen on the very port, and the two would
/// share its connections at random. SO_REUSEADDR only lets a port be had again whose connections
/// are in TIME-WAIT.
fn exclusive(address: SocketAddr) -> io::Result<TcpListener> {
    /// The kernel's own bound is `net.core.somaxconn`; beyond it this changes nothing.
    const BACKLOG: i32 = 4_096;
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// Listens on a socket file; one that nobody listens on any more is replaced.
fn unix(what: &str, path: &Path) -> Result<UnixListener, SidecarError> {
    let taken = |source| SidecarError::Taken {
        what: what.to_owned(),
        address: format!("unix:{}", path.display()),
        source,
    };
    let is_left_over = || {
        let gone = std::os::unix::net::UnixStream::connect(path);
        gone.is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused)
    };
    let listener = match UnixListener::bind(path) {
        Err(error) if error.kind() == io::ErrorKind::AddrInUse && is_left_over() => {
            std::fs::remove_file(path).map_err(taken)?;
            UnixListener::bind(path).map_err(taken)?
        }
        bound => bound.map_err(taken)?,
    };
    listener.set_nonblocking(true).map_err(taken)?;
    Ok(listener)
}

/// The places that a sidecar listens on itself, for what must never be sent there.
#[derive(Clone, Debug)]
pub(crate) struct OwnPlaces(Vec<SocketAddr>);

impl OwnPlaces {
    /// Everything but the inbound listener: behind that there is the application, and no loop.
    pub(crate) fn of(addresses: &Addresses) -> Self {
        let outbound = match &addresses.outbound {
            Place::Tcp(address) => Some(*address),
            Place::Unix(_) => None,
        };
        let places = [outbound, Some(addresses.admin), addresses.probe];
        let places = places.into_iter().flatten().chain(addresses.upstreams.values().copied());
        Self(places.collect())
    }

    /// Whether a connection to `address` would end at a listener of ours.
    pub(crate) fn contains(&self, address: SocketAddr) -> bool {
        let ip = address.ip().to_canonical();
        self.0.iter().any(|own| {
            own.port() == address.port()
                && (own.ip().to_canonical() == ip || own.ip().is_unspecified() && is_local(ip))
        })
    }
}

/// Whether an address is one of this machine's: only then can a socket be bound to it.
fn is_local(ip: std::net::IpAddr) -> bool {
    ip.is_loopback() || ip.is_unspecified() || UdpSocket::bind((ip, 0)).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listen(address: SocketAddr, is_default: bool) -> Listen {
        Listen { address, is_default }
    }

    #[test]
    fn a_default_that_is_taken_becomes_a_free_port_and_a_named_one_an_error() {
        let held = exclusive(SocketAddr::from(([127, 0, 0, 1], 0))).expect("a free port");
        let at = held.local_addr().expect("bound");
        let mut moved = Vec::new();
        let (_, other) = tcp("--outbound", &listen(at, true), &mut moved).expect("another port");
        assert_ne!(other.port(), at.port());
        assert_eq!(moved, [format!("outbound {at} is taken: {other} instead")]);
        let error = tcp("--outbound", &listen(at, false), &mut moved).expect_err("it is taken");
        assert!(matches!(&error, SidecarError::Taken { .. }) && !error.is_usage());
        assert_eq!(error.to_string(), format!("--outbound {at} cannot be listened on"));
        assert_eq!(moved.len(), 1);
    }

    #[test]
    fn nobody_can_share_a_claimed_port() {
        let held = exclusive(SocketAddr::from(([127, 0, 0, 1], 0))).expect("a free port");
        let at = held.local_addr().expect("bound");
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
        socket.set_reuse_address(true).expect("set");
        socket.set_reuse_port(true).expect("set");
        let bound = socket.bind(&at.into()).and_then(|()| socket.listen(1));
        assert!(bound.is_err(), "a second listener with SO_REUSEPORT");
    }

    #[test]
    fn a_socket_file_that_nobody_listens_on_is_replaced_and_a_live_one_is_not() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("out.sock");
        let first = unix("--outbound", &path).expect("free");
        assert!(unix("--outbound", &path).is_err(), "somebody listens");
        drop(first);
        let _second = unix("--outbound", &path).expect("left over");
    }

    #[test]
    fn a_way_back_to_ourselves_is_known_however_it_is_written() {
        let own = OwnPlaces(vec![SocketAddr::from(([0, 0, 0, 0], 15_900))]);
        for address in ["127.0.0.1:15900", "127.0.0.9:15900", "[::ffff:127.0.0.1]:15900"] {
            assert!(own.contains(address.parse().expect("an address")), "{address}");
        }
        for address in ["127.0.0.1:15901", "192.0.2.1:15900"] {
            assert!(!own.contains(address.parse().expect("an address")), "{address}");
        }
    }
}
