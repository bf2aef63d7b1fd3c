//! A sidecar that serves.

use std::net::TcpListener;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use outrigger::admin::Events;
use outrigger::http::{Drained, Peer, Server, ServerConfig};
use outrigger::tower::RefuseLayer;
use outrigger::{Fleet, ServeError, Share};
use tokio::sync::{oneshot, watch};
use tokio::task::{JoinHandle, JoinSet};
use tower_layer::Layer;

use super::surface::{Shown, Surfaces};
use crate::correlate::Correlation;
use crate::inbound::Forward;
use crate::listeners::{Claimed, Listeners, SocketFile};
use crate::outbound::{Outbound, Shared};
use crate::workers::Workers;
use crate::{Addresses, Config, Place, SidecarError, UpstreamKind};

/// Everything that a running sidecar is made of.
pub(super) struct Parts {
    pub(super) config: Config,
    pub(super) listeners: Listeners,
    pub(super) fleet: Fleet,
    pub(super) events: Arc<Events>,
    pub(super) workers: Workers,
    pub(super) correlation: Arc<Correlation>,
    pub(super) shared: Arc<Shared>,
}

/// A sidecar that serves. Dropped, it ends at once, and cuts what is in flight.
#[derive(Debug)]
pub struct Running {
    config: Config,
    addresses: Addresses,
    fleet: Fleet,
    correlation: Arc<Correlation>,
    /// Until it is opened.
    inbound: Mutex<Option<TcpListener>>,
    open: Mutex<Option<Open>>,
    outbound: Mutex<JoinSet<Drained>>,
    stop: watch::Sender<bool>,
    surfaces: Surfaces,
    _socket: Option<SocketFile>,
    workers: Workers,
}

/// An inbound half that serves.
#[derive(Debug)]
struct Open {
    end: oneshot::Sender<()>,
    serving: JoinHandle<Result<Drained, ServeError>>,
}

impl Running {
    pub(super) fn start(parts: Parts) -> Result<Self, SidecarError> {
        let Parts { config, listeners, fleet, events, workers, correlation, shared } = parts;
        let (stop, _) = watch::channel(false);
        let mut outbound = JoinSet::new();
        let mut socket = None;
        let mut serve = |listener: &TcpListener,
                         only: Option<outrigger::ServiceClient>|
         -> std::io::Result<()> {
            for handle in workers.handles() {
                let shared = Arc::clone(&shared);
                let only = only.clone();
                let make = move |peer: &Peer| {
                    let peer = peer.address.ip();
                    RefuseLayer::new().layer(Outbound::new(Arc::clone(&shared), only.clone(), peer))
                };
                let listener = {
                    let _on_that_runtime = handle.enter();
                    tokio::net::TcpListener::from_std(listener.try_clone()?)?
                };
                let mut stopped = stop.subscribe();
                let mut server = ServerConfig::default();
                server.drain = Duration::from_secs(1);
                let serving = Server::new(server).serve(listener, make, async move {
                    let _ = stopped.wait_for(|stop| *stop).await;
                });
                outbound.spawn_on(serving, handle);
            }
            Ok(())
        };
        match listeners.outbound {
            Claimed::Tcp(listener) => serve(&listener, None).map_err(SidecarError::Worker)?,
            Claimed::Unix(_listener, file) => socket = Some(file),
        }
        for (upstream, listener) in &listeners.upstreams {
            let service = fleet.client().service(upstream.service.as_str());
            let Ok(service) = service else { continue };
            match upstream.kind {
                UpstreamKind::Http => {
                    serve(listener, Some(service)).map_err(SidecarError::Worker)?;
                }
                UpstreamKind::Tcp => {}
            }
        }
        let shown = Shown {
            fleet: fleet.clone(),
            addresses: listeners.addresses.clone(),
            correlation: Arc::clone(&correlation),
        };
        let surfaces = Surfaces::serve(shown, events, listeners.admin, listeners.probe)?;
        Ok(Self {
            config,
            addresses: listeners.addresses,
            fleet,
            correlation,
            inbound: Mutex::new(listeners.inbound),
            open: Mutex::new(None),
            outbound: Mutex::new(outbound),
            stop,
            surfaces,
            _socket: socket,
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

    /// Lets callers in, and announces the instance. Answers once it is announced, not when the
    /// registry has it: [`Fleet::registered`] waits for that.
    ///
    /// With nothing to stand in front of, there is nothing to do.
    ///
    /// # Errors
    /// [`SidecarError`]: the instance cannot be announced as was said, or it was opened before.
    ///
    /// # Cancel safety
    /// Dropped before it answers, the sidecar cannot be opened any more.
    pub async fn open(&self) -> Result<(), SidecarError> {
        let Some(application) = &self.config.application else { return Ok(()) };
        let listener = lock(&self.inbound).take().ok_or(SidecarError::NotNow)?;
        let Place::Tcp(application) = application else { return Err(SidecarError::NotNow) };
        let forward = Forward::new(
            &self.config,
            self.fleet.service(),
            *application,
            self.fleet.telemetry(),
            &self.correlation,
            self.workers.handles().len(),
        );
        let shares = self.workers.handles().map(|handle| {
            let listener = listener.try_clone()?;
            Share::new(listener, handle.clone())
        });
        let shares: Vec<_> = shares.collect::<Result<_, _>>().map_err(SidecarError::Worker)?;
        drop(listener);
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
        *lock(&self.open) = Some(Open { end, serving });
        Ok(())
    }

    /// Leaves the fleet in order: deregistered, callers told, then no more accepted and what is in
    /// flight finished, at most for [`Config::drain`]. The application's own calls go on.
    ///
    /// # Cancel safety
    /// Dropped half-way, it goes on in the background.
    pub async fn drain(&self) -> Drained {
        let open = lock(&self.open).take();
        let Some(Open { end, serving }) = open else { return Drained::default() };
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
        let mut outbound = std::mem::take(&mut *lock(&self.outbound));
        while outbound.join_next().await.is_some() {}
        self.surfaces.stop().await;
        self.fleet.shutdown(Duration::from_secs(2)).await;
    }
}

/// What is behind these locks is replaced whole.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
