//! The caller's half of a fleet as a tower service.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use http::{Request, Response};
use outrigger_balance::{Caller, EndpointSet, SetOptions, hash_key};
use outrigger_core::{BoxError, ServiceName};
use outrigger_tower::{clock, context};
use papaya::HashMap;
use pin_project_lite::pin_project;
use tower_service::Service;

use crate::callee::Callee;
use crate::destination::{self, DestinationError};
use crate::fleet::Inner;
use crate::stack::{Ingredients, Stack, StackFuture, build};
use crate::view::{CircuitView, EndpointView};
use crate::{Body, ResponseBody, ServiceView};

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
struct Callees {
    known: HashMap<String, Arc<Callee>>,
    /// Held while a callee is made, so that a service gets one watch and not one per racing call.
    making: Mutex<()>,
}

impl Client {
    pub(crate) fn new(inner: Arc<Inner>) -> Self {
        let callees = Callees { known: HashMap::new(), making: Mutex::new(()) };
        Self { inner, callees: Arc::new(callees) }
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

    fn make(&self, service: ServiceName, datacenter: Option<&str>) -> Result<Callee, BoxError> {
        let parts = &self.inner.parts;
        let rules = parts.services.get(&service).unwrap_or(&parts.rules);
        let now = parts.clock.now();
        let me = format!("{}-{}", parts.service, std::process::id());
        let caller =
            Caller::new(hash_key(me.as_bytes())).with_zone(parts.zone.as_deref().map(Into::into));
        let set = EndpointSet::new(
            SetOptions::new(service.clone())
                .with_balance(rules.balance.clone())
                .with_eject(rules.eject.clone())
                .with_caller(caller)
                .with_seed(fastrand::u64(..))
                .with_observers(parts.observers.clone()),
            now,
        )?;
        let built = build(
            rules,
            &Ingredients {
                service: &service,
                caller: &parts.service,
                set: set.clone(),
                tls: parts.tls.as_ref(),
                telemetry: &parts.telemetry,
                observers: &parts.observers,
                now,
            },
        )?;
        let streams = parts.registries.watch(&service, datacenter, &rules.balance.failover);
        let clock = Arc::clone(&parts.clock);
        Ok(Callee::start(service, set, built, streams, clock, &parts.runtime))
    }

    pub(crate) fn services(&self) -> Vec<ServiceView> {
        let now = self.inner.parts.clock.now();
        let known = self.callees.known.pin();
        // A service stands under each spelling of it that was called.
        let mut seen = std::collections::HashSet::new();
        let mut views: Vec<ServiceView> = known
            .iter()
            .filter(|(_, callee)| seen.insert(Arc::as_ptr(callee)))
            .map(|(_, callee)| {
                let view = callee.set.view(now);
                ServiceView {
                    service: callee.service.clone(),
                    freshness: callee.is_known().then_some(view.freshness),
                    panicking: view.panicking,
                    endpoints: view.endpoints.iter().map(EndpointView::from).collect(),
                    circuits: callee
                        .circuit
                        .iter()
                        .map(|circuit| CircuitView {
                            route: circuit.route().to_string(),
                            state: circuit.state(now),
                        })
                        .collect(),
                }
            })
            .collect();
        views.sort_by(|a, b| a.service.cmp(&b.service));
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
        let callee = match destination::host_of(request.uri()) {
            Ok(host) => self.callee(host),
            Err(error) => Err(error.into()),
        };
        match callee {
            Ok(callee) => ResponseFuture::new(&callee, request.map(Body::new)),
            Err(error) => ResponseFuture::refused(error),
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
        Waiting { known: Pin<Box<dyn Future<Output = ()> + Send>>, stack: Stack, request: Option<Request<Body>> },
        Refused { error: Option<BoxError> },
    }
}

impl ResponseFuture {
    fn new(callee: &Callee, mut request: Request<Body>) -> Self {
        let mut stack = callee.stack.clone();
        let state = if callee.is_known() {
            State::Running { inner: stack.call(request) }
        } else {
            let mut known = callee.known.clone();
            let most = callee.timeout.map_or(FIRST_WORD, |timeout| timeout.min(FIRST_WORD));
            let most = match context::keep_waiting(&mut request) {
                Some(deadline) => most.min(deadline.saturating_duration_since(clock::now())),
                None => most,
            };
            let known = Box::pin(async move {
                // Whether it came or the time is over: the stack answers for what is there.
                let _ = tokio::time::timeout(most, known.wait_for(|known| *known)).await;
            });
            State::Waiting { known, stack, request: Some(request) }
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
            let inner = match state.as_mut().project() {
                StateProj::Running { inner } => {
                    let response = ready!(inner.poll(cx))?;
                    return Poll::Ready(Ok(response.map(ResponseBody::new)));
                }
                StateProj::Refused { error } => {
                    let gone = || DestinationError::NoHost.into();
                    return Poll::Ready(Err(error.take().unwrap_or_else(gone)));
                }
                StateProj::Waiting { known, stack, request } => {
                    ready!(known.as_mut().poll(cx));
                    let request = request.take().unwrap_or_default();
                    stack.call(request)
                }
            };
            state.set(State::Running { inner });
        }
    }
}

impl fmt::Debug for ResponseFuture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture").finish_non_exhaustive()
    }
}
