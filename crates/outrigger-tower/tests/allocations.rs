//! What an admitted, unsampled call allocates of ours: nothing.
//!
//! In a binary of its own, since the counting allocator takes the whole process. The endpoint is
//! ready at once and its answer has no body, so that all that could be counted is ours.

use std::future::{Ready, ready};
use std::sync::Arc;
use std::task::{Context as Task, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Request, Response};
use http_body_util::Empty;
use outrigger_balance::{EndpointSet, Members, SetOptions};
use outrigger_breaker::{Breaker, BreakerConfig};
use outrigger_core::{
    BoxError, Dispatch, Endpoint, Event, Instance, InstanceId, Observe, Observers, ServiceName,
};
use outrigger_limit::{ConcurrencyLimit, RateLimit, RateLimitConfig};
use outrigger_retry::{Budget, RetryConfig, RetryRule};
use outrigger_tower::{
    BalanceLayer, CircuitBreakerLayer, ConcurrencyLayer, ContextLayer, FusedLayer, FusedRules,
    ObserveLayer, PerTryTimeoutLayer, RateLimitLayer, ReplayBody, RetryLayer, StampLayer,
    TimeoutLayer, clock,
};
use tower::{Service, ServiceBuilder};

type Bare = Request<Empty<Bytes>>;

/// An endpoint that answers at once.
#[derive(Clone)]
struct Prompt;

impl Service<Dispatch<Request<ReplayBody<Empty<Bytes>>>>> for Prompt {
    type Response = Response<Empty<Bytes>>;
    type Error = BoxError;
    type Future = Ready<Result<Self::Response, BoxError>>;

    fn poll_ready(&mut self, _: &mut Task<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, dispatch: Dispatch<Request<ReplayBody<Empty<Bytes>>>>) -> Self::Future {
        std::hint::black_box(dispatch);
        ready(Ok(Response::new(Empty::new())))
    }
}

#[derive(Debug)]
struct Counts;

impl Observe for Counts {
    fn observe(&self, event: &Event<'_>) {
        std::hint::black_box(event);
    }
}

/// The same rules in one future.
fn fused() -> impl Service<Bare, Response: Sized, Error = BoxError> + Clone {
    let stock: ServiceName = "stock".parse().expect("valid");
    let now = clock::now();
    let retry = RetryConfig::default();
    let rule = RetryRule::new(&retry).expect("valid").into();
    let budget = Budget::new(&retry.budget, now);
    let observers = Observers::none().with(Arc::new(Counts));
    let rate = RateLimitConfig::new("1000000/s".parse().expect("valid"));
    let rate = Arc::new(RateLimit::new(rate, now).expect("valid"));
    let circuit = Breaker::new(BreakerConfig::default(), 7, now).expect("valid");
    let mut rules = FusedRules::new(
        ObserveLayer::new(stock.clone(), observers.clone()),
        RetryLayer::new(stock.clone(), rule, budget).with_observers(observers.clone()),
        BalanceLayer::new(set()).with_observers(observers),
    );
    rules.limits = vec![RateLimitLayer::new(stock.clone(), rate)];
    rules.timeout = TimeoutLayer::new(Duration::from_secs(15));
    rules.circuit = Some(CircuitBreakerLayer::new(stock.clone(), circuit));
    rules.capacity = Some(ConcurrencyLayer::new(stock.clone(), ConcurrencyLimit::new(1_024)));
    rules.per_try = PerTryTimeoutLayer::maybe(Some(Duration::from_secs(1)));
    rules.stamp = StampLayer::new().with_caller("orders".parse().expect("valid"));
    ServiceBuilder::new()
        .layer(ContextLayer::new(stock))
        .layer(FusedLayer::new(rules))
        .service(Prompt)
}

fn set() -> EndpointSet {
    let stock: ServiceName = "stock".parse().expect("valid");
    let now = clock::now();
    let set = EndpointSet::new(SetOptions::new(stock.clone()), now).expect("valid");
    let endpoint = |port: u16| {
        let address = std::net::SocketAddr::from(([127, 0, 0, 1], port));
        let id = InstanceId::new(&format!("stock-{port}")).expect("valid");
        Endpoint::new(Arc::new(Instance::new(id, stock.clone(), address)), address)
    };
    set.update(Members::new(1, (1..=5).map(endpoint).collect()), now);
    set
}

fn stack() -> impl Service<Bare, Response: Sized, Error = BoxError> + Clone {
    let stock: ServiceName = "stock".parse().expect("valid");
    let now = clock::now();
    let rate = RateLimitConfig::new("1000000/s".parse().expect("valid"));
    let rate = Arc::new(RateLimit::new(rate, now).expect("valid"));
    let circuit = Breaker::new(BreakerConfig::default(), 7, now).expect("valid");
    let retry = RetryConfig::default();
    let rule = RetryRule::new(&retry).expect("valid").into();
    let budget = Budget::new(&retry.budget, now);
    let observers = Observers::none().with(Arc::new(Counts));
    ServiceBuilder::new()
        .layer(ContextLayer::new(stock.clone()))
        .layer(ObserveLayer::new(stock.clone(), observers.clone()))
        .layer(RateLimitLayer::new(stock.clone(), rate))
        .layer(TimeoutLayer::new(Duration::from_secs(15)))
        .layer(CircuitBreakerLayer::new(stock.clone(), circuit))
        .layer(RetryLayer::new(stock.clone(), rule, budget).with_observers(observers.clone()))
        .layer(BalanceLayer::new(set()).with_observers(observers))
        .layer(ConcurrencyLayer::new(stock.clone(), ConcurrencyLimit::new(1_024)))
        .layer(PerTryTimeoutLayer::maybe(Some(Duration::from_secs(1))))
        .layer(StampLayer::new().with_caller("orders".parse().expect("valid")))
        .service(Prompt)
}

fn request() -> Bare {
    Request::get("http://stock/stock/42")
        .header("host", HeaderValue::from_static("stock"))
        .header("accept", HeaderValue::from_static("application/json"))
        .header("user-agent", HeaderValue::from_static("orders/1"))
        .body(Empty::new())
        .expect("valid")
}

/// One call, from the request in hand to the end of its answer.
fn exchange<S>(service: &mut S, request: Bare)
where
    S: Service<Bare, Error = BoxError>,
{
    let mut cx = Task::from_waker(Waker::noop());
    assert!(service.poll_ready(&mut cx).is_ready());
    let mut future = std::pin::pin!(service.call(request));
    match future.as_mut().poll(&mut cx) {
        Poll::Ready(Ok(response)) => drop(response),
        Poll::Ready(Err(error)) => panic!("{error}"),
        Poll::Pending => panic!("the endpoint answers at once"),
    }
}

fn allocates_nothing<S: Service<Bare, Error = BoxError>>(mut service: S) {
    // What is kept per thread and per service is made by the first calls.
    for _ in 0..100 {
        exchange(&mut service, request());
    }
    let requests: Vec<_> = (0..1_000).map(|_| request()).collect();
    let counted = allocation_counter::measure(|| {
        for request in requests {
            exchange(&mut service, request);
        }
    });
    // The list of requests itself is freed within, not allocated.
    assert_eq!(counted.count_total, 0, "{counted:?}");
}

#[test]
fn a_call_through_every_layer_allocates_nothing() {
    allocates_nothing(stack());
}

#[test]
fn a_call_through_all_rules_in_one_future_allocates_nothing() {
    allocates_nothing(fused());
}

/// A limit, stated rather than hidden: `bytes` shares a buffer that it owns alone at the first
/// clone, and to keep a request for another try is to clone its header values.
#[test]
fn a_header_value_made_at_run_time_costs_one_small_allocation() {
    let mut service = stack();
    for _ in 0..100 {
        exchange(&mut service, request());
    }
    let mut request = request();
    let value = HeaderValue::from_str(&"x".repeat(40)).expect("valid");
    request.headers_mut().insert("accept", value);
    let counted = allocation_counter::measure(|| exchange(&mut service, request));
    assert!(counted.count_total <= 1, "{counted:?}");
}

#[test]
fn the_counter_counts() {
    let counted = allocation_counter::measure(|| drop(std::hint::black_box(Box::new(7))));
    assert_eq!(counted.count_total, 1);
}
