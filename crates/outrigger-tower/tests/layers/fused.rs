//! All rules in one future: what it holds and gives back, and the places that calls leave.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::task::{Context as Task, Poll};

use bytes::Bytes;
use http::Response;
use http_body_util::{BodyExt, Full};
use outrigger_balance::{EndpointSet, Members};
use outrigger_breaker::{Breaker, BreakerConfig};
use outrigger_core::{BoxError, Dispatch, FailureKind, Observers, Rejected};
use outrigger_limit::{ConcurrencyLimit, RateLimit, RateLimitConfig};
use outrigger_retry::{Budget, RetryConfig, RetryRule};
use outrigger_tower::{
    BalanceLayer, CircuitBreakerLayer, ConcurrencyLayer, FusedLayer, FusedRules, ObserveLayer,
    PerTryTimeoutLayer, RateLimitLayer, ReplayBody, RetryLayer, StampLayer, TimeoutLayer, clock,
};
use tower::{Layer, Service};

use crate::kit::*;

type Out = Dispatch<http::Request<ReplayBody<Full<Bytes>>>>;

struct Parts {
    set: EndpointSet,
    limit: ConcurrencyLimit,
    circuit: Breaker,
}

impl Parts {
    fn new() -> Self {
        Self {
            set: set_of(&[1, 2, 3], Observers::none()),
            limit: ConcurrencyLimit::new(5),
            circuit: Breaker::new(BreakerConfig::default(), 7, clock::now()).expect("valid"),
        }
    }

    fn layer(&self, change: impl FnOnce(&mut FusedRules)) -> FusedLayer<Full<Bytes>> {
        let mut retry = RetryConfig::default();
        retry.when = ["5xx", "timeout"].map(|t| t.parse().expect("valid")).into();
        retry.budget.min_per_second = 100_000;
        let rule = RetryRule::new(&retry).expect("valid");
        let budget = Budget::new(&retry.budget, clock::now());
        let mut rules = FusedRules::new(
            ObserveLayer::new(stock(), Observers::none()),
            RetryLayer::new(stock(), rule.into(), budget),
            BalanceLayer::new(self.set.clone()),
        );
        rules.timeout = TimeoutLayer::new(ms(15_000));
        rules.circuit = Some(CircuitBreakerLayer::new(stock(), self.circuit.clone()));
        rules.capacity = Some(ConcurrencyLayer::new(stock(), self.limit.clone()));
        rules.stamp = StampLayer::new();
        change(&mut rules);
        FusedLayer::new(rules)
    }

    fn held(&self) -> u64 {
        assert_eq!(in_flight(&self.set), u64::from(self.limit.in_flight()), "held together");
        in_flight(&self.set)
    }
}

#[tokio::test(start_paused = true)]
async fn what_a_call_holds_is_given_back_whenever_it_is_dropped() {
    let parts = Parts::new();
    let (mock, mut handle) = tower_test::mock::pair::<Out, Res>();
    let mut service = parts.layer(|_| {}).layer(mock);

    drop(service.call(get()));
    assert_eq!(parts.held(), 0, "what was never polled has begun nothing");

    let mut flight = Box::pin(service.call(get()));
    assert!(tokio_poll(flight.as_mut()).await.is_none(), "nobody has answered");
    let (_, reply) = next(&mut handle).await;
    assert_eq!(parts.held(), 1, "a request is in flight");
    drop(flight);
    assert_eq!(parts.held(), 0, "a dropped request gives everything back");
    drop(reply);

    // The place that it has left is the next one's.
    for rest in [&[Piece::Data("half"), Piece::Stall][..], &[Piece::Data("all")][..]] {
        let mut flight = Box::pin(service.call(get()));
        assert!(tokio_poll(flight.as_mut()).await.is_none(), "nobody has answered");
        let (_, reply) = next(&mut handle).await;
        reply.send_response(Response::new(Script::of(rest)));
        let mut response = flight.await.expect("it was answered");
        assert_eq!(parts.held(), 1, "a request ends with its response's body");
        let frame = response.body_mut().frame().await.expect("a frame").expect("whole");
        let is_whole = frame.into_data().expect("data") == "all";
        assert_eq!(parts.held(), u64::from(!is_whole), "the last frame is the end");
        drop(response);
        assert_eq!(parts.held(), 0, "a body that nobody reads gives everything back");
    }
}

#[tokio::test(start_paused = true)]
async fn each_call_has_its_own_time_in_a_place_that_another_has_left() {
    let parts = Parts::new();
    let (mock, mut handle) = tower_test::mock::pair::<Out, Res>();
    let mut service = parts.layer(|_| {}).layer(mock);
    for (waits, is_answered) in [(1_000, true), (14_000, true), (20_000, false), (3, true)] {
        let t0 = clock::now();
        let flight = tokio::spawn(service.call(get()));
        let (_, reply) = next(&mut handle).await;
        if is_answered {
            tokio::time::sleep(ms(waits)).await;
            reply.send_response(answer(200));
            assert!(flight.await.expect("no panic").is_ok(), "in time after {waits} ms");
        } else {
            let error = flight.await.expect("no panic").expect_err("nobody answers");
            assert_eq!(kind_of(&error), Some(FailureKind::Timeout));
            assert_eq!((clock::now() - t0).as_millis(), 15_000, "neither sooner nor later");
            assert_eq!(parts.held(), 0);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_try_that_takes_too_long_is_followed_by_another_elsewhere() {
    let parts = Parts::new();
    let (mock, mut handle) = tower_test::mock::pair::<Out, Res>();
    let per_try = |rules: &mut FusedRules| rules.per_try = PerTryTimeoutLayer::new(ms(100));
    let mut service = parts.layer(per_try).layer(mock);

    let flight = tokio::spawn(service.call(get()));
    let (first, _kept) = next(&mut handle).await;
    let (second, reply) = next(&mut handle).await;

    assert_ne!(first.endpoint, second.endpoint);
    assert_eq!(second.request.headers()["x-outrigger-attempt"], "1");
    assert_eq!(parts.held(), 1, "the first try has given back what it held");
    reply.send_response(answer(200));
    let response = flight.await.expect("no panic").expect("the second was in time");
    assert_eq!(response.headers()["x-outrigger-attempts"], "2");
}

#[tokio::test(start_paused = true)]
async fn whoever_refuses_says_so_and_nobody_further_in_is_asked() {
    let parts = Parts::new();
    let rate = RateLimitConfig::new("1/h".parse().expect("a rate"));
    let rate = Arc::new(RateLimit::new(rate, clock::now()).expect("valid"));
    let (mock, mut handle) = tower_test::mock::pair::<Out, Res>();
    let limited = |rules: &mut FusedRules| {
        rules.limits = vec![RateLimitLayer::new(stock(), rate).with_headers(true)];
    };
    let mut service = parts.layer(limited).layer(mock);

    let flight = tokio::spawn(service.call(get()));
    next(&mut handle).await.1.send_response(answer(200));
    let response = flight.await.expect("no panic").expect("one is admitted");
    assert_eq!(response.headers()["ratelimit-remaining"], "0");

    let error = service.call(get()).await.expect_err("the bucket is empty");
    assert!(matches!(Rejected::find(&*error), Some(Rejected::RateLimited { .. })), "{error:?}");
    assert!(is_quiet(&mut handle).await);
    assert_eq!(parts.held(), 0);
}

/// Counts those of its clones that were found ready and not called since.
#[derive(Default)]
struct Reserves {
    reserved: Arc<AtomicU64>,
    has_one: bool,
}

impl Clone for Reserves {
    fn clone(&self) -> Self {
        Self { reserved: Arc::clone(&self.reserved), has_one: false }
    }
}

impl Drop for Reserves {
    fn drop(&mut self) {
        self.reserved.fetch_sub(u64::from(self.has_one), Relaxed);
    }
}

impl Service<Out> for Reserves {
    type Response = Res;
    type Error = BoxError;
    type Future = std::future::Ready<Result<Res, BoxError>>;

    fn poll_ready(&mut self, _: &mut Task<'_>) -> Poll<Result<(), BoxError>> {
        self.reserved.fetch_add(u64::from(!self.has_one), Relaxed);
        self.has_one = true;
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Out) -> Self::Future {
        self.reserved.fetch_sub(1, Relaxed);
        self.has_one = false;
        std::future::ready(Ok(answer(200)))
    }
}

#[tokio::test(start_paused = true)]
async fn a_place_keeps_nothing_that_the_service_within_has_reserved() {
    let parts = Parts::new();
    let inner = Reserves::default();
    let reserved = Arc::clone(&inner.reserved);
    let mut service = parts.layer(|_| {}).layer(inner);

    service.call(get()).await.expect("answered");
    assert_eq!(reserved.load(Relaxed), 0, "the call has used it");

    parts.set.update(Members::new(2, Vec::new()), clock::now());
    service.call(get()).await.expect_err("there is no endpoint");
    assert_eq!(reserved.load(Relaxed), 0, "given back, for others than the next call here");
}
