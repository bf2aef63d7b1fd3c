//! The stages of a sidecar.

mod outgoing;
mod running;
mod surface;

use std::sync::Arc;

use outrigger::Fleet;
use outrigger::admin::Events;
use outrigger::balance::Algorithm;
use outrigger::core::{Clock, ServiceName};
use outrigger::http::Upgrades;
use outrigger::tower::TokioClock;
use tokio::sync::watch;

use crate::config::Registry;
use crate::correlate::Correlation;
use crate::listeners::{Listeners, OwnPlaces};
use crate::outbound::{Names, Pass, Shared};
use crate::tls::Certificate;
use crate::trust::Believed;
use crate::workers::Workers;
use crate::{Addresses, Config, SidecarError, UpstreamKind};

pub use running::Running;

/// A program's way into the fleet.
#[derive(Debug)]
#[non_exhaustive]
pub struct Sidecar;

/// A sidecar whose ports are claimed and that serves nothing yet.
#[derive(Debug)]
pub struct Bound {
    config: Config,
    listeners: Listeners,
    fleet: Fleet,
    events: Arc<Events>,
    believed: Believed,
    own: OwnPlaces,
    certificate: Option<Certificate>,
}

impl Sidecar {
    /// Claims every port, reads policies and joins the fleet. Nothing is served, nothing is
    /// announced, and nothing is asked of the registry.
    ///
    /// Needs a runtime, which does all that is no request: watches, heartbeats, pages.
    ///
    /// # Errors
    /// [`SidecarError`]: a place that is taken, or something that was said and cannot be.
    ///
    /// # Cancel safety
    /// Dropped before it answers, nothing is left behind.
    pub async fn bind(config: Config) -> Result<Bound, SidecarError> {
        config.check()?;
        let tls = config.tls.as_ref().filter(|_| config.application.is_some());
        let certificate = tls.map(Certificate::read).transpose()?;
        let listeners = Listeners::claim(&config)?;
        let own = OwnPlaces::of(&listeners.addresses);
        let believed = Believed::new(config.trust.clone());
        let events = Events::new(TokioClock::new().wall());
        let fleet = join(&config, &believed, &own, &events, certificate.as_ref()).await?;
        Ok(Bound { config, listeners, fleet, events, believed, own, certificate })
    }
}

impl Bound {
    /// Where it listens.
    #[must_use]
    pub const fn addresses(&self) -> &Addresses {
        &self.listeners.addresses
    }

    /// What did not get its default address, in a line each.
    #[must_use]
    pub fn moved(&self) -> &[String] {
        &self.listeners.moved
    }

    /// The fleet as the sidecar joined it.
    #[must_use]
    pub const fn fleet(&self) -> &Fleet {
        &self.fleet
    }

    /// Serves the application's calls, and shows state and metrics. Nobody calls the application
    /// yet.
    ///
    /// # Errors
    /// [`SidecarError`], when no thread can be had.
    ///
    /// # Cancel safety
    /// Dropped before it answers, nothing is left behind.
    pub async fn start(self) -> Result<Running, SidecarError> {
        let Self { config, listeners, fleet, events, believed, own, certificate } = self;
        let workers = Workers::start(config.workers).map_err(SidecarError::Worker)?;
        let correlation = Arc::new(Correlation::new());
        let (stop, stopped) = watch::channel(false);
        let upgrades = if config.websocket {
            Upgrades::new(["websocket"]).expect("a constant that is a protocol")
        } else {
            Upgrades::none()
        };
        let upstreams = config.upstreams.iter().map(|upstream| upstream.service.clone());
        let shared = Arc::new(Shared {
            client: fleet.client(),
            names: Names::start(fleet.clone(), upstreams),
            pass: Pass::new(fleet.telemetry(), own.clone()),
            unknown: config.unknown,
            telemetry: fleet.telemetry().clone(),
            correlation: Arc::clone(&correlation),
            trust: config.trust.clone(),
            connect: config.connect.clone(),
            own,
            stop: stopped,
            upgrades: upgrades.clone(),
        });
        Running::start(running::Parts {
            config,
            listeners,
            fleet,
            events,
            believed,
            workers,
            correlation,
            shared,
            stop,
            upgrades,
            certificate,
        })
    }
}

/// Joins the fleet as the configuration says.
async fn join(
    config: &Config,
    believed: &Believed,
    own: &OwnPlaces,
    events: &Arc<Events>,
    certificate: Option<&Certificate>,
) -> Result<Fleet, SidecarError> {
    let unnamed = || ServiceName::new("unknown").expect("a constant that is a name");
    let service = config.service.clone().unwrap_or_else(unnamed);
    let own = own.clone();
    let mut builder = outrigger::builder(service.as_str())
        .protocol(config.protocol)
        .register(config.register && config.application.is_some())
        .notice(config.notice)
        .drain(config.drain)
        .health_path(None)
        .without_admin()
        .observer(events.observer(service.as_str(), Arc::new(TokioClock::new())))
        .trust(believed.of_traces())
        .continue_traces(!believed.is_edge())
        .never(move |address| own.contains(address));
    builder = match &config.language {
        Some(language) => builder.language(language.clone()),
        None => builder.without_language(),
    };
    if let Some(application) = &config.application {
        builder = builder.serves_for(application.to_string());
    }
    if let Some(certificate) = certificate {
        builder = builder.server_tls(certificate.tls());
    }
    if let Some(version) = &config.version {
        builder = builder.version(version);
    }
    if let Some(zone) = &config.zone {
        builder = builder.zone(zone);
    }
    for tag in &config.tags {
        builder = builder.tag(tag);
    }
    if let Some(advertise) = &config.advertise {
        builder = builder.advertise(advertise);
    }
    if let Some(consul) = &config.consul {
        builder = builder.consul(consul);
    }
    if let Some(Registry { resolver, registrar, keys }) = &config.registry {
        builder = builder.registry(Arc::clone(resolver), registrar.clone());
        if let Some(keys) = keys {
            builder = builder.keys(Arc::clone(keys));
        }
    }
    if let Some(directory) = &config.snapshot {
        builder = builder.snapshots(directory);
    }
    for path in &config.policies {
        builder = builder.policy(path);
    }
    for (service, addresses) in &config.endpoints {
        let addresses = addresses.iter().cloned();
        builder =
            builder.endpoints(service.as_str(), addresses).map_err(outrigger::JoinError::from)?;
    }
    let has_rules = |service: &ServiceName| {
        config.settings.as_ref().is_some_and(|settings| settings.services.contains_key(service))
    };
    for upstream in &config.upstreams {
        if upstream.kind == UpstreamKind::Tcp && !has_rules(&upstream.service) {
            // How long a connection took to open says little of how much goes through it.
            let mut rules = outrigger::Rules::default();
            rules.balance.algorithm = Algorithm::LeastRequest;
            builder = builder.rules_for(upstream.service.as_str(), rules);
        }
    }
    if let Some(settings) = &config.settings {
        builder = builder.settings(settings.clone());
    }
    if let Some(telemetry) = &config.telemetry {
        builder = builder.telemetry(telemetry.clone());
    }
    Ok(builder.join().await?)
}

impl Config {
    /// Looks for what cannot be, before anything is claimed.
    fn check(&self) -> Result<(), SidecarError> {
        let wrong = |key, value: &dyn ToString, allowed| {
            Err(SidecarError::Config { key, value: value.to_string(), allowed })
        };
        if self.application.is_some() && self.service.is_none() {
            return wrong("--service", &"not said", "the application's name, beside --port");
        }
        if !self.admin.address.ip().is_loopback() {
            let allowed = "an address of loopback; --probe shows health and metrics to others";
            return wrong("--admin", &self.admin.address, allowed);
        }
        let mut names = std::collections::BTreeSet::new();
        for upstream in &self.upstreams {
            if !names.insert(&upstream.service) {
                return wrong("--upstream", &upstream.service, "each service once");
            }
            if upstream.kind == UpstreamKind::Tcp
                && self.service.as_ref() == Some(&upstream.service)
            {
                return wrong("--upstream", &upstream.service, "another service than itself");
            }
        }
        Ok(())
    }
}
