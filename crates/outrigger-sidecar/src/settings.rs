//! The settings of `run` and `sidecar`, each with its origin.
//!
//! A flag beats a variable of the environment, that beats the configuration file, that beats what
//! the project says, that beats the default. A list is taken whole from the first that names it.

mod checks;
mod config;
mod file;
mod key;
mod layers;
mod origin;
mod problem;
mod rules;
mod told;
mod value;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use outrigger::consul::AgentAddress;
use outrigger::core::{Address, Language, Protocol, ServiceName};

pub use key::{KEYS, Key};
pub use layers::{Given, Mode};
pub use origin::{Origin, Setting};
pub use problem::{Problem, SettingsError};
pub use rules::rules;
pub use told::Told;

use layers::Layers;

use crate::{Place, Unknown, Upstream};

/// Where outbound is unless somebody says otherwise.
pub const DEFAULT_OUTBOUND: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 15_900);
/// Where the admin surface is unless somebody says otherwise.
pub const DEFAULT_ADMIN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 15_990);
/// How long requests in flight get to end unless somebody says otherwise.
pub const DEFAULT_DRAIN: Duration = Duration::from_secs(30);

/// Everything that can be set, checked, each value with its origin.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Settings {
    /// For which command.
    pub mode: Mode,
    /// The service that is announced, and the name of whoever calls from beside us.
    pub service: Setting<Option<ServiceName>>,
    /// Whether the instance is announced.
    pub register: Setting<bool>,
    /// Where the application listens, on loopback; `None` under `run` for any free one.
    pub port: Setting<Option<u16>>,
    /// The unix socket that the application listens on, instead of a port.
    pub socket: Setting<Option<PathBuf>>,
    /// What callers speak to it.
    pub protocol: Setting<Protocol>,
    /// What the application is written in.
    pub language: Setting<Option<Language>>,
    /// The application's version.
    pub version: Setting<Option<String>>,
    /// The zone that it runs in.
    pub zone: Setting<Option<String>>,
    /// Tags beside the language.
    pub tag: Setting<Vec<String>>,
    /// The path that tells whether the application is well.
    pub health: Setting<Option<String>>,
    /// How long requests in flight get to end.
    pub drain: Setting<Duration>,
    /// What others connect to.
    pub inbound: Setting<SocketAddr>,
    /// Where others are told to connect to, when that is another address.
    pub advertise: Setting<Option<(IpAddr, Option<u16>)>>,
    /// The certificates that others are shown, who come in over TLS then.
    pub tls_cert: Setting<Option<PathBuf>>,
    /// The private key of the first of them.
    pub tls_key: Setting<Option<PathBuf>>,
    /// What the application connects to.
    pub outbound: Setting<Place>,
    /// The admin surface, on loopback.
    pub admin: Setting<SocketAddr>,
    /// What probes from outside may ask.
    pub probe: Setting<Option<SocketAddr>>,
    /// The registry; `None` for no registry.
    pub consul: Setting<Option<AgentAddress>>,
    /// The directory that keeps the last good sets.
    pub snapshot: Setting<Option<PathBuf>>,
    /// Policy files and folders of them.
    pub policy: Setting<Vec<PathBuf>>,
    /// Services whose endpoints are fixed.
    pub endpoints: Setting<Vec<(ServiceName, Vec<Address>)>>,
    /// Local ports of single services.
    pub upstream: Setting<Vec<Upstream>>,
    /// What becomes of names that are no known services.
    pub unknown: Setting<Unknown>,
    /// Targets of CONNECT that are allowed.
    pub connect: Setting<Vec<Address>>,
    /// Protocols that may be upgraded to.
    pub upgrade: Setting<Vec<String>>,
    /// Whose headers count.
    pub trust: Setting<Vec<String>>,
    /// Whether nobody's headers count, and traces start here.
    pub edge: Setting<bool>,
    /// How many threads serve; `None` for one for each core.
    pub workers: Setting<Option<NonZeroUsize>>,
}

impl Settings {
    /// Checks what was given and fills in what was not.
    ///
    /// # Errors
    /// Everything that is wrong, each with flag, variable or place, value and what is allowed.
    pub fn resolve(given: &Given<'_>) -> Result<Self, SettingsError> {
        let mut layers = Layers::new(given);
        let settings = read(given, &mut layers);
        checks::across(&settings, &mut layers);
        if layers.problems.is_empty() {
            Ok(settings)
        } else {
            Err(SettingsError::Problems(layers.problems))
        }
    }
}

fn read(given: &Given<'_>, layers: &mut Layers<'_>) -> Settings {
    let guess = &given.guess;
    let consul = registry(layers);
    let service = match layers.one(key::SERVICE, value::service) {
        Some(service) => service.map(Some),
        None => match layers.foreign(key::SERVICE, "OTEL_SERVICE_NAME", value::service) {
            Some(service) => service.map(Some),
            None => layers.guessed(key::SERVICE, value::service, guess.service.as_ref()),
        },
    };
    let port = match layers.one(key::PORT, value::port) {
        Some(port) => port.map(Some),
        None if given.mode == Mode::Run => match layers.foreign(key::PORT, "PORT", value::port) {
            Some(port) => port.map(Some),
            None => layers.guessed(key::PORT, value::port, guess.port.as_ref()),
        },
        None => Setting::default(None, ""),
    };
    Settings {
        mode: given.mode,
        service,
        register: layers.one(key::REGISTER, layers::truth).unwrap_or(Setting::default(true, "")),
        port,
        socket: layers.guessed(key::SOCKET, value::socket_path, None),
        protocol: layers
            .one(key::PROTOCOL, value::protocol)
            .unwrap_or(Setting::default(Protocol::Http, "")),
        language: layers.guessed(key::LANGUAGE, Language::named, guess.language.as_ref()),
        version: layers.guessed(key::VERSION, value::text, guess.version.as_ref()),
        zone: layers.guessed(key::ZONE, value::text, None),
        tag: many(layers, key::TAG, value::tag),
        health: layers.guessed(key::HEALTH, value::health, guess.health.as_ref()),
        drain: layers.one(key::DRAIN, value::drain).unwrap_or(Setting::default(DEFAULT_DRAIN, "")),
        inbound: layers.one(key::INBOUND, value::socket).unwrap_or_else(|| inbound(&consul)),
        advertise: layers.guessed(key::ADVERTISE, value::advertise, None),
        tls_cert: layers.guessed(key::TLS_CERT, value::path, None),
        tls_key: layers.guessed(key::TLS_KEY, value::path, None),
        outbound: layers
            .one(key::OUTBOUND, |text| text.parse().ok())
            .unwrap_or(Setting::default(Place::Tcp(DEFAULT_OUTBOUND), "")),
        admin: layers
            .one(key::ADMIN, value::loopback)
            .unwrap_or(Setting::default(DEFAULT_ADMIN, "")),
        probe: layers.one(key::PROBE, value::probe).unwrap_or(Setting::default(None, "")),
        consul,
        snapshot: layers.guessed(key::SNAPSHOT, value::path, None),
        policy: many(layers, key::POLICY, value::path),
        endpoints: many(layers, key::ENDPOINTS, value::endpoints),
        upstream: many(layers, key::UPSTREAM, |text| text.parse().ok()),
        unknown: layers
            .one(key::UNKNOWN, |text| text.parse().ok())
            .unwrap_or_else(|| unknown(given.mode)),
        connect: many(layers, key::CONNECT, value::host_port),
        upgrade: many(layers, key::UPGRADE, value::upgrade),
        trust: layers.many(key::TRUST, value::trusted).unwrap_or_else(|| {
            Setting::default(vec!["loopback".to_owned(), "registry".to_owned()], "")
        }),
        edge: layers.one(key::EDGE, layers::truth).unwrap_or(Setting::default(false, "")),
        workers: layers.guessed(key::WORKERS, value::workers, None),
    }
}

fn many<T>(
    layers: &mut Layers<'_>,
    key: &'static Key,
    parse: impl Fn(&str) -> Option<T>,
) -> Setting<Vec<T>> {
    layers.many(key, parse).unwrap_or_else(|| Setting::default(Vec::new(), ""))
}

fn registry(layers: &mut Layers<'_>) -> Setting<Option<AgentAddress>> {
    let parse = |text: &str| match text {
        "none" => Some(None),
        _ => text.parse::<AgentAddress>().ok().map(Some),
    };
    layers
        .one(key::CONSUL, parse)
        .or_else(|| layers.foreign(key::CONSUL, "CONSUL_HTTP_ADDR", parse))
        .unwrap_or_else(|| Setting::default(Some(AgentAddress::default()), ""))
}

fn inbound(consul: &Setting<Option<AgentAddress>>) -> Setting<SocketAddr> {
    match &consul.value {
        Some(agent) if is_local(agent) => Setting::default(
            SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            "the registry is on loopback",
        ),
        _ => Setting::default(SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)), ""),
    }
}

/// Whether a registry is on this machine, as far as its address tells without asking anybody.
fn is_local(agent: &AgentAddress) -> bool {
    match agent {
        AgentAddress::Tcp { host, .. } => {
            host.eq_ignore_ascii_case("localhost")
                || host.parse::<IpAddr>().is_ok_and(|ip| ip.to_canonical().is_loopback())
        }
        AgentAddress::Unix(_) => true,
        _ => false,
    }
}

const fn unknown(mode: Mode) -> Setting<Unknown> {
    match mode {
        Mode::Run => Setting::default(Unknown::Pass, "under `run`"),
        Mode::Sidecar => Setting::default(Unknown::Refuse, "for `sidecar`"),
    }
}

#[cfg(test)]
mod tests;
