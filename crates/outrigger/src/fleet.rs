//! A service as a member of its fleet: it calls others, and is called.

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use http::{Method, Request, Response, Uri};
use outrigger_core::{Clock, Language, Observers, Protocol, ServiceName, Status};
use outrigger_discovery::{CatalogueStream, Query, Registrar, SnapshotStream};
use outrigger_http::{ClientTls, Drained, ServerTls};
use outrigger_telemetry::{AccessLog, Telemetry, Trust};
use outrigger_tower::Tells;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tower_service::Service;

use crate::client::Client;
use crate::policy::{InForce, Policies};
use crate::registry::Registries;
use crate::serve::{Opened, RequestBody, Serve, ServeError, Serving, Share, Shares};
use crate::{Body, Error, Inbound, PolicyView, ResponseBody, Rules, ServiceView};

/// A service as a member of its fleet; cheap to clone, clones are the same member.
#[derive(Clone)]
pub struct Fleet {
    pub(crate) inner: Arc<Inner>,
    client: Client,
}

/// Addresses that nothing is ever sent to.
#[derive(Clone)]
pub(crate) struct Never(pub(crate) Arc<dyn Fn(SocketAddr) -> bool + Send + Sync>);

/// Everything that a builder has put together.
pub(crate) struct Parts {
    pub(crate) service: ServiceName,
    pub(crate) language: Option<Language>,
    pub(crate) protocol: Protocol,
    pub(crate) version: Option<String>,
    pub(crate) zone: Option<String>,
    pub(crate) advertise: Option<String>,
    pub(crate) advertise_loopback: bool,
    pub(crate) tags: Vec<String>,
    pub(crate) meta: BTreeMap<String, String>,
    pub(crate) ttl: Option<Duration>,
    pub(crate) notice: Duration,
    pub(crate) drain: Duration,
    pub(crate) health: Option<String>,
    pub(crate) registries: Registries,
    pub(crate) registrar: Option<Arc<dyn Registrar>>,
    pub(crate) observers: Observers,
    pub(crate) telemetry: Telemetry,
    /// The access log, if there is one, and which requests it is told of where no policy says so.
    pub(crate) access_log: Option<(AccessLog, Tells)>,
    /// Who serves, where that is not the listener.
    pub(crate) serves_for: Option<Arc<str>>,
    pub(crate) tls: Option<ClientTls>,
    pub(crate) server_tls: Option<ServerTls>,
    pub(crate) policies: Policies,
    pub(crate) rules: Rules,
    pub(crate) services: BTreeMap<ServiceName, Rules>,
    pub(crate) inbound: Inbound,
    pub(crate) trust: Trust,
    pub(crate) continues_traces: bool,
    pub(crate) never: Option<Never>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) runtime: tokio::runtime::Handle,
}

impl Parts {
    /// How a service is called where no policy speaks.
    pub(crate) fn rules_of(&self, service: &ServiceName) -> &Rules {
        self.services.get(service).unwrap_or(&self.rules)
    }
}

/// What all clones have in common.
pub(crate) struct Inner {
    pub(crate) parts: Parts,
    pub(crate) serving: watch::Sender<Serving>,
    /// The port that is served, while one is.
    pub(crate) opened: ArcSwapOption<Opened>,
    /// The admin surface, where one was asked for.
    pub(crate) admin: OnceLock<outrigger_admin::Serving>,
    /// What the application is said to be, while it is registered.
    pub(crate) health: watch::Sender<Option<(Status, Arc<str>)>>,
    /// The service's own policy, while it serves.
    pub(crate) policy: watch::Sender<Option<InForce>>,
}

impl Fleet {
    pub(crate) fn new(parts: Parts) -> Self {
        let (serving, _) = watch::channel(Serving::Not);
        let (policy, _) = watch::channel(None);
        let (health, _) = watch::channel(None);
        let inner = Arc::new(Inner {
            parts,
            serving,
            opened: ArcSwapOption::empty(),
            admin: OnceLock::new(),
            health,
            policy,
        });
        let client = Client::new(Arc::clone(&inner));
        Self { inner, client }
    }

    /// The member that a client belongs to.
    pub(crate) fn of(client: Client) -> Self {
        Self { inner: Arc::clone(client.inner()), client }
    }

    /// The service's own name.
    #[must_use]
    pub fn service(&self) -> &ServiceName {
        &self.inner.parts.service
    }

    /// The caller's half: a tower service for any request whose host is the name of a service.
    #[must_use]
    pub fn client(&self) -> Client {
        self.client.clone()
    }

    /// Calls `GET url`.
    ///
    /// Shape: `http://NAME/path`, with the name of a service as the host. The answer is the last
    /// endpoint's, whatever its status; an error means that there is none.
    ///
    /// # Errors
    /// [`Error`]: refused by a rule, broken on the way, or a URL that names no service.
    ///
    /// # Cancel safety
    /// Dropping the future gives back everything that the call had taken; what an endpoint has
    /// begun to do it may finish.
    pub async fn get(&self, url: &str) -> Result<Response<ResponseBody>, Error> {
        self.call(Method::GET, url, Body::empty()).await
    }

    /// Calls `POST url` with a body.
    ///
    /// # Errors
    /// As [`Fleet::get`].
    ///
    /// # Cancel safety
    /// As [`Fleet::get`].
    pub async fn post(
        &self,
        url: &str,
        body: impl Into<Body>,
    ) -> Result<Response<ResponseBody>, Error> {
        self.call(Method::POST, url, body.into()).await
    }

    async fn call(
        &self,
        method: Method,
        url: &str,
        body: Body,
    ) -> Result<Response<ResponseBody>, Error> {
        let uri = Uri::try_from(url).map_err(Error::new)?;
        let mut request = Request::new(body);
        *request.method_mut() = method;
        *request.uri_mut() = uri;
        self.send(request).await
    }

    /// Sends any request whose host is the name of a service.
    ///
    /// # Errors
    /// As [`Fleet::get`].
    ///
    /// # Cancel safety
    /// As [`Fleet::get`].
    pub async fn send(
        &self,
        request: Request<impl Into<Body>>,
    ) -> Result<Response<ResponseBody>, Error> {
        let mut client = self.client.clone();
        client.call(request.map(Into::into)).await.map_err(Error::new)
    }

    /// Serves until SIGTERM or SIGINT, registered meanwhile, and drains.
    ///
    /// The order at the end: the health path says `draining`, the instance leaves the registry,
    /// callers get [`notice`](crate::Builder::notice) to hear of it while everything is still
    /// served, nothing more is accepted, what is in flight ends, at most for
    /// [`drain`](crate::Builder::drain).
    ///
    /// # Errors
    /// [`ServeError`], when the instance cannot be announced as it is; nothing was served then.
    ///
    /// # Cancel safety
    /// Dropping the future closes the port, cuts connections, and takes the instance back in the
    /// background.
    pub async fn serve<S, B>(
        &self,
        listener: TcpListener,
        service: S,
    ) -> Result<Drained, ServeError>
    where
        S: Service<Request<RequestBody>, Response = Response<B>> + Clone + Send + Sync + 'static,
        S::Error: Into<outrigger_core::BoxError>,
        S::Future: Send,
        B: http_body::Body<Data = bytes::Bytes> + Send + 'static,
        B::Error: Into<outrigger_core::BoxError>,
    {
        self.serve_until(listener, service, crate::signals::ended()).await
    }

    /// As [`Fleet::serve`], until `end` comes instead of a signal.
    ///
    /// # Errors
    /// As [`Fleet::serve`].
    ///
    /// # Cancel safety
    /// As [`Fleet::serve`].
    pub async fn serve_until<S, B>(
        &self,
        listener: TcpListener,
        service: S,
        end: impl Future<Output = ()>,
    ) -> Result<Drained, ServeError>
    where
        S: Service<Request<RequestBody>, Response = Response<B>> + Clone + Send + Sync + 'static,
        S::Error: Into<outrigger_core::BoxError>,
        S::Future: Send,
        B: http_body::Body<Data = bytes::Bytes> + Send + 'static,
        B::Error: Into<outrigger_core::BoxError>,
    {
        self.serve_shared(vec![Share::whole(listener)], service, end).await
    }

    /// As [`Fleet::serve_until`], on several runtimes that share a port: one registration, and one
    /// state of every inbound rule.
    ///
    /// Shape: all shares are of one port; with none there is nothing to serve on.
    ///
    /// # Errors
    /// As [`Fleet::serve`].
    ///
    /// # Cancel safety
    /// As [`Fleet::serve`].
    pub async fn serve_shared<S, B>(
        &self,
        shares: Vec<Share>,
        service: S,
        end: impl Future<Output = ()>,
    ) -> Result<Drained, ServeError>
    where
        S: Service<Request<RequestBody>, Response = Response<B>> + Clone + Send + Sync + 'static,
        S::Error: Into<outrigger_core::BoxError>,
        S::Future: Send,
        B: http_body::Body<Data = bytes::Bytes> + Send + 'static,
        B::Error: Into<outrigger_core::BoxError>,
    {
        Serve::new(Arc::clone(&self.inner)).run(Shares(shares), service, end).await
    }

    /// Waits until this member serves, whether or not the registry has heard of it.
    ///
    /// # Cancel safety
    /// Safe: waiting changes nothing.
    pub async fn opened(&self) {
        let mut serving = self.inner.serving.subscribe();
        let _ = serving.wait_for(|serving| !matches!(serving, Serving::Not)).await;
    }

    /// Says how the application is, for the registry to know; passing until something else is said.
    pub fn report(&self, status: Status, note: &str) {
        self.inner.health.send_if_modified(|said| {
            let same =
                said.as_ref().is_some_and(|(old, old_note)| *old == status && **old_note == *note);
            if !same {
                *said = Some((status, note.into()));
            }
            !same
        });
    }

    /// The list of services that the registry knows, watched; `None` without a registry.
    #[must_use]
    pub fn catalogue(&self, datacenter: Option<&str>) -> Option<CatalogueStream> {
        let resolver = self.inner.parts.registries.resolver.as_ref()?;
        Some(resolver.catalogue(datacenter))
    }

    /// The instances of a service as the registry tells them, watched; `None` without a registry.
    /// For whoever wants to know them and not to call them: [`Fleet::client`] has its own watch.
    #[must_use]
    pub fn instances(&self, service: &ServiceName) -> Option<SnapshotStream> {
        let resolver = self.inner.parts.registries.resolver.as_ref()?;
        Some(resolver.watch(&Query::new(service.clone())))
    }

    /// Whether a service is known whatever the registry says: its endpoints are fixed, it has rules
    /// of its own, or a policy file speaks of it.
    #[must_use]
    pub fn is_fixed(&self, service: &ServiceName) -> bool {
        let parts = &self.inner.parts;
        parts.registries.is_fixed(service)
            || parts.services.contains_key(service)
            || parts.policies.speaks_of(service)
    }

    /// Whether something is known of a service without the registry: it is fixed, or was saved from
    /// the last start. Reads the disk.
    #[must_use]
    pub fn is_described(&self, service: &ServiceName) -> bool {
        let memory = &self.inner.parts.registries.memory;
        self.is_fixed(service) || memory.as_ref().is_some_and(|memory| memory.has(service))
    }

    /// Waits until the registry has this instance; for ever when it serves nowhere.
    ///
    /// # Cancel safety
    /// Safe: waiting changes nothing.
    pub async fn registered(&self) {
        let mut serving = self.inner.serving.subscribe();
        let is_there = |serving: &Serving| matches!(serving, Serving::Registered(_));
        // The sender lives in `inner`, which we hold.
        let _ = serving.wait_for(is_there).await;
    }

    /// The id under which this instance is registered now.
    #[must_use]
    pub fn instance_id(&self) -> Option<outrigger_core::InstanceId> {
        self.inner.serving.borrow().id().cloned()
    }

    /// What is known of the services that this process has called, by name.
    #[must_use]
    pub fn services(&self) -> Vec<ServiceView> {
        self.client.services()
    }

    /// The service's own policy, whose inbound half it obeys; `None` while it does not serve.
    #[must_use]
    pub fn policy(&self) -> Option<PolicyView> {
        self.inner.policy.borrow().as_ref().map(|policy| PolicyView::of(policy, policy.version()))
    }

    /// Where the admin surface is served; `None` unless [`Builder::admin`](crate::Builder::admin)
    /// or `OUTRIGGER_ADMIN` asked for one.
    #[must_use]
    pub fn admin_address(&self) -> Option<SocketAddr> {
        self.inner.admin.get().map(outrigger_admin::Serving::address)
    }

    /// Spans, propagation and metrics of this service.
    #[must_use]
    pub fn telemetry(&self) -> &Telemetry {
        &self.inner.parts.telemetry
    }

    /// Sends what telemetry still holds, writes what the access log does, and saves what is to be
    /// saved; comes back when that is done or `limit` has passed.
    ///
    /// # Cancel safety
    /// Dropping the future leaves the sending under way.
    pub async fn shutdown(&self, limit: Duration) {
        if let Some(memory) = &self.inner.parts.registries.memory {
            // Out of time: what is on the disk is older, and whole.
            let _ = tokio::time::timeout(limit, memory.flush()).await;
        }
        let parts = &self.inner.parts;
        let log = async {
            if let Some((log, _)) = &parts.access_log {
                log.flush(limit).await;
            }
        };
        tokio::join!(log, parts.telemetry.shutdown(limit));
    }
}

impl fmt::Debug for Fleet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fleet").field("service", self.service()).finish_non_exhaustive()
    }
}
