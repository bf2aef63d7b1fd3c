//! The stack that every call to one service walks, outermost first.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context as Task, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Request, Response};
use http_body::{Body as HttpBody, Frame, SizeHint};
use http_body_util::BodyExt;
use http_body_util::combinators::UnsyncBoxBody;
use outrigger_balance::EndpointSet;
use outrigger_breaker::{Breaker, BreakerConfig, Mode};
use outrigger_core::{BoxError, Call, CircuitState, Observers, RouteName, ServiceName};
use outrigger_http::{ClientTls, OutboundBody, Pool};
use outrigger_limit::{AdaptiveLimit, ConcurrencyLimit, RateLimit};
use outrigger_retry::{Budget, HedgeRule, RetryRule};
use outrigger_telemetry::{ClientTrace, Telemetry, TryTrace};
use outrigger_tower::{
    Balance, BalanceLayer, CircuitBreaker, CircuitBreakerLayer, ConcurrencyLayer, ContextLayer,
    HedgeLayer, LimitConcurrency, LimitRate, ObserveLayer, Observed, PerTryTimeout,
    PerTryTimeoutLayer, RateLimitLayer, ReplayBody, Retry, RetryLayer, Stamp, StampLayer, Timeout,
    TimeoutLayer, WithContext,
};
use pin_project_lite::pin_project;
use tower::util::{BoxCloneSyncService, Either, MapResponseLayer};
use tower_layer::Layer;
use tower_service::Service;

use crate::callee::Forget;
use crate::rules::adaptive_below;
use crate::{Body, Capacity, Rules};

/// What sends a dispatched request: the span of the try, then the wire.
type Wire<B> = Stamp<TryTrace<Pool<B>>>;
/// One try: pick, capacity, its timeout, the wire.
type Try<B> = Balance<LimitConcurrency<PerTryTimeout<Wire<B>>>>;
/// All tries.
type Tries = Timeout<CircuitBreaker<Retry<Try<ReplayBody<Body>>>>>;
/// The caller's own use of the service, where it is limited.
type Limited = Either<LimitRate<Tries>, Tries>;
/// The way of a call under rules that most services have: not one box on it.
type Plain = WithContext<ClientTrace<Observed<Limited>>>;
/// The way of a call that may be hedged, or has several rate limits: what is inside is boxed.
type Rich = WithContext<ClientTrace<Observed<RichTries>>>;
type RichTries = BoxCloneSyncService<Call<Request<Body>>, Response<RichBody>, BoxError>;
type RichBody = UnsyncBoxBody<Bytes, BoxError>;

type ResponseOf<S> = <S as Service<Request<Body>>>::Response;
type FutureOf<S> = <S as Service<Request<Body>>>::Future;
type BodyOf<S> = <ResponseOf<S> as Answer>::Body;

/// The body type of a response type.
pub(crate) trait Answer {
    type Body;
}

impl<B> Answer for Response<B> {
    type Body = B;
}

/// The whole way of a call.
#[derive(Clone, Debug)]
pub(crate) enum Stack {
    Plain(Plain),
    Rich(Rich),
}

impl Stack {
    pub(crate) fn call(&mut self, request: Request<Body>) -> StackFuture {
        match self {
            Self::Plain(stack) => StackFuture::Plain { inner: stack.call(request) },
            Self::Rich(stack) => StackFuture::Rich { inner: stack.call(request) },
        }
    }
}

pin_project! {
    /// The way of one call.
    #[project = FutureProj]
    pub(crate) enum StackFuture {
        Plain { #[pin] inner: FutureOf<Plain> },
        Rich { #[pin] inner: FutureOf<Rich> },
    }
}

impl Future for StackFuture {
    type Output = Result<Response<StackBody>, BoxError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Task<'_>) -> Poll<Self::Output> {
        match self.project() {
            FutureProj::Plain { inner } => {
                inner.poll(cx).map_ok(|response| response.map(|body| StackBody::Plain { body }))
            }
            FutureProj::Rich { inner } => {
                inner.poll(cx).map_ok(|response| response.map(|body| StackBody::Rich { body }))
            }
        }
    }
}

pin_project! {
    /// What the stack answers with.
    #[project = BodyProj]
    pub(crate) enum StackBody {
        Plain { #[pin] body: BodyOf<Plain> },
        Rich { #[pin] body: BodyOf<Rich> },
    }
}

impl HttpBody for StackBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Task<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match self.project() {
            BodyProj::Plain { body } => body.poll_frame(cx),
            BodyProj::Rich { body } => body.poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Plain { body } => body.is_end_stream(),
            Self::Rich { body } => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Plain { body } => body.size_hint(),
            Self::Rich { body } => body.size_hint(),
        }
    }
}

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
    pub(crate) tls: Option<&'a ClientTls>,
    pub(crate) telemetry: &'a Telemetry,
    pub(crate) observers: &'a Observers,
    pub(crate) now: Instant,
}

/// A stack and what belongs to it.
pub(crate) struct Built {
    pub(crate) stack: Stack,
    pub(crate) circuit: Option<Circuit>,
    pub(crate) forget: Forget,
    /// The policy's.
    pub(crate) timeout: Option<Duration>,
}

/// Builds the stack of rules that have been validated.
///
/// # Errors
/// None of a rule that [`Rules::validate`] accepts; they are passed on all the same, since a
/// library does not panic over a bound that two places state differently.
pub(crate) fn build(rules: &Rules, with: &Ingredients<'_>) -> Result<Built, BoxError> {
    let (service, now) = (with.service, with.now);
    let budget = Budget::new(&rules.retry.budget, now);
    let retry = RetryLayer::new(
        service.clone(),
        Arc::new(RetryRule::new(&rules.retry)?),
        Arc::clone(&budget),
    )
    .with_observers(with.observers.clone());
    let (config, route) = (rules.breaker.clone(), RouteName::default());
    let is_on = config.is_some();
    let breaker = Breaker::builder(config.unwrap_or_else(off))
        .seed(fastrand::u64(..))
        .observers(with.observers.clone(), service.clone(), route.clone())
        .build(now)?;
    let circuit = is_on.then(|| Circuit { breaker: breaker.clone(), route });
    let breaker = CircuitBreakerLayer::new(service.clone(), breaker);
    let mut limits = Vec::new();
    for limit in &rules.rate_limits {
        let bucket = Arc::new(RateLimit::new(limit.clone(), now)?);
        limits.push(RateLimitLayer::new(service.clone(), bucket));
    }

    let is_plain = rules.hedge.is_none() && limits.len() <= 1;
    let (stack, forget): (Stack, Forget) = if is_plain {
        let pool = pool(rules, with);
        let tries = timed(rules, breaker.layer(retry.layer(one_try(rules, with, pool.clone())?)));
        let limited = match limits.first() {
            Some(limit) => Either::Left(limit.layer(tries)),
            None => Either::Right(tries),
        };
        (Stack::Plain(outside(with, limited)), Box::new(move |keep| pool.retain(keep)))
    } else {
        let (mut tries, forget): (RichTries, Forget) = match &rules.hedge {
            Some(config) => {
                let rule = HedgeRule::new(config, &rules.retry.methods)?;
                let mut hedge = HedgeLayer::new(service.clone(), rule, budget)
                    .with_body_limit(rules.retry.body_limit)
                    .with_observers(with.observers.clone());
                if rules.retry.attempts > 0 {
                    // A retry rule that is off counts nothing.
                    hedge = hedge.within_retry();
                }
                let pool = pool(rules, with);
                let one = hedge.layer(one_try(rules, with, pool.clone())?);
                let tries = boxed(timed(rules, breaker.layer(retry.layer(one))));
                (tries, Box::new(move |keep| pool.retain(keep)))
            }
            None => {
                let pool = pool(rules, with);
                let one = one_try(rules, with, pool.clone())?;
                let tries = boxed(timed(rules, breaker.layer(retry.layer(one))));
                (tries, Box::new(move |keep| pool.retain(keep)))
            }
        };
        for limit in limits {
            tries = BoxCloneSyncService::new(limit.layer(tries));
        }
        (Stack::Rich(outside(with, tries)), forget)
    };
    Ok(Built { stack, circuit, forget, timeout: rules.timeout })
}

fn pool<B>(rules: &Rules, with: &Ingredients<'_>) -> Pool<B>
where
    B: OutboundBody,
{
    match with.tls {
        Some(tls) => Pool::with_tls(rules.pool_config(), tls.clone()),
        None => Pool::new(rules.pool_config()),
    }
}

/// One try, from the pick to the wire.
fn one_try<B>(rules: &Rules, with: &Ingredients<'_>, pool: Pool<B>) -> Result<Try<B>, BoxError>
where
    B: OutboundBody,
{
    let service = with.service.clone();
    let traced = with.telemetry.try_layer().layer(pool);
    let wire = StampLayer::new().with_caller(with.caller.clone()).layer(traced);
    let timed = PerTryTimeoutLayer::maybe(rules.retry.per_try_timeout).layer(wire);
    let capacity = match &rules.capacity {
        None => ConcurrencyLayer::new(service, ConcurrencyLimit::new(u32::MAX)),
        Some(Capacity { max_requests, adaptive: None, .. }) => {
            ConcurrencyLayer::new(service, ConcurrencyLimit::new(*max_requests))
        }
        Some(Capacity { max_requests, adaptive: Some(adaptive), .. }) => {
            let adaptive = adaptive_below(adaptive, *max_requests);
            ConcurrencyLayer::adaptive(service, AdaptiveLimit::new(adaptive)?)
        }
    };
    let one = capacity.with_name("capacity").layer(timed);
    Ok(BalanceLayer::new(with.set.clone()).with_observers(with.observers.clone()).layer(one))
}

fn timed<S>(rules: &Rules, tries: S) -> Timeout<S> {
    TimeoutLayer::maybe(rules.timeout).with_idle(rules.idle_timeout).layer(tries)
}

/// What stands outside of every rule: context, the span of the call, and how it ended.
fn outside<S>(with: &Ingredients<'_>, inner: S) -> WithContext<ClientTrace<Observed<S>>> {
    let observed = ObserveLayer::new(with.service.clone(), with.observers.clone()).layer(inner);
    ContextLayer::new(with.service.clone()).layer(with.telemetry.client_layer().layer(observed))
}

fn boxed<S, B>(tries: S) -> RichTries
where
    S: Service<Call<Request<Body>>, Response = Response<B>, Error = BoxError>
        + Clone
        + Send
        + Sync
        + 'static,
    S::Future: Send + 'static,
    B: HttpBody<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
{
    let boxed =
        |response: Response<B>| response.map(|body| body.map_err(Into::into).boxed_unsync());
    BoxCloneSyncService::new(MapResponseLayer::new(boxed).layer(tries))
}

/// A circuit that admits everything and counts nothing.
fn off() -> BreakerConfig {
    let mut config = BreakerConfig::default();
    config.mode = Mode::Disabled;
    config
}
