//! From a name to a fleet.

mod means;

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use outrigger_core::{
    Address, Clock, Language, NameError, Observe, Observers, Protocol, Ratio, ServiceName,
};
use outrigger_discovery::{KeyWatcher, Registrar, Resolver, StaticResolver};
use outrigger_host::PolicyStore;
use outrigger_http::{ClientTls, ServerTls};
use outrigger_telemetry::{AccessLog, AccessLogError, AccessLogTo, SpanSink, Telemetry, Trust};
use outrigger_tower::{Tells, TokioClock};

use crate::destination::folded;
use crate::fleet::{Fleet, Never, Parts};
use crate::member::Admin;
use crate::memory::Memory;
use crate::policy::{Files, Policies};
use crate::registry::Registries;
use crate::settings::{AdminAddress, Settings, SettingsError};
use crate::{Inbound, Rules, RulesError};
use means::{Registry, consul, telemetry};

/// Why a service cannot join its fleet.
///
/// A registry that cannot be reached is none of these: a service starts without it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum JoinError {
    /// The service's own name, or one of those it was given rules for, is no name.
    #[error("the service cannot be called that")]
    Name(#[from] NameError),
    /// Environment or file say something that cannot be.
    #[error("the settings cannot be used")]
    Settings(#[from] SettingsError),
    /// A rule set in code is out of its range.
    #[error("the rules of `{service}` cannot be used")]
    Rules {
        /// Whose.
        service: String,
        /// What is wrong with them.
        #[source]
        source: RulesError,
    },
    /// What is said of Consul cannot be.
    #[error("consul cannot be used")]
    Consul(#[from] outrigger_consul::ConfigError),
    /// What is said of telemetry cannot be.
    #[error("telemetry cannot be used")]
    Telemetry(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The admin surface cannot be served where it was asked for.
    #[error("the admin surface cannot be served on {address}")]
    Admin {
        /// Where.
        address: SocketAddr,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The file of the access log cannot be opened.
    #[error(transparent)]
    AccessLog(#[from] AccessLogError),
    /// No tokio runtime is there to live on.
    #[error("joining a fleet needs a tokio runtime; call it from within one")]
    NoRuntime,
}

/// Everything that can be said about a service before it joins.
///
/// What is said here wins over `OUTRIGGER_*`, which wins over `outrigger.toml`, which wins over
/// the defaults; each is documented where it is set.
#[must_use = "nothing happens before `join`"]
pub struct Builder {
    service: String,
    version: Option<String>,
    zone: Option<String>,
    language: Option<Language>,
    protocol: Protocol,
    advertise: Option<String>,
    advertise_loopback: Option<bool>,
    consul: Option<String>,
    registry: Option<Ports>,
    registers: bool,
    trust: Trust,
    continues_traces: bool,
    never: Option<Never>,
    settings: Option<Settings>,
    endpoints: StaticResolver,
    fixed: Vec<ServiceName>,
    ttl: Option<Duration>,
    notice: Duration,
    drain: Option<Duration>,
    health: Option<String>,
    snapshot: Option<PathBuf>,
    policies: Vec<PathBuf>,
    keys: Option<Arc<dyn KeyWatcher>>,
    observers: Vec<Arc<dyn Observe>>,
    sinks: Vec<Arc<dyn SpanSink>>,
    telemetry: Option<Telemetry>,
    sample: Option<Ratio>,
    access_log: Option<AccessLogTo>,
    serves_for: Option<Arc<str>>,
    tls: Option<ClientTls>,
    server_tls: Option<ServerTls>,
    rules: Option<Rules>,
    services: BTreeMap<String, Rules>,
    inbound: Option<Inbound>,
    tags: Vec<String>,
    meta: BTreeMap<String, String>,
    admin: Option<AdminAddress>,
    clock: Arc<dyn Clock>,
}

/// Another registry than Consul.
struct Ports {
    resolver: Arc<dyn Resolver>,
    registrar: Option<Arc<dyn Registrar>>,
}

impl Builder {
    pub(crate) fn new(service: &str) -> Self {
        Self {
            service: service.to_owned(),
            version: None,
            zone: None,
            language: Some(Language::Rust),
            protocol: Protocol::Http,
            advertise: None,
            advertise_loopback: None,
            consul: None,
            registry: None,
            registers: true,
            trust: Trust::All,
            continues_traces: false,
            never: None,
            settings: None,
            endpoints: StaticResolver::new(),
            fixed: Vec::new(),
            ttl: None,
            notice: Duration::from_secs(2),
            drain: None,
            health: Some("/healthz".to_owned()),
            snapshot: None,
            policies: Vec::new(),
            keys: None,
            observers: Vec::new(),
            sinks: Vec::new(),
            telemetry: None,
            sample: None,
            access_log: None,
            serves_for: None,
            tls: None,
            server_tls: None,
            rules: None,
            services: BTreeMap::new(),
            inbound: None,
            tags: Vec::new(),
            meta: BTreeMap::new(),
            admin: None,
            clock: Arc::new(TokioClock::new()),
        }
    }

    /// The service's version, for callers that choose by it. Default none.
    pub fn version(mut self, version: impl Into<String>) -> Self {
        self.version = Some(version.into());
        self
    }

    /// The zone it runs in; callers prefer their own. Default none.
    pub fn zone(mut self, zone: impl Into<String>) -> Self {
        self.zone = Some(zone.into());
        self
    }

    /// The language it is registered under, for subsets that choose by it. Default
    /// [`Language::Rust`]; another one is for a process that stands before, or in for, a service
    /// written in it.
    pub fn language(mut self, language: Language) -> Self {
        self.language = Some(language);
        self
    }

    /// Registered under no language: for a process that stands before a service of which none is
    /// known.
    pub fn without_language(mut self) -> Self {
        self.language = None;
        self
    }

    /// What it speaks on its port, for callers to speak the same: [`Protocol::Grpc`] for a gRPC
    /// service in the clear. Default [`Protocol::Http`]. The port itself takes HTTP/1.1 and HTTP/2
    /// by prior knowledge whatever is said here.
    pub const fn protocol(mut self, protocol: Protocol) -> Self {
        self.protocol = protocol;
        self
    }

    /// The address, or address and port, that others reach it at. Default the listener's; if that
    /// is unspecified, the source address of the route to the registry, or to the outside when the
    /// registry is on this machine.
    ///
    /// A loopback address is refused while the registry is elsewhere: see
    /// [`Builder::advertise_loopback`].
    pub fn advertise(mut self, address: impl Into<String>) -> Self {
        self.advertise = Some(address.into());
        self
    }

    /// Whether a loopback address may be announced to a registry on another machine. Default false:
    /// whoever finds it there connects to itself.
    pub const fn advertise_loopback(mut self, allowed: bool) -> Self {
        self.advertise_loopback = Some(allowed);
        self
    }

    /// One more tag in the registry, beside the language.
    pub fn tag(mut self, tag: impl Into<String>) -> Self {
        self.tags.push(tag.into());
        self
    }

    /// One more pair of metadata in the registry.
    pub fn meta(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.meta.insert(key.into(), value.into());
        self
    }

    /// The registry's URL: Consul, or `none`. Default `CONSUL_HTTP_ADDR`, else
    /// `http://127.0.0.1:8500`.
    pub fn consul(mut self, url: impl Into<String>) -> Self {
        self.consul = Some(url.into());
        self
    }

    /// Another registry than Consul: where instances are found, and where this one is announced.
    pub fn registry(
        mut self,
        resolver: Arc<dyn Resolver>,
        registrar: Option<Arc<dyn Registrar>>,
    ) -> Self {
        self.registry = Some(Ports { resolver, registrar });
        self
    }

    /// Whether the instance is announced while it serves. Default true; false for a process whose
    /// entry somebody else writes.
    pub const fn register(mut self, wanted: bool) -> Self {
        self.registers = wanted;
        self
    }

    /// Whose word counts on who calls, on the trace and on the baggage, told by what a request's
    /// extensions hold ([`ClientAddress`](outrigger_tower::ClientAddress), for one). Default
    /// everybody's.
    pub fn trust(mut self, trust: Trust) -> Self {
        self.trust = trust;
        self
    }

    /// Whether the traces of callers who are not believed are continued all the same. Default
    /// false: each of their requests starts a trace that links to theirs.
    pub const fn continue_traces(mut self, wanted: bool) -> Self {
        self.continues_traces = wanted;
        self
    }

    /// Addresses that nothing is ever sent to, whoever registers them: the listeners of a proxy
    /// that would call itself.
    pub fn never(mut self, is_one: impl Fn(SocketAddr) -> bool + Send + Sync + 'static) -> Self {
        self.never = Some(Never(Arc::new(is_one)));
        self
    }

    /// Settings that were read already, instead of what environment and files say.
    pub fn settings(mut self, settings: Settings) -> Self {
        self.settings = Some(settings);
        self
    }

    /// Fixed endpoints of a service; they replace the registry for that name.
    ///
    /// # Errors
    /// [`NameError`] when the name cannot be a service's.
    pub fn endpoints(
        mut self,
        service: &str,
        addresses: impl IntoIterator<Item = impl Into<Address>>,
    ) -> Result<Self, NameError> {
        let service = folded(service)?;
        self.endpoints = self.endpoints.with(service.clone(), addresses);
        self.fixed.push(service);
        Ok(self)
    }

    /// Time without a heartbeat after which the registry takes the instance for critical.
    /// Default 15 s.
    pub const fn ttl(mut self, ttl: Duration) -> Self {
        self.ttl = Some(ttl);
        self
    }

    /// Time between leaving the registry and closing the port, so that callers have heard of it.
    /// Default 2 s: a caller's watch follows a stream of changes once a second.
    pub const fn notice(mut self, notice: Duration) -> Self {
        self.notice = notice;
        self
    }

    /// Time that requests in flight get to end. Default 30 s.
    pub const fn drain(mut self, drain: Duration) -> Self {
        self.drain = Some(drain);
        self
    }

    /// The path that is answered with 200 while serving and 503 while draining, unless `None`.
    /// Default `/healthz`.
    pub fn health_path(mut self, path: Option<&str>) -> Self {
        self.health = path.map(str::to_owned);
        self
    }

    /// A policy file, or a directory of them; may be said several times, and takes the place of
    /// `OUTRIGGER_POLICY`. What a file says of a service wins over the registry's keys, and is
    /// obeyed within a second of each change. Default none.
    pub fn policy(mut self, path: impl Into<PathBuf>) -> Self {
        self.policies.push(path.into());
        self
    }

    /// Where policies are kept under keys, `outrigger/policy/<service>`. Default the registry, when
    /// that is Consul.
    pub fn keys(mut self, keys: Arc<dyn KeyWatcher>) -> Self {
        self.keys = Some(keys);
        self
    }

    /// The directory that keeps the last good sets and policies, a file for each service, for a
    /// start while the registry is away. Default none.
    pub fn snapshots(mut self, directory: impl Into<PathBuf>) -> Self {
        self.snapshot = Some(directory.into());
        self
    }

    /// One more listener for everything that happens.
    pub fn observer(mut self, observer: Arc<dyn Observe>) -> Self {
        self.observers.push(observer);
        self
    }

    /// One more taker of finished spans.
    pub fn span_sink(mut self, sink: Arc<dyn SpanSink>) -> Self {
        self.sinks.push(sink);
        self
    }

    /// A ready telemetry instead of one made of `OTEL_*`; sinks and sample ratio are its own.
    pub fn telemetry(mut self, telemetry: Telemetry) -> Self {
        self.telemetry = Some(telemetry);
        self
    }

    /// Share of the traces that start here which is recorded. `OTEL_TRACES_SAMPLER` wins over it.
    pub const fn sample_ratio(mut self, ratio: Ratio) -> Self {
        self.sample = Some(ratio);
        self
    }

    /// Where requests that are served are logged, as lines of JSON: which of them is said by
    /// `telemetry.access_log` of the service's policy. Takes the place of `OUTRIGGER_ACCESS_LOG`.
    /// Default standard error. Named here or there, failures are logged without a policy too;
    /// [`AccessLogTo::Nowhere`] logs nothing, whatever the policy says.
    pub fn access_log(mut self, to: AccessLogTo) -> Self {
        self.access_log = Some(to);
        self
    }

    /// What the access log calls the endpoint of requests that are served; for a process that
    /// stands before another one. Default the listener's address.
    pub fn serves_for(mut self, endpoint: impl Into<Arc<str>>) -> Self {
        self.serves_for = Some(endpoint.into());
        self
    }

    /// How TLS to endpoints is spoken that say `https` or `grpcs`; [`ClientTls::native`] trusts
    /// the system's roots. Default not at all: a try on such an endpoint is a connect failure.
    pub fn tls(mut self, tls: ClientTls) -> Self {
        self.tls = Some(tls);
        self
    }

    /// Serves over TLS only, and announces `https` for `http` and `h2c`, `grpcs` for `grpc`. Default
    /// in the clear.
    pub fn server_tls(mut self, tls: ServerTls) -> Self {
        self.server_tls = Some(tls);
        self
    }

    /// How services are called that have no rules of their own; replaces what settings say.
    pub fn rules(mut self, rules: Rules) -> Self {
        self.rules = Some(rules);
        self
    }

    /// How one service is called; replaces what settings say.
    pub fn rules_for(mut self, service: &str, rules: Rules) -> Self {
        self.services.insert(service.to_owned(), rules);
        self
    }

    /// What this service accepts; replaces what settings say.
    pub fn inbound(mut self, inbound: Inbound) -> Self {
        self.inbound = Some(inbound);
        self
    }

    /// Serves the admin surface here: state, events, metrics, health and a page, for reading and
    /// for this machine only. Takes the place of `OUTRIGGER_ADMIN`. Default off.
    ///
    /// An address that is not of the loopback, or taken, is refused at [`Builder::join`].
    pub const fn admin(mut self, address: SocketAddr) -> Self {
        self.admin = Some(AdminAddress::At(address));
        self
    }

    /// Serves no admin surface, whatever `OUTRIGGER_ADMIN` says; for a program that has its own.
    pub const fn without_admin(mut self) -> Self {
        self.admin = Some(AdminAddress::Off);
        self
    }

    /// Another clock; for tests.
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// Joins: reads the environment, makes the registry's client and telemetry. Nothing is
    /// announced before [`Fleet::serve`], and nothing is asked of the registry before the first
    /// call.
    ///
    /// # Errors
    /// [`JoinError`], for what cannot be put right by waiting.
    ///
    /// # Cancel safety
    /// Dropped before it answers, nothing is left behind.
    pub async fn join(self) -> Result<Fleet, JoinError> {
        let runtime = tokio::runtime::Handle::try_current().map_err(|_| JoinError::NoRuntime)?;
        let service = ServiceName::new(&self.service)?;
        let settings = match self.settings {
            Some(settings) => settings,
            None => Settings::from_env()?,
        };
        let mut services = settings.services;
        for (name, rules) in self.services {
            services.insert(folded(&name)?, rules);
        }
        let rules = self.rules.unwrap_or(settings.rules);
        check("*", &rules)?;
        for (name, rules) in &services {
            check(name.as_str(), rules)?;
        }
        let inbound = self.inbound.unwrap_or(settings.inbound);
        inbound
            .validate()
            .map_err(|source| JoinError::Rules { service: service.to_string(), source })?;

        let version = self.version.or(settings.process.version);
        let zone = self.zone.or(settings.process.zone);
        let telemetry = match self.telemetry {
            Some(telemetry) => telemetry,
            None => telemetry(
                &service,
                version.as_deref(),
                self.sample,
                self.sinks,
                &self.clock,
                &runtime,
            )?,
        };
        let mut observers: Vec<Arc<dyn Observe>> = self.observers;
        let admin = match self.admin.or(settings.process.admin) {
            Some(AdminAddress::At(address)) => Some(Admin::bind(address, &self.clock).await?),
            Some(AdminAddress::Off) | None => None,
        };
        observers.extend(admin.as_ref().map(|admin| admin.observer(&service, &self.clock)));
        observers.push(Arc::clone(telemetry.metrics()) as Arc<dyn Observe>);
        let named = settings.process.access_log.as_deref().map(|to| match to.parse() {
            Ok(to) => to,
            Err(never) => match never {},
        });
        let named = self.access_log.or(named);
        let access_log = match named {
            Some(AccessLogTo::Nowhere) => None,
            named => {
                let tells = if named.is_some() { Tells::Failures } else { Tells::Nothing };
                let log = AccessLog::open(named.unwrap_or_default(), &telemetry)?;
                observers.push(Arc::new(log.clone()));
                Some((log, tells))
            }
        };
        let observers: Observers = observers.into_iter().collect();

        let mut endpoints = self.endpoints;
        let mut fixed = self.fixed;
        for (name, addresses) in settings.process.endpoints {
            let name = folded(name.as_str())?;
            endpoints = endpoints.with(name.clone(), addresses);
            fixed.push(name);
        }
        let Registry { resolver, registrar, keys, at } = match self.registry {
            Some(Ports { resolver, registrar }) => {
                Registry { resolver: Some(resolver), registrar, keys: None, at: None }
            }
            None => {
                let url = self.consul.or(settings.process.consul);
                consul(url.as_deref(), &self.clock, &observers)?
            }
        };
        let registrar = registrar.filter(|_| self.registers);
        let directory = self.snapshot.or(settings.process.snapshot);
        let paths = if self.policies.is_empty() { settings.process.policy } else { self.policies };
        let policies = Policies {
            files: match &*paths {
                [] => None,
                _ => Some(Files::start(paths, Arc::clone(&self.clock)).await),
            },
            keys: self.keys.or(keys),
            store: directory.clone().map(PolicyStore::new),
            observers: observers.clone(),
            clock: Arc::clone(&self.clock),
            runtime: runtime.clone(),
        };
        let memory = directory.map(|directory| Memory::open(directory, Arc::clone(&self.clock)));
        let registries = Registries { resolver, fixed, endpoints, memory, consul: at };
        let fleet = Fleet::new(Parts {
            service,
            language: self.language,
            protocol: self.protocol,
            version,
            zone,
            advertise: self.advertise.or(settings.process.advertise),
            advertise_loopback: self
                .advertise_loopback
                .or(settings.process.advertise_loopback)
                .unwrap_or(false),
            tags: self.tags,
            meta: self.meta,
            ttl: self.ttl,
            notice: self.notice,
            drain: self.drain.or(settings.process.drain).unwrap_or(Duration::from_secs(30)),
            health: self.health,
            registries,
            registrar,
            observers,
            telemetry,
            access_log,
            serves_for: self.serves_for,
            tls: self.tls,
            server_tls: self.server_tls,
            policies,
            rules,
            services,
            inbound,
            trust: self.trust,
            continues_traces: self.continues_traces,
            never: self.never,
            clock: self.clock,
            runtime,
        });
        if let Some(admin) = admin {
            admin.serve(&fleet)?;
        }
        Ok(fleet)
    }
}

fn check(service: &str, rules: &Rules) -> Result<(), JoinError> {
    rules.validate().map_err(|source| JoinError::Rules { service: service.to_owned(), source })
}

impl fmt::Debug for Builder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder").field("service", &self.service).finish_non_exhaustive()
    }
}
