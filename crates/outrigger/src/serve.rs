//! The callee's half of a fleet: accept, obey the inbound rules, be registered, drain.

mod advertise;
mod door;
mod gate;
mod health;
mod peer;
mod shares;

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body as HttpBody;
use hyper::body::Incoming;
use outrigger_core::{BoxError, InstanceId};
use outrigger_discovery::{Check, Registered, Registration, RegistryError};
use outrigger_http::{Drained, Peer, Server, ServerConfig};
use outrigger_tower::{InboundLayer, LimitedBody, RefuseLayer};
use tokio::sync::watch;
use tower::ServiceBuilder;
use tower_service::Service;

use crate::fleet::Inner;
use crate::policy::Role;
use advertise::advertised;
#[cfg(test)]
pub(crate) use door::Accepts;
use door::{Door, Doorkeeper, Doorplate};
use health::Health;
pub(crate) use health::Ready;
use peer::WithPeer;
pub use shares::Share;
pub(crate) use shares::Shares;

/// The body of a request that is served: hyper's own, which breaks off where it becomes larger than
/// the policy's `body_limit`.
pub type RequestBody = LimitedBody<Incoming>;

/// Why a service cannot be served.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServeError {
    /// The listener has no address of its own.
    #[error("the listener's address cannot be told")]
    Listener(#[source] std::io::Error),
    /// What others are to reach the instance at is no address.
    #[error("advertise is {value:?}; allowed is ADDRESS or ADDRESS:PORT")]
    Advertise {
        /// What was given.
        value: String,
    },
    /// Others would connect to themselves: the address is of the loopback, and the registry is on
    /// another machine.
    #[error(
        "advertise is {value} while the registry is {registry}: allowed is an address that others \
         reach, as OUTRIGGER_ADVERTISE=ADDRESS[:PORT]; OUTRIGGER_ADVERTISE_LOOPBACK=true allows \
         this one"
    )]
    Loopback {
        /// What would be announced.
        value: SocketAddr,
        /// Where the registry is.
        registry: String,
    },
    /// The registration itself cannot be.
    #[error("the instance cannot be registered")]
    Registration(#[from] RegistryError),
    /// An inbound rule is out of its range.
    #[error("the inbound rules cannot be used")]
    Inbound(#[source] BoxError),
}

/// Whether this member serves, and whether the registry has it.
#[derive(Clone, Debug)]
pub(crate) enum Serving {
    /// It serves nowhere.
    Not,
    /// It serves, and there is no registry to announce it to.
    Unannounced,
    /// It is announced, and the registry has not confirmed it yet.
    Announced(InstanceId),
    /// The registry has it.
    Registered(InstanceId),
    /// It leaves.
    Draining,
}

impl Serving {
    pub(crate) const fn id(&self) -> Option<&InstanceId> {
        match self {
            Self::Announced(id) | Self::Registered(id) => Some(id),
            Self::Not | Self::Unannounced | Self::Draining => None,
        }
    }
}

/// The port of one time of serving.
#[derive(Debug)]
pub(crate) struct Opened {
    pub(crate) address: SocketAddr,
    pub(crate) ready: Ready,
}

/// How long the registry has to answer when an instance leaves: whoever stops a process rarely
/// gives it more than 30 s, which are for what is in flight.
const ANSWER: Duration = Duration::from_secs(5);

/// One time of serving.
pub(crate) struct Serve {
    inner: Arc<Inner>,
}

impl Serve {
    pub(crate) const fn new(inner: Arc<Inner>) -> Self {
        Self { inner }
    }

    pub(crate) async fn run<S, B>(
        self,
        shares: Shares,
        app: S,
        end: impl Future<Output = ()>,
    ) -> Result<Drained, ServeError>
    where
        S: Service<Request<RequestBody>, Response = Response<B>> + Clone + Send + Sync + 'static,
        S::Error: Into<BoxError>,
        S::Future: Send,
        B: HttpBody<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        let parts = &self.inner.parts;
        let local = shares.local().map_err(ServeError::Listener)?;
        let ready = Ready::new();
        let mut config = ServerConfig::default();
        config.drain = parts.drain;
        let policy = parts.policies.follow(&parts.service, Role::Callee);
        // Nobody is let in before it is known who may be.
        policy.decided().await;
        let plate = Doorplate {
            service: parts.service.clone(),
            observers: parts.observers.clone(),
            clock: Arc::clone(&parts.clock),
            ready: ready.clone(),
            health: Health::layer(parts.health.as_deref(), ready.clone()),
            telemetry: parts.telemetry.clone(),
            trace: parts
                .telemetry
                .server_layer()
                .with_trust(parts.trust.clone())
                .continuing(parts.continues_traces),
            endpoint: parts.serves_for.clone().unwrap_or_else(|| local.to_string().into()),
            access_log: parts.access_log.as_ref().map(|(_, tells)| *tells),
        };
        let app = ServiceBuilder::new().map_err(Into::<BoxError>::into).service(app);
        let (doorkeeper, door) = Doorkeeper::start(plate, &parts.inbound, &policy.now(), app)
            .map_err(ServeError::Inbound)?;
        let stack = self.stack(door);
        let registered = self.register(local).await?;
        let opened = Opened { address: local, ready: ready.clone() };
        self.inner.opened.store(Some(Arc::new(opened)));

        let (stop, stopped) = watch::channel(false);
        let make = move |peer: &Peer| WithPeer::new(stack.clone(), peer.address.ip());
        let mut server = Server::new(config);
        if let Some(tls) = &parts.server_tls {
            server = server.with_tls(tls.clone());
        }
        let server = shares.serve(server, make, stopped);
        let confirm = async {
            if let Some(registered) = &registered {
                let settle = async {
                    registered.settled().await;
                    let id = registered.id().clone();
                    self.inner.serving.send_replace(Serving::Registered(id));
                };
                tokio::join!(settle, self.pass_on_health(registered));
            }
            std::future::pending::<()>().await;
        };
        // Beside the requests, until the last of them has ended.
        let keeping = doorkeeper.run(policy.changes(), &self.inner.policy);
        let server = async {
            tokio::pin!(server, keeping);
            let mut is_kept = true;
            loop {
                tokio::select! {
                    drained = &mut server => return drained,
                    () = &mut keeping, if is_kept => is_kept = false,
                }
            }
        };
        let mut server = std::pin::pin!(server);
        tokio::select! {
            drained = &mut server => return Ok(drained),
            () = confirm => {}
            () = end => {}
        }
        ready.drain();
        self.inner.serving.send_replace(Serving::Draining);
        tracing::info!(service = %parts.service, "leaving the fleet");
        let leave = async {
            if let Some(registered) = registered {
                // The registry removes the instance by itself; nobody may wait for it here.
                let leaving = registered.drain(parts.notice);
                match tokio::time::timeout(parts.notice.saturating_add(ANSWER), leaving).await {
                    Ok(Ok(())) => {}
                    Ok(Err(error)) => tracing::warn!(%error, "not deregistered"),
                    Err(_) => tracing::warn!("not deregistered in time"),
                }
            }
            stop.send_replace(true);
        };
        let (drained, ()) = tokio::join!(server, leave);
        self.inner.serving.send_replace(Serving::Not);
        self.inner.opened.store(None);
        self.inner.policy.send_replace(None);
        Ok(drained)
    }

    /// The stack in front of the application, outermost first, by the inbound rules.
    fn stack<S, B>(
        &self,
        door: Door<S>,
    ) -> impl Service<
        Request<Incoming>,
        Response = Response<
            impl HttpBody<Data = Bytes, Error: Into<BoxError>> + Send + 'static + use<S, B>,
        >,
        Error = std::convert::Infallible,
        Future: Send,
    >
    + Clone
    + Send
    + Sync
    + 'static
    + use<S, B>
    where
        S: Service<Request<RequestBody>, Response = Response<B>, Error = BoxError>
            + Clone
            + Send
            + Sync
            + 'static,
        S::Future: Send,
        B: HttpBody<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        ServiceBuilder::new()
            .layer(RefuseLayer::new())
            .layer(InboundLayer::new(self.inner.parts.service.clone()))
            .service(door)
    }

    /// Tells the registry what is said of the application, for as long as it is polled.
    async fn pass_on_health(&self, registered: &Registered) {
        let mut health = self.inner.health.subscribe();
        loop {
            let said = health.borrow_and_update().clone();
            if let Some((status, note)) = said
                && let Err(error) = registered.report(status, &note).await
            {
                // The next heartbeat says it again.
                tracing::debug!(%error, "the registry was not told of the health");
            }
            if health.changed().await.is_err() {
                return;
            }
        }
    }

    async fn register(&self, local: SocketAddr) -> Result<Option<Registered>, ServeError> {
        let parts = &self.inner.parts;
        let Some(registrar) = &parts.registrar else {
            self.inner.serving.send_replace(Serving::Unannounced);
            return Ok(None);
        };
        let advertise = parts.advertise.as_deref();
        let registry = parts.registries.consul.as_ref();
        let (address, port) =
            advertised(advertise, local, registry, parts.advertise_loopback).await?;
        let mut registration = Registration::new(parts.service.clone(), port)
            .with_address(address)
            .with_protocol(match parts.server_tls {
                Some(_) => parts.protocol.over_tls(),
                None => parts.protocol,
            });
        if let Some(language) = &parts.language {
            registration = registration.with_language(language.clone());
        }
        if let Some(ttl) = parts.ttl {
            registration = registration.with_checks([Check::Ttl { ttl }]);
        }
        if let Some(version) = &parts.version {
            registration = registration.with_version(version);
        }
        if let Some(zone) = &parts.zone {
            registration = registration.with_zone(zone);
        }
        for tag in &parts.tags {
            registration = registration.with_tag(tag);
        }
        for (key, value) in &parts.meta {
            registration = registration.with_meta(key, value);
        }
        let registered = registrar.register(registration).await?;
        self.inner.serving.send_replace(Serving::Announced(registered.id().clone()));
        Ok(Some(registered))
    }
}
