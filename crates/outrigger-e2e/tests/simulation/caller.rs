//! A caller: the watch feeds the endpoint set, and requests walk the whole stack.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Empty, Full};
use hyper_util::rt::TokioIo;
use outrigger::balance::{EndpointSet, Members, SetOptions};
use outrigger::breaker::{Breaker, BreakerConfig};
use outrigger::consul::Consul;
use outrigger::core::{BoxError, Dispatch, Failed, FailureKind, Observers, ServiceName};
use outrigger::discovery::{Check, Query, Registrar as _, Registration, Resolver as _};
use outrigger::limit::ConcurrencyLimit;
use outrigger::retry::{Budget, RetryConfig, RetryRule};
use outrigger::tower::{
    BalanceLayer, CircuitBreakerLayer, ConcurrencyLayer, ContextLayer, ObserveLayer,
    PerTryTimeoutLayer, ReplayBody, RetryLayer, StampLayer, TimeoutLayer, clock,
};
use tower::util::BoxCloneSyncService;
use tower::{ServiceBuilder, ServiceExt as _, service_fn};
use turmoil::net::TcpStream;

use crate::endpoint::TTL;
use crate::ledger::{Listener, Shared};
use crate::network;

type Bare = Request<Empty<Bytes>>;
type Wired = Dispatch<Request<ReplayBody<Empty<Bytes>>>>;
type Answer = Response<Full<Bytes>>;
type Client = BoxCloneSyncService<Bare, Response<()>, BoxError>;

/// Time between two requests of one caller.
const EVERY: Duration = Duration::from_millis(500);

/// Calls until the simulation ends.
pub(crate) async fn run(ledger: Shared, index: usize) -> turmoil::Result {
    let name = format!("c{index}");
    let observers = Listener::observers(&ledger, &name);
    let stock: ServiceName = "stock".parse()?;
    let consul = Consul::new(network::consul(observers.clone(), ledger.wait()))?;
    // Registered itself, so that the registry lists more than one service: the guard's witness.
    let own = Registration::new("shop".parse()?, 81)
        .with_id(name.parse()?)
        .with_address(turmoil::lookup(name.as_str()))
        .with_checks([Check::Ttl { ttl: TTL }]);
    let _registered = consul.register(own).await?;
    let set = EndpointSet::new(
        SetOptions::new(stock.clone())
            .with_seed(fastrand::u64(..))
            .with_observers(observers.clone()),
        clock::now(),
    )?;
    let client = stack(&ledger, index, set.clone(), stock.clone(), observers)?;
    let mut snapshots = consul.watch(&Query::new(stock));
    let mut second = tokio::time::interval(Duration::from_secs(1));
    let mut due = tokio::time::interval(EVERY);
    loop {
        tokio::select! {
            biased;
            Some(snapshot) = snapshots.next() => {
                ledger.saw(index, &snapshot);
                set.update(Members::of(&snapshot, |_, _, _| Vec::new()), clock::now());
            }
            _ = second.tick() => set.tick(clock::now()),
            _ = due.tick() => {
                // Until the registry has said something there is nobody to call.
                if ledger.has_seen(index) {
                    tokio::spawn(call(ledger.clone(), index, client.clone()));
                }
            }
        }
    }
}

async fn call(ledger: Shared, index: usize, client: Client) {
    let began = turmoil::sim_elapsed().unwrap_or_default();
    let request = Request::get("http://stock/").body(Empty::new()).expect("a valid request");
    let result = client.oneshot(request).await;
    ledger.finished(index, began, result.map(|response| response.status().as_u16()));
}

/// Every layer that a call walks, in the facade's order, over a wire of plain hyper.
fn stack(
    ledger: &Shared,
    index: usize,
    set: EndpointSet,
    name: ServiceName,
    observers: Observers,
) -> Result<Client, Box<dyn std::error::Error>> {
    let now = clock::now();
    let mut retry = RetryConfig::default();
    retry.attempts = 3;
    retry.when = vec!["connect_failure".parse()?, "reset".parse()?, "timeout".parse()?];
    let budget = Budget::new(&retry.budget, now);
    let rule = RetryRule::new(&retry)?;
    let circuit = Breaker::new(BreakerConfig::default(), fastrand::u64(..), now)?;
    let (ledger, seen) = (ledger.clone(), set.clone());
    let wire = service_fn(move |dispatch: Wired| {
        let panicking = seen.view(clock::now()).panicking;
        ledger.sent(index, &dispatch.endpoint, panicking);
        exchange(dispatch.endpoint.address(), dispatch.request.map(drop))
    });
    let stack = ServiceBuilder::new()
        .layer(ContextLayer::new(name.clone()))
        .layer(ObserveLayer::new(name.clone(), observers.clone()))
        .layer(TimeoutLayer::new(Duration::from_secs(5)))
        .layer(CircuitBreakerLayer::new(name.clone(), circuit))
        .layer(RetryLayer::new(name.clone(), rule.into(), budget).with_observers(observers.clone()))
        .layer(BalanceLayer::new(set).with_observers(observers))
        .layer(ConcurrencyLayer::new(name, ConcurrencyLimit::new(64)))
        .layer(PerTryTimeoutLayer::new(Duration::from_secs(1)))
        .layer(StampLayer::new().with_caller("shop".parse()?))
        .service(wire)
        .map_response(|response: Response<_>| response.map(drop));
    Ok(BoxCloneSyncService::new(stack))
}

/// One request over a connection of its own.
async fn exchange(to: SocketAddr, request: Request<()>) -> Result<Answer, BoxError> {
    let broke = |kind| move |cause: BoxError| Failed::new(kind).with_endpoint(to).with_cause(cause);
    let unconnected = broke(FailureKind::ConnectFailure);
    let stream = TcpStream::connect(to).await.map_err(|error| unconnected(error.into()))?;
    let connecting = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await;
    let (mut sender, connection) = connecting.map_err(|error| unconnected(error.into()))?;
    tokio::spawn(connection);
    let request = request.map(|()| Empty::<Bytes>::new());
    let reset = broke(FailureKind::Reset);
    let response = sender.send_request(request).await.map_err(|error| reset(error.into()))?;
    let (head, body) = response.into_parts();
    let body = body.collect().await.map_err(|error| reset(error.into()))?;
    Ok(Response::from_parts(head, Full::new(body.to_bytes())))
}
