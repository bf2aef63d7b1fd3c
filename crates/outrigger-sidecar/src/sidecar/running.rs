//! A sidecar that serves.

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use outrigger::admin::Events;
use outrigger::core::ServiceName;
use outrigger::http::{Drained, Upgrades};
use outrigger::{Fleet, ServeError, Share};
use tokio::sync::{oneshot, watch};
use tokio::task::{AbortHandle, JoinHandle};

use super::outgoing::Outgoing;
use super::surface::{Shown, Surfaces};
use crate::correlate::Correlation;
use crate::inbound::{Application, Forward, Inside};
use crate::listeners::Listeners;
use crate::outbound::{Shared, TcpCounts};
use crate::tls::Certificate;
use crate::trust::Believed;
use crate::workers::Workers;
use crate::{Addresses, Config, SidecarError};

/// Everything that a running sidecar is made of.
pub(super) struct Parts {
    pub(super) config: Config,
    pub(super) listeners: Listeners,
    pub(super) fleet: Fleet,
    pub(super) events: Arc<Events>,
    pub(super) believed: Believed,
    pub(super) workers: Workers,
    pub(super) correlation: Arc<Correlation>,
    pub(super) shared: Arc<Shared>,
    pub(super) stop: watch::Sender<bool>,
    pub(super) upgrades: Upgrades,
    pub(super) certificate: Option<Certificate>,
}

/// A sidecar that serves. Dropped, it ends at once, and cuts what is in flight.
#[derive(Debug)]
pub struct Running {
    config: Config,
    addresses: Addresses,
    fleet: Fleet,
    believed: Believed,
    correlation: Arc<Correlation>,
    upgrades: Upgrades,
    /// Until it is opened.
    inbound: Mutex<Option<TcpListener>>,
    open: Mutex<Option<Open>>,
    outgoing: Outgoing,
    stop: watch::Sender<bool>,
    surfaces: Surfaces,
    claims: Ended,
    _certificate: Option<Ended>,
    workers: Workers,
}

/// An inbound half that serves.
#[derive(Debug)]
struct Open {
    end: oneshot::Sender<()>,
    serving: JoinHandle<Result<Drained, ServeError>>,
    _health: Ended,
}

/// A task that ends with its owner.
#[derive(Debug)]
struct Ended(AbortHandle);

impl Drop for Ended {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Running {
    pub(super) fn start(parts: Parts) -> Result<Self, SidecarError> {
        let Parts { config, listeners, fleet, events, believed, .. } = parts;
        let Parts { workers, correlation, shared, stop, upgrades, certificate, .. } = parts;
        let mut outgoing = Outgoing::default();
        outgoing
            .serve(listeners.outbound, &shared, &workers, &stop)
            .and_then(|()| outgoing.serve_upstreams(listeners.upstreams, &shared, &workers, &stop))
            .map_err(SidecarError::Worker)?;
        let shown = Shown {
            fleet: fleet.clone(),
            addresses: listeners.addresses.clone(),
            correlation: Arc::clone(&correlation),
            tcp: outgoing.tcp().clone(),
            tls: config.tls.clone().zip(certificate.as_ref().map(Certificate::trouble)),
        };
        let certificate = certificate
            .map(|certificate| tokio::spawn(certificate.follow(Arc::clone(&events))))
            .map(|following| Ended(following.abort_handle()));
        let surfaces = Surfaces::serve(shown, events, listeners.admin, listeners.probe)?;
        let claims = {
            let (believed, fleet) = (believed.clone(), fleet.clone());
            tokio::spawn(async move {
                let is_listed = |name: &ServiceName| shared.names.is_listed(name);
                believed.follow_claims(&fleet, is_listed).await;
            })
        };
        Ok(Self {
            config,
            addresses: listeners.addresses,
            fleet,
            believed,
            correlation,
            upgrades,
            inbound: Mutex::new(listeners.inbound),
            open: Mutex::new(None),
            outgoing,
            stop,
            surfaces,
            claims: Ended(claims.abort_handle()),
            _certificate: certificate,
            workers,
        })
    }

    /// Where it listens.
    #[must_use]
    pub const fn addresses(&self) -> &Addresses {
        &self.addresses
    }

    /// The fleet as the sidecar joined it.
    #[must_use]
    pub const fn fleet(&self) -> &Fleet {
        &self.fleet
    }

    /// How outbound calls and inbound requests belong together.
    #[must_use]
    pub fn correlation(&self) -> &Correlation {
        &self.correlation
    }

    /// What went through the upstreams that are plain TCP.
    #[must_use]
    pub const fn tcp(&self) -> &BTreeMap<ServiceName, Arc<TcpCounts>> {
        self.outgoing.tcp()
    }

    /// Lets callers in, and announces the instance. Answers once it is announced, not when the
    /// registry has it: [`Fleet::registered`] waits for that. From now on the application is asked
    /// after its health, and the registry is told.
    ///
    /// With nothing to stand in front of, there is nothing to do.
    ///
    /// # Errors
    /// [`SidecarError`]: the instance cannot be announced as was said, or it was opened before.
    ///
    /// # Cancel safety
    /// Dropped before it answers, the sidecar cannot be opened any more.
    pub async fn open(&self) -> Result<(), SidecarError> {
        let Some(place) = &self.config.application else { return Ok(()) };
        let listener = lock(&self.inbound).take().ok_or(SidecarError::NotNow)?;
        let application = Application::new(place, self.fleet.service(), self.config.protocol);
        let inside = Inside {
            application: application.clone(),
            telemetry: self.fleet.telemetry().clone(),
            correlation: Arc::clone(&self.correlation),
            believed: self.believed.clone(),
            upgrades: self.upgrades.clone(),
            is_tls: self.config.tls.is_some(),
        };
        let forward = Forward::new(inside, self.workers.handles().len());
        let shares = self.workers.handles().map(|handle| {
            let listener = listener.try_clone()?;
            Share::new(listener, handle.clone())
        });
        let shares: Vec<_> = shares.collect::<Result<_, _>>().map_err(SidecarError::Worker)?;
        drop(listener);
        let health = {
            let (fleet, path) = (self.fleet.clone(), self.config.health.clone());
            let watch = async move { application.watch_health(path.as_deref(), &fleet).await };
            Ended(tokio::spawn(watch).abort_handle())
        };
        let (end, ended) = oneshot::channel::<()>();
        let fleet = self.fleet.clone();
        let mut serving = tokio::spawn(async move {
            let end = async {
                // A sender that is gone means the same.
                let _ = ended.await;
            };
            fleet.serve_shared(shares, forward, end).await
        });
        tokio::select! {
            () = self.fleet.opened() => {}
            ended = &mut serving => return match ended {
                Ok(Err(error)) => Err(error.into()),
                _ => Err(SidecarError::NotNow),
            },
        }
        *lock(&self.open) = Some(Open { end, serving, _health: health });
        Ok(())
    }

    /// Leaves the fleet in order: deregistered, callers told, then no more accepted and what is in
    /// flight finished, at most for [`Config::drain`]. The application's own calls go on.
    ///
    /// # Cancel safety
    /// Dropped half-way, it goes on in the background.
    pub async fn drain(&self) -> Drained {
        let open = lock(&self.open).take();
        let Some(Open { end, serving, _health }) = open else { return Drained::default() };
        let _ = end.send(());
        match serving.await {
            Ok(Ok(drained)) => drained,
            _ => Drained::default(),
        }
    }

    /// Ends what is left: outbound listeners, pages, telemetry. What is in flight there gets a
    /// second.
    ///
    /// # Cancel safety
    /// Dropped half-way, what is left is cut.
    pub async fn stop(self) {
        self.stop.send_replace(true);
        self.outgoing.ended().await;
        drop(self.claims);
        self.surfaces.stop().await;
        self.fleet.shutdown(Duration::from_secs(2)).await;
    }
}

/// What is behind these locks is replaced whole.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
