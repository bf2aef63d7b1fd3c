//! Flags of `outrigger sidecar`, which are those of `outrigger run` too.

use std::net::{Ipv4Addr, SocketAddr};
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use outrigger::core::{Address, Language, Protocol, ServiceName};
use outrigger_sidecar::{Config, Listen, Place, Trust, Unknown, Upstream, host_and_port};

use super::duration;

/// Flags of `sidecar`.
#[derive(Clone, Debug, Args)]
pub(crate) struct SidecarArgs {
    /// The name that the application is registered under, and that its calls carry.
    #[arg(long, env = "OUTRIGGER_SERVICE", value_name = "NAME")]
    pub(crate) service: Option<ServiceName>,
    /// The port that the application listens on, on loopback.
    #[arg(long, env = "OUTRIGGER_PORT", value_name = "N")]
    pub(crate) port: Option<u16>,
    /// The unix socket that the application listens on, instead of a port.
    #[arg(long, env = "OUTRIGGER_SOCKET", value_name = "PATH", conflicts_with = "port")]
    pub(crate) socket: Option<PathBuf>,
    /// The language it is registered with.
    #[arg(long, env = "OUTRIGGER_LANGUAGE", value_name = "L")]
    pub(crate) language: Option<String>,
    /// The version it is registered with.
    #[arg(long, env = "OUTRIGGER_VERSION", value_name = "V")]
    pub(crate) version: Option<String>,
    /// The zone it runs in.
    #[arg(long, env = "OUTRIGGER_ZONE", value_name = "Z")]
    pub(crate) zone: Option<String>,
    /// What callers speak to it: http, h2c or grpc.
    #[arg(long, env = "OUTRIGGER_PROTOCOL", default_value = "http", value_parser = protocol)]
    pub(crate) protocol: Protocol,
    /// The application's own health path.
    #[arg(long, env = "OUTRIGGER_HEALTH", value_name = "PATH")]
    pub(crate) health: Option<String>,
    /// Leave the registry alone: somebody else writes the entry.
    #[arg(long, env = "OUTRIGGER_NO_REGISTER", value_parser = super::flag())]
    pub(crate) no_register: bool,
    /// Time that requests in flight get to end.
    #[arg(long, env = "OUTRIGGER_DRAIN", default_value = "30s", value_parser = duration,
          value_name = "TIME")]
    pub(crate) drain: Duration,
    /// Where callers come in [default: 0.0.0.0:0, or 127.0.0.1:0 beside a registry on loopback].
    #[arg(long, env = "OUTRIGGER_INBOUND", value_name = "ADDR")]
    pub(crate) inbound: Option<SocketAddr>,
    /// What others are told to connect to [default: the inbound address].
    #[arg(long, env = "OUTRIGGER_ADVERTISE", value_name = "ADDR[:PORT]")]
    pub(crate) advertise: Option<String>,
    /// Where the application's calls come in, ADDR:PORT or unix:PATH [default: 127.0.0.1:15900].
    #[arg(long, env = "OUTRIGGER_OUTBOUND", value_name = "ADDR")]
    pub(crate) outbound: Option<Place>,
    /// Where pages, metrics and state are shown, on loopback [default: 127.0.0.1:15990].
    #[arg(long, env = "OUTRIGGER_ADMIN", value_name = "ADDR")]
    pub(crate) admin: Option<SocketAddr>,
    /// Where health, readiness and metrics are shown to anybody.
    #[arg(long, env = "OUTRIGGER_PROBE", value_name = "ADDR")]
    pub(crate) probe: Option<SocketAddr>,
    /// The registry, or `none` [default: CONSUL_HTTP_ADDR, else http://127.0.0.1:8500].
    #[arg(long, env = "OUTRIGGER_CONSUL", value_name = "URL")]
    pub(crate) consul: Option<String>,
    /// Keep the last good sets in this directory.
    #[arg(long, env = "OUTRIGGER_SNAPSHOT", value_name = "DIR")]
    pub(crate) snapshot: Option<PathBuf>,
    /// A policy file, or a directory of them.
    #[arg(long, env = "OUTRIGGER_POLICY", value_delimiter = ';', value_name = "FILE-OR-DIR")]
    pub(crate) policy: Vec<PathBuf>,
    /// Fixed endpoints of a service, instead of the registry's.
    #[arg(long, env = "OUTRIGGER_ENDPOINTS", value_delimiter = ';', value_parser = endpoints,
          value_name = "NAME=HOST:PORT[,…]")]
    pub(crate) endpoints: Vec<(ServiceName, Vec<Address>)>,
    /// A local port for one service; `tcp://` for one that does not speak HTTP.
    #[arg(
        long,
        env = "OUTRIGGER_UPSTREAM",
        value_delimiter = ';',
        value_name = "NAME=[tcp://]ADDR"
    )]
    pub(crate) upstream: Vec<Upstream>,
    /// What becomes of names that are no known services: pass or refuse.
    #[arg(long, env = "OUTRIGGER_UNKNOWN", default_value = "refuse", value_name = "WORD")]
    pub(crate) unknown: Unknown,
    /// Where CONNECT may lead, beside known services.
    #[arg(long, env = "OUTRIGGER_CONNECT", value_delimiter = ';', value_parser = host_and_port,
          value_name = "HOST:PORT")]
    pub(crate) connect: Vec<Address>,
    /// What connections may become: websocket.
    #[arg(long, env = "OUTRIGGER_UPGRADE", value_delimiter = ';', value_name = "PROTOCOL",
          value_parser = ["websocket"])]
    pub(crate) upgrade: Vec<String>,
    /// Who is believed: loopback, registry, and networks such as 10.0.0.0/8.
    #[arg(
        long,
        env = "OUTRIGGER_TRUST",
        value_delimiter = ',',
        default_value = "loopback,registry",
        value_name = "WHO,…"
    )]
    pub(crate) trust: Vec<String>,
    /// Believe nobody, and start a trace with each request.
    #[arg(long, env = "OUTRIGGER_EDGE", value_parser = super::flag())]
    pub(crate) edge: bool,
    /// Threads that serve [default: one for each core].
    #[arg(long, env = "OUTRIGGER_WORKERS", value_name = "N")]
    pub(crate) workers: Option<NonZeroUsize>,
}

impl SidecarArgs {
    /// The same as a sidecar is told.
    ///
    /// # Errors
    /// The flag that is wrong, and why.
    pub(crate) fn config(&self) -> Result<Config, String> {
        let mut config = Config::default();
        config.service.clone_from(&self.service);
        config.application = match (self.port, &self.socket) {
            (Some(port), _) => Some(Place::Tcp(SocketAddr::from((Ipv4Addr::LOCALHOST, port)))),
            (None, Some(path)) => Some(Place::Unix(path.clone())),
            (None, None) => None,
        };
        config.language = match &self.language {
            Some(text) => Some(Language::named(text).ok_or_else(|| {
                format!("--language {text:?}; allowed is a word such as python or go")
            })?),
            None => None,
        };
        config.version.clone_from(&self.version);
        config.zone.clone_from(&self.zone);
        config.protocol = self.protocol;
        config.health.clone_from(&self.health);
        config.register = !self.no_register;
        config.drain = self.drain;
        config.inbound = self.inbound.map(Listen::at);
        config.advertise.clone_from(&self.advertise);
        if let Some(outbound) = &self.outbound {
            config.outbound = Listen::at(outbound.clone());
        }
        if let Some(admin) = self.admin {
            config.admin = Listen::at(admin);
        }
        config.probe = self.probe.map(Listen::at);
        config.consul.clone_from(&self.consul);
        config.snapshot.clone_from(&self.snapshot);
        config.policies.clone_from(&self.policy);
        for (service, addresses) in &self.endpoints {
            config.endpoints.entry(service.clone()).or_default().extend(addresses.iter().cloned());
        }
        config.upstreams.clone_from(&self.upstream);
        config.unknown = self.unknown;
        config.connect.clone_from(&self.connect);
        config.websocket = !self.upgrade.is_empty();
        config.trust = Trust::nobody();
        for word in &self.trust {
            config.trust.add(word.trim()).map_err(|why| format!("--trust {why}"))?;
        }
        config.trust.edge = self.edge;
        config.workers = self.workers;
        Ok(config)
    }
}

fn protocol(text: &str) -> Result<Protocol, String> {
    let clear = |protocol: &Protocol| !protocol.is_tls();
    Protocol::parse(text).filter(clear).ok_or_else(|| "http, h2c or grpc".to_owned())
}

fn endpoints(text: &str) -> Result<(ServiceName, Vec<Address>), String> {
    let (name, list) = text.split_once('=').ok_or("NAME=HOST:PORT[,HOST:PORT…]")?;
    let service = ServiceName::new(&name.to_ascii_lowercase()).map_err(|e| e.to_string())?;
    let addresses = list.split(',').map(|one| host_and_port(one.trim()));
    Ok((service, addresses.collect::<Result<_, _>>()?))
}
