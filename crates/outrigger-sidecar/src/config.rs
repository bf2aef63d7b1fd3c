//! What a sidecar is told, as plain data.

mod network;
mod upstream;

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use outrigger::Settings;
use outrigger::consul::AgentAddress;
use outrigger::core::{Address, Language, Protocol, ServiceName};
use outrigger::discovery::{KeyWatcher, Registrar, Resolver};
use outrigger::telemetry::Telemetry;

pub use network::Network;
pub use upstream::{Upstream, UpstreamKind};

/// What a sidecar is told; every field has a default, and stands for the flag of its name.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Config {
    /// The name that the application is registered under, and that its calls carry. Default none:
    /// with neither name nor application, only outbound traffic is served.
    pub service: Option<ServiceName>,
    /// Where the application listens. Default nowhere.
    pub application: Option<Application>,
    /// The language it is registered with. Default none.
    pub language: Option<Language>,
    /// Its version. Default none.
    pub version: Option<String>,
    /// The zone it runs in. Default none.
    pub zone: Option<String>,
    /// Tags that it is registered with beside the language. Default none.
    pub tags: Vec<String>,
    /// What callers speak to it: `http`, or `grpc` and `h2c` for HTTP/2 in the clear. gRPC goes to
    /// the application over HTTP/2 whatever is said here. Default `http`.
    pub protocol: Protocol,
    /// The application's own health path, asked while it is registered. Default: that it takes
    /// connections is all that is asked of it.
    pub health: Option<String>,
    /// Whether it is registered at all. Default true.
    pub register: bool,
    /// Time that requests in flight get to end. Default 30 s.
    pub drain: Duration,
    /// Time between leaving the registry and closing, so that callers have heard of it. Default
    /// 2 s.
    pub notice: Duration,
    /// Where callers come in. Default a free port on all addresses, or on loopback while the
    /// registry is on loopback.
    pub inbound: Option<Listen>,
    /// Where others reach it, `ADDR` or `ADDR:PORT`. Default the inbound address; if that is
    /// unspecified, the source address of the route to the registry.
    pub advertise: Option<String>,
    /// What callers are shown, who come in over TLS then, and nobody in the clear. Default nothing.
    pub tls: Option<TlsFiles>,
    /// Where the application's calls come in. Default 127.0.0.1:15900.
    pub outbound: Listen<Place>,
    /// Where pages, metrics and state are shown. Default 127.0.0.1:15990.
    pub admin: Listen,
    /// Where health and metrics are shown to others than loopback. Default nowhere.
    pub probe: Option<Listen>,
    /// The registry's URL, or `none`. Default as `CONSUL_HTTP_ADDR` says.
    pub consul: Option<String>,
    /// Where the last good sets are kept. Default nowhere.
    pub snapshot: Option<PathBuf>,
    /// Policy files and directories of them. Default none.
    pub policies: Vec<PathBuf>,
    /// Fixed endpoints, which replace the registry for that name.
    pub endpoints: BTreeMap<ServiceName, Vec<Address>>,
    /// Local ports that stand for one service each.
    pub upstreams: Vec<Upstream>,
    /// What becomes of names that are no known services. Default refused.
    pub unknown: Unknown,
    /// Where `CONNECT` may lead, beside known services. Default nowhere.
    pub connect: Vec<Address>,
    /// Whether a WebSocket may be opened. Default not.
    pub websocket: bool,
    /// Who is believed. Default loopback and registered instances.
    pub trust: Trust,
    /// Runtimes that serve, each on a thread of its own. Default one for each core that the
    /// process may use.
    pub workers: Option<NonZeroUsize>,
    /// Rules that were read already. Default what environment and `outrigger.toml` say.
    pub settings: Option<Settings>,
    /// Another registry than Consul.
    pub registry: Option<Registry>,
    /// A ready telemetry. Default one made of `OTEL_*`.
    pub telemetry: Option<Telemetry>,
}

/// Files of a listener that speaks TLS; both are read again when they change.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "a certificate and its key are all there is")]
pub struct TlsFiles {
    /// The certificates in PEM, the own one first.
    pub cert: PathBuf,
    /// The private key of the first of them, in PEM.
    pub key: PathBuf,
}

/// Another registry than Consul.
#[derive(Clone, Debug)]
#[expect(clippy::exhaustive_structs, reason = "its three ports are all that a registry has")]
pub struct Registry {
    /// Where instances are found.
    pub resolver: Arc<dyn Resolver>,
    /// Where this one is announced.
    pub registrar: Option<Arc<dyn Registrar>>,
    /// Where policies are kept.
    pub keys: Option<Arc<dyn KeyWatcher>>,
}

impl Default for Config {
    fn default() -> Self {
        let local = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        Self {
            service: None,
            application: None,
            language: None,
            version: None,
            zone: None,
            tags: Vec::new(),
            protocol: Protocol::Http,
            health: None,
            register: true,
            drain: Duration::from_secs(30),
            notice: Duration::from_secs(2),
            inbound: None,
            tls: None,
            advertise: None,
            outbound: Listen { address: Place::Tcp(local(15_900)), is_default: true },
            admin: Listen { address: local(15_990), is_default: true },
            probe: None,
            consul: None,
            snapshot: None,
            policies: Vec::new(),
            endpoints: BTreeMap::new(),
            upstreams: Vec::new(),
            unknown: Unknown::Refuse,
            connect: Vec::new(),
            websocket: false,
            trust: Trust::default(),
            workers: None,
            settings: None,
            registry: None,
            telemetry: None,
        }
    }
}

/// Where something listens, and whether anybody asked for that very place: a default that is taken
/// is replaced by a free port, a place that was named is not.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "two facts, and there will be no third")]
pub struct Listen<A = SocketAddr> {
    /// The place; port 0 is any free one.
    pub address: A,
    /// Whether it is the default and nobody's wish.
    pub is_default: bool,
}

impl<A> Listen<A> {
    /// A place that somebody named.
    #[must_use]
    pub const fn at(address: A) -> Self {
        Self { address, is_default: false }
    }
}

/// A TCP address or a unix socket, `ADDR:PORT` or `unix:PATH`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Place {
    /// Over TCP.
    Tcp(SocketAddr),
    /// Over a unix socket.
    Unix(PathBuf),
}

/// Where the application listens.
pub type Application = Place;

impl FromStr for Place {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Some(path) = text.strip_prefix("unix:") {
            let path = path.strip_prefix("//").unwrap_or(path);
            if path.starts_with('/') {
                return Ok(Self::Unix(path.into()));
            }
        } else if let Ok(address) = text.parse() {
            return Ok(Self::Tcp(address));
        }
        Err(format!("{text:?}; allowed is ADDR:PORT or unix:/PATH"))
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// What becomes of a request to a name that is no known service.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Unknown {
    /// It goes to the host of that name: no rules, only timeouts and a trace.
    Pass,
    /// It is refused.
    #[default]
    Refuse,
}

impl FromStr for Unknown {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "pass" => Ok(Self::Pass),
            "refuse" => Ok(Self::Refuse),
            _ => Err(format!("{text:?}; allowed is pass or refuse")),
        }
    }
}

/// Whose word on who calls, for whom, and on the trace is believed: cooperation, not
/// authentication.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Trust {
    /// Whether callers on loopback are.
    pub loopback: bool,
    /// Whether the addresses of registered instances are.
    pub registry: bool,
    /// Networks that are.
    pub networks: Vec<Network>,
    /// Whether this is the edge of the fleet: nobody is, and each request starts a trace.
    pub edge: bool,
}

impl Default for Trust {
    fn default() -> Self {
        Self { loopback: true, registry: true, networks: Vec::new(), edge: false }
    }
}

impl Trust {
    /// Nobody is believed.
    #[must_use]
    pub const fn nobody() -> Self {
        Self { loopback: false, registry: false, networks: Vec::new(), edge: false }
    }

    /// Adds one word of `--trust`: `loopback`, `registry` or a network such as `10.0.0.0/8`.
    ///
    /// # Errors
    /// What is wrong with it, and what is allowed.
    pub fn add(&mut self, word: &str) -> Result<(), String> {
        match word {
            "loopback" => self.loopback = true,
            "registry" => self.registry = true,
            word => self.networks.push(word.parse()?),
        }
        Ok(())
    }

    /// Whether an address is believed without a look at the registry.
    pub(crate) fn holds(&self, address: IpAddr) -> bool {
        !self.edge
            && (self.loopback && address.is_loopback()
                || self.networks.iter().any(|network| network.contains(address)))
    }
}

/// Reads `HOST:PORT`, with an address or a DNS name as the host.
///
/// # Errors
/// What is wrong with it, and what is allowed.
pub fn host_and_port(text: &str) -> Result<Address, String> {
    let wrong = || format!("{text:?}; allowed is HOST:PORT");
    if let Ok(address) = text.parse::<SocketAddr>() {
        return if address.port() == 0 { Err(wrong()) } else { Ok(Address::Socket(address)) };
    }
    let (host, port) = text.rsplit_once(':').ok_or_else(wrong)?;
    let port: u16 = port.parse().map_err(|_| wrong())?;
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    let is_name = !host.is_empty() && host.len() <= 253 && host.chars().all(plain);
    if port == 0 || !is_name || host.ends_with(|c: char| c.is_ascii_digit()) && is_numeric(host) {
        return Err(wrong());
    }
    Ok(Address::Name(host.to_ascii_lowercase().into(), port))
}

impl Config {
    /// Whether the registry is on this machine.
    pub(crate) fn has_near_registry(&self) -> bool {
        if self.registry.is_some() {
            return true;
        }
        let variable = || std::env::var("CONSUL_HTTP_ADDR").ok().filter(|value| !value.is_empty());
        let url = self.consul.clone().or_else(variable);
        match url.as_deref().map(str::parse) {
            None | Some(Ok(AgentAddress::Unix(_))) => true,
            Some(Ok(AgentAddress::Tcp { host, .. })) => {
                let ip = host.parse::<IpAddr>();
                host.eq_ignore_ascii_case("localhost") || ip.is_ok_and(|ip| ip.is_loopback())
            }
            Some(_) => false,
        }
    }
}

/// `1.2.3` or `0x7f.1` is an address to some resolvers and a name to none.
pub(crate) fn is_numeric(host: &str) -> bool {
    let last = host.trim_end_matches('.').rsplit('.').next().unwrap_or_default();
    last.starts_with(|c: char| c.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_those_of_the_documentation() {
        let config = Config::default();
        assert_eq!(config.outbound.address.to_string(), "127.0.0.1:15900");
        assert_eq!(config.admin.address.to_string(), "127.0.0.1:15990");
        assert!(config.outbound.is_default && config.admin.is_default && config.register);
        assert_eq!((config.drain.as_secs(), config.notice.as_secs()), (30, 2));
        assert_eq!(config.unknown, Unknown::Refuse);
        assert!(config.trust.loopback && config.trust.registry && !config.trust.edge);
    }

    #[test]
    fn a_place_is_an_address_or_a_socket_file() {
        assert!(matches!("127.0.0.1:80".parse(), Ok(Place::Tcp(_))));
        for text in ["unix:/run/a.sock", "unix:///run/a.sock"] {
            assert_eq!(text.parse::<Place>().map(|p| p.to_string()), Ok("unix:/run/a.sock".into()));
        }
        for wrong in ["", "80", "localhost", "unix:", "unix:a.sock", "127.0.0.1"] {
            assert!(wrong.parse::<Place>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_host_is_an_address_or_a_name_and_never_half_of_one() {
        assert!(matches!(host_and_port("10.0.0.1:80"), Ok(Address::Socket(_))));
        assert!(matches!(host_and_port("[::1]:80"), Ok(Address::Socket(_))));
        assert!(matches!(host_and_port("db.internal:5432"), Ok(Address::Name(..))));
        for wrong in ["db", "db:", "db:0", ":80", "0x7f.1:80", "127.1:80", "a b:80", "10.0.0.1:0"] {
            assert!(host_and_port(wrong).is_err(), "{wrong}");
        }
    }
}
