//! The caller's half of a fleet as a tower service.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use arc_swap::ArcSwap;
use http::{Request, Response, Uri};
use outrigger_balance::{Caller, EndpointSet, SetOptions, hash_key};
use outrigger_core::{BoxError, ServiceName};
use outrigger_tower::{clock, context};
use papaya::HashMap;
use pin_project_lite::pin_project;
use tower_service::Service;

use crate::callee::{Callee, Place};
use crate::destination::{self, DestinationError};
use crate::fleet::Inner;
use crate::policy::Role;
use crate::stack::{Stack, StackFuture};
use crate::state::unix_ms;
use crate::table::{Means, Shared, Spec, Table};
use crate::view::{CircuitView, EndpointView, MirrorView, PolicyView};
use crate::{Body, Error, ResponseBody, ServiceView};

/// How long a call waits for the registry's first word on a service.
///
/// Only at the first start: once a service is known, an empty set is refused at once. No longer
/// than the policy's timeout and the caller's deadline allow.
const FIRST_WORD: Duration = Duration::from_secs(3);

/// Calls services by name: a tower service for any request whose host is the name of a service.
///
/// Cheap to clone, always ready, and clones share everything: endpoints, loads, circuits, budgets
/// and connections. Use it with anything that takes a tower service, tonic's generated clients
/// among them.
#[derive(Clone)]
pub struct Client {
    inner: Arc<Inner>,
    callees: Arc<Callees>,
}

/// The services called so far. One that nobody registers is kept like any other: the names come
/// from the application's own code.
pub(crate) struct Callees {
    known: HashMap<String, Arc<Callee>>,
    /// Held while a callee is made, so that a service gets one watch and not one per racing call.
    making: Mutex<()>,
}

impl Client {
    pub(crate) fn new(inner: Arc<Inner>) -> Self {
        let callees = Callees { known: HashMap::new(), making: Mutex::new(()) };
        Self { inner, callees: Arc::new(callees) }
    }

    /// The service that a URL means.
    fn callee_of(&self, uri: &Uri) -> Result<Arc<Callee>, BoxError> {
        // As it is written, port and all, it was looked at before.
        if destination::has_scheme(uri)
            && let Some(authority) = uri.authority()
            && let Some(callee) = self.callees.known.pin().get(authority.as_str())
        {
            return Ok(Arc::clone(callee));
        }
        self.callee(destination::host_of(uri)?)
    }

    /// The service of a host, made if it was never called.
    fn callee(&self, host: &str) -> Result<Arc<Callee>, BoxError> {
        if let Some(callee) = self.callees.known.pin().get(host) {
            return Ok(Arc::clone(callee));
        }
        let (service, datacenter) = destination::service_of(host)?;
        // Nothing in there panics half-way: a callee is inserted whole.
        let _making = self.callees.making.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(callee) = self.callees.known.pin().get(host) {
            return Ok(Arc::clone(callee));
        }
        let key = match &datacenter {
            Some(datacenter) => format!("{service}.service.{datacenter}.consul"),
            None => service.to_string(),
        };
        let present = self.callees.known.pin().get(&key).cloned();
        let callee = match present {
            Some(callee) => callee,
            None => Arc::new(self.make(service, datacenter.as_deref())?),
        };
        // Under both spellings, so that the next call finds it without a look at the host.
        let known = self.callees.known.pin();
        known.insert(key, Arc::clone(&callee));
        known.insert(host.to_owned(), Arc::clone(&callee));
        Ok(callee)
    }

    /// One service, by its name or any other spelling of its host: for whoever decides himself who
    /// is called, such as a proxy.
    ///
    /// # Errors
    /// [`DestinationError`], for what names no service.
    pub fn service(&self, host: &str) -> Result<ServiceClient, Error> {
        let callee = self.callee(host).map_err(Error::new)?;
        Ok(ServiceClient { callee })
    }

    /// The same for a service that was called before under this very spelling; nothing is begun
    /// for one that was not.
    #[must_use]
    pub fn known_service(&self, host: &str) -> Option<ServiceClient> {
        let callee = self.callees.known.pin().get(host).cloned()?;
        Some(ServiceClient { callee })
    }

    fn make(&self, service: ServiceName, datacenter: Option<&str>) -> Result<Callee, BoxError> {
        let parts = &self.inner.parts;
        let policy = parts.policies.follow(&service, Role::Caller);
        let spec = match &policy.now().loaded {
            Some(loaded) => Spec::of_policy(loaded),
            None => Spec::of_settings(parts.rules_of(&service)),
        };
        let me = format!("{}-{}", parts.service, std::process::id());
        let caller =
            Caller::new(hash_key(me.as_bytes())).with_zone(parts.zone.as_deref().map(Into::into));
        let options = SetOptions::new(service.clone())
            .with_caller(caller)
            .with_seed(fastrand::u64(..))
            .with_observers(parts.observers.clone());
        let means = Means {
            service: service.clone(),
            caller: parts.service.clone(),
            telemetry: parts.telemetry.clone(),
            observers: parts.observers.clone(),
            tls: parts.tls.clone(),
            link: Link { inner: Arc::clone(&self.inner), callees: Arc::downgrade(&self.callees) },
        };
        let (shared, table) = Shared::start(means, options, &spec, parts.clock.now())?;
        let failover = spec.last().rules.balance.failover.clone();
        let datacenter = datacenter.map(str::to_owned);
        let place = Place { service, datacenter, inner: Arc::clone(&self.inner) };
        Ok(Callee::start(place, shared, table, policy, failover))
    }

    /// The same, without keeping it.
    pub(crate) fn downgrade(&self) -> WeakClient {
        let (inner, callees) = (Arc::downgrade(&self.inner), Arc::downgrade(&self.callees));
        WeakClient { inner, callees }
    }

    pub(crate) const fn inner(&self) -> &Arc<Inner> {
        &self.inner
    }

    pub(crate) fn services(&self) -> Vec<ServiceView> {
        let clock = &self.inner.parts.clock;
        let (now, wall) = (clock.now(), clock.wall());
        let known = self.callees.known.pin();
        // A service stands under each spelling of it that was called.
        let mut seen = std::collections::HashSet::new();
        let mut views: Vec<ServiceView> = known
            .iter()
            .filter(|(_, callee)| seen.insert(Arc::as_ptr(callee)))
            .map(|(_, callee)| {
                let view = callee.set.view(now);
                let table = callee.table.load();
                ServiceView {
                    service: callee.service.clone(),
                    datacenter: callee.datacenter.clone(),
                    freshness: callee.is_known().then_some(view.freshness),
                    panicking: view.panicking,
                    endpoints: view.endpoints.iter().map(EndpointView::from).collect(),
                    policy: PolicyView::of(&callee.policy.now(), table.version()),
                    circuits: table
                        .circuits()
                        .map(|circuit| CircuitView {
                            route: circuit.route().to_string(),
                            state: circuit.state(now),
                            retry_at_ms: circuit.retry_after(now).map(|wait| unix_ms(wall + wait)),
                        })
                        .collect(),
                    mirrors: table.mirrors().map(MirrorView::of).collect(),
                }
            })
            .collect();
        views.sort_by(|a, b| (&a.service, &a.datacenter).cmp(&(&b.service, &b.datacenter)));
        views
    }
}

impl<B> Service<Request<B>> for Client
where
    B: http_body::Body<Data = bytes::Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    type Response = Response<ResponseBody>;
    type Error = BoxError;
    type Future = ResponseFuture;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        // Every rule is asked in the call itself: readiness holds nothing.
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> ResponseFuture {
        match self.callee_of(request.uri()) {
            Ok(callee) => ResponseFuture::new(&callee, request.map(Body::new)),
            Err(error) => ResponseFuture::refused(error),
        }
    }
}

/// A client that others keep, or not.
pub(crate) struct WeakClient {
    inner: Weak<Inner>,
    callees: Weak<Callees>,
}

impl WeakClient {
    pub(crate) fn upgrade(&self) -> Option<Client> {
        Some(Client { inner: self.inner.upgrade()?, callees: self.callees.upgrade()? })
    }
}

/// Calls one service, whatever the host of a request is; made by [`Client::service`].
///
/// Cheap to clone, always ready, and the same service as through its [`Client`].
#[derive(Clone, Debug)]
pub struct ServiceClient {
    callee: Arc<Callee>,
}

impl ServiceClient {
    /// Whom it calls.
    #[must_use]
    pub fn name(&self) -> &ServiceName {
        &self.callee.service
    }

    /// The service's endpoints, with load and ejection, for what is no HTTP.
    #[must_use]
    pub fn endpoints(&self) -> &EndpointSet {
        &self.callee.set
    }

    /// Waits for the first word on the service, and no longer than a call would.
    ///
    /// # Cancel safety
    /// Safe: waiting changes nothing.
    pub async fn known(&self) {
        let mut known = self.callee.known.clone();
        // Whether it came or the time is over: there is what there is.
        let _ = tokio::time::timeout(FIRST_WORD, known.wait_for(|known| *known)).await;
    }
}

impl<B> Service<Request<B>> for ServiceClient
where
    B: http_body::Body<Data = bytes::Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    type Response = Response<ResponseBody>;
    type Error = BoxError;
    type Future = ResponseFuture;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> ResponseFuture {
        ResponseFuture::new(&self.callee, request.map(Body::new))
    }
}

/// The way from one service that is called to another, which a fallback goes.
///
/// Weak: what a client keeps does not keep the client.
#[derive(Clone)]
pub(crate) struct Link {
    inner: Arc<Inner>,
    callees: Weak<Callees>,
}

impl Link {
    /// Calls this service instead, whatever the request's own host is.
    pub(crate) fn to(&self, service: ServiceName) -> LinkTo {
        LinkTo { link: self.clone(), service }
    }
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Link")
    }
}

/// A [`Link`] to one service.
#[derive(Clone, Debug)]
pub(crate) struct LinkTo {
    link: Link,
    service: ServiceName,
}

/// Marks a request that is somebody's fallback: it has no further one.
#[derive(Clone, Copy, Debug)]
struct Fallen;

impl Service<Request<Body>> for LinkTo {
    type Response = Response<ResponseBody>;
    type Error = BoxError;
    type Future = ResponseFuture;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, mut request: Request<Body>) -> ResponseFuture {
        let Some(callees) = self.link.callees.upgrade() else {
            return ResponseFuture::refused(DestinationError::NoHost.into());
        };
        let client = Client { inner: Arc::clone(&self.link.inner), callees };
        let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
        let uri = Uri::try_from(format!("http://{}{path}", self.service));
        match (client.callee(self.service.as_str()), uri) {
            (Ok(callee), Ok(uri)) => {
                *request.uri_mut() = uri;
                // The host that was called is not the one that is asked now.
                request.headers_mut().remove(http::header::HOST);
                request.extensions_mut().insert(Fallen);
                ResponseFuture::new(&callee, request)
            }
            (Err(error), _) => ResponseFuture::refused(error),
            (_, Err(error)) => ResponseFuture::refused(error.into()),
        }
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("caller", &self.inner.parts.service).finish_non_exhaustive()
    }
}

pin_project! {
    /// The answer of the last endpoint that was tried, or why there is none.
    #[must_use = "futures do nothing unless polled"]
    pub struct ResponseFuture {
        #[pin]
        state: State,
    }
}

pin_project! {
    #[project = StateProj]
    enum State {
        Running { #[pin] inner: StackFuture },
        // The first call to a service, while the registry has not said a word: boxed, since it
        // happens once.
        Waiting { waiting: Box<Waiting> },
        Refused { error: Option<BoxError> },
    }
}

/// A call that waits for the first word on its service.
struct Waiting {
    known: Pin<Box<dyn Future<Output = ()> + Send>>,
    table: Arc<ArcSwap<Table>>,
    request: Request<Body>,
}

impl ResponseFuture {
    fn new(callee: &Callee, mut request: Request<Body>) -> Self {
        if callee.is_known() {
            return Self::under(&callee.table.load(), request);
        }
        let mut known = callee.known.clone();
        let timeout = callee.table.load().last().timeout;
        let most = timeout.map_or(FIRST_WORD, |timeout| timeout.min(FIRST_WORD));
        let most = match context::keep_waiting(&mut request) {
            Some(deadline) => most.min(deadline.saturating_duration_since(clock::now())),
            None => most,
        };
        let known = Box::pin(async move {
            // Whether it came or the time is over: the stack answers for what is there.
            let _ = tokio::time::timeout(most, known.wait_for(|known| *known)).await;
        });
        let waiting = Waiting { known, table: Arc::clone(&callee.table), request };
        Self { state: State::Waiting { waiting: Box::new(waiting) } }
    }

    /// Under one version of the policy, from here to the end.
    fn under(table: &Table, mut request: Request<Body>) -> Self {
        let state = match table.way(&mut request) {
            Ok(way) => {
                let stack = match &way.last_resort {
                    Some(last) if request.extensions().get::<Fallen>().is_some() => last,
                    _ => &way.stack,
                };
                let mut stack: Stack = stack.clone();
                State::Running { inner: stack.call(request) }
            }
            Err(error) => State::Refused { error: Some(error.into()) },
        };
        Self { state }
    }

    const fn refused(error: BoxError) -> Self {
        Self { state: State::Refused { error: Some(error) } }
    }
}

impl Future for ResponseFuture {
    type Output = Result<Response<ResponseBody>, BoxError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut state = self.project().state;
        loop {
            let next = match state.as_mut().project() {
                StateProj::Running { inner } => {
                    let response = ready!(inner.poll(cx))?;
                    return Poll::Ready(Ok(response.map(ResponseBody::new)));
                }
                StateProj::Refused { error } => {
                    let gone = || DestinationError::NoHost.into();
                    return Poll::Ready(Err(error.take().unwrap_or_else(gone)));
                }
                StateProj::Waiting { waiting } => {
                    ready!(waiting.known.as_mut().poll(cx));
                    let request = std::mem::take(&mut waiting.request);
                    Self::under(&waiting.table.load(), request).state
                }
            };
            state.set(next);
        }
    }
}

impl fmt::Debug for ResponseFuture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture").finish_non_exhaustive()
    }
}
