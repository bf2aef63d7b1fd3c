//! Scripted services, bodies and observers.

use std::collections::VecDeque;
use std::fmt::Debug;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::task::{Context as Task, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body::{Body, Frame, SizeHint};
use http_body_util::{Empty, Full};
use outrigger_balance::{EndpointSet, Members, SetOptions};
use outrigger_core::{
    BoxError, Call, Context, Endpoint, Event, Failed, FailureKind, Instance, InstanceId, Observe,
    Observers, ServiceName,
};
use outrigger_tower::clock;
use tower::{Layer, Service, ServiceExt};
use tower_test::mock::{Handle, Mock, SendResponse};

pub(crate) type Req = Request<Full<Bytes>>;
pub(crate) type Res = Response<Script>;

pub(crate) const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

pub(crate) fn stock() -> ServiceName {
    "stock".parse().expect("valid")
}

/// A GET without a body.
pub(crate) fn get() -> Req {
    Request::get("/stock/42").body(Full::default()).expect("valid")
}

/// A request of this method with this body.
pub(crate) fn with_body(method: &str, body: &'static str) -> Req {
    let body = Full::new(Bytes::from_static(body.as_bytes()));
    Request::builder().method(method).uri("/stock/42").body(body).expect("valid")
}

/// The request in a context that began now, changed by `change`.
pub(crate) fn call<B>(request: Request<B>, change: impl FnOnce(&mut Context)) -> Call<Request<B>> {
    let mut context = Context::new(clock::now());
    change(&mut context);
    Call::new(context, request)
}

pub(crate) fn answer(status: u16) -> Res {
    Response::builder().status(status).body(Script::empty()).expect("valid")
}

pub(crate) fn failed(kind: FailureKind) -> BoxError {
    Failed::new(kind).into()
}

pub(crate) fn kind_of(error: &BoxError) -> Option<FailureKind> {
    Failed::find(&**error).map(|failed| failed.kind)
}

/// What a scripted body does next.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Piece {
    Data(&'static str),
    /// Nothing more comes, and no end either.
    Stall,
    Break,
}

/// A body that follows a script, and knows no length.
#[derive(Clone, Debug, Default)]
pub(crate) struct Script(VecDeque<Piece>);

impl Script {
    pub(crate) fn of(pieces: &[Piece]) -> Self {
        Self(pieces.iter().copied().collect())
    }

    pub(crate) fn empty() -> Self {
        Self::default()
    }
}

impl Body for Script {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Task<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        if self.0.front() == Some(&Piece::Stall) {
            return Poll::Pending;
        }
        Poll::Ready(self.0.pop_front().map(|piece| match piece {
            Piece::Data(text) => Ok(Frame::data(Bytes::from_static(text.as_bytes()))),
            _ => Err(failed(FailureKind::Reset)),
        }))
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        if self.0.is_empty() { SizeHint::with_exact(0) } else { SizeHint::default() }
    }
}

/// The next request that arrives at the scripted service.
pub(crate) async fn next<R>(handle: &mut Handle<R, Res>) -> (R, SendResponse<Res>) {
    handle.next_request().await.expect("the layer is still there")
}

/// Waits until a service is ready and calls it; what comes back is the answer's future.
pub(crate) async fn start<S, R>(service: &mut S, request: R) -> S::Future
where
    S: Service<R, Error: Debug>,
{
    service.ready().await.expect("it is ready").call(request)
}

/// Whether nothing has arrived at the scripted service, after everything else has come to rest.
pub(crate) async fn is_quiet<R>(handle: &mut Handle<R, Res>) -> bool {
    tokio::task::yield_now().await;
    tokio_poll(handle.next_request()).await.is_none()
}

/// Polls something once.
pub(crate) async fn tokio_poll<F: Future>(future: F) -> Option<F::Output> {
    let mut future = std::pin::pin!(future);
    std::future::poll_fn(|cx| {
        Poll::Ready(match future.as_mut().poll(cx) {
            Poll::Ready(output) => Some(output),
            Poll::Pending => None,
        })
    })
    .await
}

/// Puts a layer before a scripted service and drops it at each of the three moments, and a fourth:
/// with a response whose body nobody reads. `held` counts what the layer has taken and not yet
/// given back; `carries` is what that is while one request is under way.
pub(crate) async fn the_three_drops<L, In, Out, Body>(
    layer: L,
    request: impl Fn() -> In,
    carries: u64,
    held: impl Fn() -> u64,
) where
    L: Layer<Watched<Mock<Out, Res>>>,
    L::Service: Service<In, Response = Response<Body>, Error: Debug>,
    Out: Send + 'static,
{
    // Before it is ready.
    let (mock, mut handle) = tower_test::mock::pair::<Out, Res>();
    handle.allow(0);
    let mut service = layer.layer(Watched::new(mock));
    assert!(tokio_poll(service.ready()).await.is_none(), "nobody lets it be ready");
    drop(service);
    assert_eq!(held(), 0, "readiness that never came holds nothing");

    // After it is ready.
    let (mock, mut handle) = tower_test::mock::pair::<Out, Res>();
    handle.allow(1);
    let mut service = layer.layer(Watched::new(mock));
    assert!(tokio_poll(service.ready()).await.is_some(), "it is ready");
    drop(service);
    assert_eq!(held(), 0, "readiness that nobody used holds nothing");

    // In flight.
    let (mock, mut handle) = tower_test::mock::pair::<Out, Res>();
    let watched = Watched::new(mock);
    let alive = watched.alive();
    let mut service = layer.layer(watched);
    let flight = service.ready().await.map(|ready| ready.call(request())).expect("it is ready");
    let mut flight = Box::pin(flight);
    assert!(tokio_poll(flight.as_mut()).await.is_none(), "nobody has answered");
    let (_, reply) = next(&mut handle).await;
    assert_eq!(held(), carries, "a request is in flight");
    assert_eq!(alive(), 1);
    drop(flight);
    assert_eq!(held(), 0, "a dropped request gives everything back");
    assert_eq!(alive(), 0, "the inner future is dropped with it");
    drop(reply);

    // With the response in hand.
    let (mock, mut handle) = tower_test::mock::pair::<Out, Res>();
    let mut service = layer.layer(Watched::new(mock));
    let flight = service.ready().await.map(|ready| ready.call(request())).expect("it is ready");
    let mut flight = Box::pin(flight);
    assert!(tokio_poll(flight.as_mut()).await.is_none(), "nobody has answered");
    let (_, reply) = next(&mut handle).await;
    reply.send_response(Response::new(Script::of(&[Piece::Data("half"), Piece::Stall])));
    let response = flight.await.expect("it was answered");
    assert_eq!(held(), carries, "a request ends with its response's body");
    drop(response);
    assert_eq!(held(), 0, "a body that nobody reads gives everything back");
}

/// A service that counts its futures that are still alive.
#[derive(Clone)]
pub(crate) struct Watched<S> {
    inner: S,
    alive: Arc<AtomicU64>,
}

impl<S> Watched<S> {
    fn new(inner: S) -> Self {
        Self { inner, alive: Arc::default() }
    }

    fn alive(&self) -> impl Fn() -> u64 + use<S> {
        let alive = Arc::clone(&self.alive);
        move || alive.load(Relaxed)
    }
}

struct Alive(Arc<AtomicU64>);

impl Drop for Alive {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

impl<S, R> Service<R> for Watched<S>
where
    S: Service<R, Future: Send + 'static>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<S::Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Task<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: R) -> Self::Future {
        self.alive.fetch_add(1, Relaxed);
        let alive = Alive(Arc::clone(&self.alive));
        let future = self.inner.call(request);
        Box::pin(async move {
            let _alive = alive;
            future.await
        })
    }
}

/// Writes events down as short words.
#[derive(Debug, Default)]
pub(crate) struct Heard(Mutex<Vec<String>>);

impl Heard {
    pub(crate) fn new() -> (Arc<Self>, Observers) {
        let heard = Arc::new(Self::default());
        (Arc::clone(&heard), Observers::none().with(heard))
    }

    /// What was heard since the last time.
    pub(crate) fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().expect("whole"))
    }
}

impl Observe for Heard {
    fn observe(&self, event: &Event<'_>) {
        let word = match event {
            Event::Finished { method, status, outcome, tries, .. } => {
                format!("finished {method} {status:?} {} after {tries}", outcome.as_str())
            }
            Event::Tried { endpoint, attempt, status, failure, outcome, .. } => {
                let shown = failure.map_or(format!("{status:?}"), |kind| kind.as_str().into());
                let port = endpoint.address().port();
                format!("tried {port} as {attempt}: {shown} {}", outcome.as_str())
            }
            Event::Rejected { rejected, .. } => format!("rejected: {rejected}"),
            Event::Retried { attempt, hedge, .. } => format!("retried {attempt} hedge={hedge}"),
            Event::RetryForbidden { why, .. } => format!("forbidden by {why}"),
            Event::Spared { rule, reason, .. } => format!("spared by {rule}: {}", reason.as_str()),
            Event::FaultInjected { kind, .. } => format!("fault {kind}"),
            Event::FallbackServed { kind, .. } => format!("fallback {kind}"),
            Event::Mirrored { result, .. } => format!("mirrored: {result}"),
            Event::Ejected { endpoint, .. } => format!("ejected {}", endpoint.address().port()),
            _ => return,
        };
        self.0.lock().expect("whole").push(word);
    }
}

/// A set of endpoints on these ports.
pub(crate) fn set_of(ports: &[u16], observers: Observers) -> EndpointSet {
    let options = SetOptions::new(stock()).with_observers(observers);
    let set = EndpointSet::new(options, clock::now()).expect("the defaults hold");
    let endpoint = |port: &u16| {
        let address = std::net::SocketAddr::from(([127, 0, 0, 1], *port));
        let id = InstanceId::new(&format!("stock-{port}")).expect("valid");
        Endpoint::new(Arc::new(Instance::new(id, stock(), address)), address)
    };
    set.update(Members::new(1, ports.iter().map(endpoint).collect()), clock::now());
    set
}

/// Requests in flight on all endpoints of a set.
pub(crate) fn in_flight(set: &EndpointSet) -> u64 {
    set.view(clock::now()).endpoints.iter().map(|view| u64::from(view.in_flight)).sum()
}

/// A GET that really has no body.
pub(crate) fn bare() -> Request<Empty<Bytes>> {
    Request::get("/stock/42").body(Empty::new()).expect("valid")
}
