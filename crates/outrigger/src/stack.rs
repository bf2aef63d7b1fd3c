//! The stack that every call to one service walks, outermost first.

use std::sync::Arc;
use std::time::Instant;

use http::Request;
use outrigger_balance::EndpointSet;
use outrigger_breaker::{Breaker, BreakerConfig, Mode};
use outrigger_core::{Call, CircuitState, Observers, RouteName, ServiceName};
use outrigger_http::Pool;
use outrigger_limit::{ConcurrencyLimit, RateLimit};
use outrigger_retry::{Budget, RetryRule};
use outrigger_telemetry::{ClientTrace, Telemetry, TryTrace};
use outrigger_tower::{
    Balance, BalanceLayer, CircuitBreaker, CircuitBreakerLayer, ConcurrencyLayer, ContextLayer,
    DeadlineLayer, LimitConcurrency, LimitRate, ObserveLayer, Observed, PerTryTimeout,
    PerTryTimeoutLayer, RateLimitLayer, ReplayBody, Retry, RetryLayer, Stamp, StampLayer, Timeout,
    TimeoutLayer, WithContext,
};
use tower::util::Either;
use tower_layer::Layer;
use tower_service::Service;

use crate::{Body, Rules};

/// What sends a dispatched request: the span of the try, then the wire.
type Wire = Stamp<TryTrace<Pool<ReplayBody<Body>>>>;
/// One try: pick, capacity, its timeout, the wire.
type Try = Balance<LimitConcurrency<PerTryTimeout<Wire>>>;
/// All tries.
type Tries = Timeout<CircuitBreaker<Retry<Try>>>;
/// The caller's own use of the service, where it is limited.
type Limited = Either<LimitRate<Tries>, Tries>;

/// The whole way of a call.
pub(crate) type Stack = WithContext<ClientTrace<Observed<Limited>>>;
/// What the stack answers with, once its body is asked for.
pub(crate) type StackBody = <<Stack as Service<Request<Body>>>::Response as Answer>::Body;
/// The way of one call.
pub(crate) type StackFuture = <Stack as Service<Request<Body>>>::Future;

/// The body type of a response type.
pub(crate) trait Answer {
    type Body;
}

impl<B> Answer for http::Response<B> {
    type Body = B;
}

// The inside of the stack is asked for calls, never for plain requests.
const _: fn() = || {
    fn takes_calls<S: Service<Call<Request<Body>>>>() {}
    takes_calls::<ClientTrace<Observed<Limited>>>();
};

/// The circuit of a service, as pages see it.
#[derive(Clone, Debug)]
pub(crate) struct Circuit {
    breaker: Breaker,
    route: RouteName,
}

impl Circuit {
    pub(crate) const fn route(&self) -> &RouteName {
        &self.route
    }

    pub(crate) fn state(&self, now: Instant) -> CircuitState {
        self.breaker.state(now)
    }
}

/// What a stack is made of, beside its rules.
#[derive(Debug)]
pub(crate) struct Ingredients<'a> {
    pub(crate) service: &'a ServiceName,
    pub(crate) caller: &'a ServiceName,
    pub(crate) set: EndpointSet,
    pub(crate) pool: Pool<ReplayBody<Body>>,
    pub(crate) telemetry: &'a Telemetry,
    pub(crate) observers: &'a Observers,
    pub(crate) now: Instant,
}

/// Builds the stack of rules that have been validated.
///
/// # Errors
/// None of a rule that [`Rules::validate`] accepts; they are passed on all the same, since a
/// library does not panic over a bound that two places state differently.
pub(crate) fn build(
    rules: &Rules,
    with: Ingredients<'_>,
) -> Result<(Stack, Option<Circuit>), outrigger_core::BoxError> {
    let Ingredients { service, caller, set, pool, telemetry, observers, now } = with;
    let wire =
        StampLayer::new().with_caller(caller.clone()).layer(telemetry.try_layer().layer(pool));
    let one = PerTryTimeoutLayer::maybe(rules.retry.per_try_timeout).layer(wire);
    let most = rules.capacity.as_ref().map_or(u32::MAX, |capacity| capacity.max_requests);
    let one = ConcurrencyLayer::new(service.clone(), ConcurrencyLimit::new(most))
        .with_name("capacity")
        .layer(one);
    let one = BalanceLayer::new(set).with_observers(observers.clone()).layer(one);

    let budget = Budget::new(&rules.retry.budget, now);
    let rule = Arc::new(RetryRule::new(&rules.retry)?);
    let tries =
        RetryLayer::new(service.clone(), rule, budget).with_observers(observers.clone()).layer(one);
    let (config, route) = (rules.breaker.clone(), RouteName::default());
    let is_on = config.is_some();
    let breaker = Breaker::builder(config.unwrap_or_else(off))
        .observers(observers.clone(), service.clone(), route.clone())
        .build(now)?;
    let circuit = is_on.then(|| Circuit { breaker: breaker.clone(), route });
    let tries = CircuitBreakerLayer::new(service.clone(), breaker).layer(tries);
    let tries = match rules.timeout {
        Some(timeout) => TimeoutLayer::new(timeout).layer(tries),
        None => DeadlineLayer::new().layer(tries),
    };
    let limited = match rules.rate_limits.first() {
        Some(limit) => {
            let bucket = Arc::new(RateLimit::new(limit.clone(), now)?);
            Either::Left(RateLimitLayer::new(service.clone(), bucket).layer(tries))
        }
        None => Either::Right(tries),
    };
    let observed = ObserveLayer::new(service.clone(), observers.clone()).layer(limited);
    let traced = telemetry.client_layer().layer(observed);
    Ok((ContextLayer::new(service.clone()).layer(traced), circuit))
}

/// A circuit that admits everything and counts nothing.
fn off() -> BreakerConfig {
    let mut config = BreakerConfig::default();
    config.mode = Mode::Disabled;
    config
}
