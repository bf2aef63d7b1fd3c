//! The stack that every call to one service walks, outermost first.

mod extras;

use std::collections::BTreeMap;
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
use outrigger_breaker::Breaker;
use outrigger_core::{
    BoxError, Call, CircuitState, Dispatch, Observers, PolicyVersion, RouteName, ServiceName,
};
use outrigger_http::Pool;
use outrigger_limit::{BoundConfig, ConcurrencyLimit};
use outrigger_policy::{Plan, RoutePlan};
use outrigger_retry::{Budget, HedgeRule, RetryRule};
use outrigger_telemetry::{ClientTrace, Telemetry, TryTrace};
use outrigger_tower::{
    Balance, BalanceLayer, CircuitBreakerLayer, ConcurrencyLayer, ContextLayer, Fused, FusedLayer,
    FusedRules, HashOn, HedgeLayer, LimitConcurrency, Mirrored, ObserveLayer, Observed,
    PerTryTimeout, PerTryTimeoutLayer, RateLimitLayer, ReplayBody, RetryLayer, Split, Stamp,
    StampLayer, TimeoutLayer, WithContext,
};
use pin_project_lite::pin_project;
use tower::util::{BoxCloneSyncService, MapRequestLayer, MapResponseLayer};
use tower_layer::Layer;
use tower_service::Service;

use crate::client::Link;
use crate::table::Pools;
use crate::{Body, Rules};

/// One try of a call that may be hedged: pick, capacity, its timeout, headers, the wire.
type Try = Balance<LimitConcurrency<PerTryTimeout<Stamp<Wire>>>>;
/// The way of a call under rules that most services have: one future, and not one box on it.
type Plain = WithContext<ClientTrace<Fused<Wire, Body, WireBody>>>;
/// What sends a request: the span of the try, then the pool.
type Wire = TryTrace<Pool<ReplayBody<Body>>>;
type WireBody = <<Wire as Service<Dispatch<Request<ReplayBody<Body>>>>>::Response as Answer>::Body;
/// The same, for a route that is split between subsets.
type Parted = WithContext<ClientTrace<Split<Fused<Wire, Body, WireBody>>>>;
/// The way of a call that may be hedged, or changed on its way: what is inside is boxed.
type Rich = WithContext<ClientTrace<Observed<RichTries>>>;
pub(super) type RichTries = BoxCloneSyncService<Call<Request<Body>>, Response<RichBody>, BoxError>;
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
    Parted(Parted),
    Rich(Rich),
}

impl Stack {
    pub(crate) fn call(&mut self, request: Request<Body>) -> StackFuture {
        match self {
            Self::Plain(stack) => StackFuture::Plain { inner: stack.call(request) },
            Self::Parted(stack) => StackFuture::Plain { inner: stack.call(request) },
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
    pub(crate) const fn breaker(&self) -> &Breaker {
        &self.breaker
    }

    pub(crate) const fn new(breaker: Breaker, route: RouteName) -> Self {
        Self { breaker, route }
    }

    pub(crate) const fn route(&self) -> &RouteName {
        &self.route
    }

    pub(crate) fn state(&self, now: Instant) -> CircuitState {
        self.breaker.state(now)
    }

    /// Until a call may pass again; `None` when one may now.
    pub(crate) fn retry_after(&self, now: Instant) -> Option<Duration> {
        self.breaker.peek(now).err().map(|open| open.retry_after)
    }
}

/// What a stack is made of, beside its rules.
pub(crate) struct Ingredients<'a> {
    pub(crate) service: &'a ServiceName,
    pub(crate) caller: &'a ServiceName,
    pub(crate) set: EndpointSet,
    pub(crate) telemetry: &'a Telemetry,
    pub(crate) observers: &'a Observers,
    pub(crate) route: &'a RouteName,
    pub(crate) policy: PolicyVersion,
    pub(crate) budget: &'a Arc<Budget>,
    pub(crate) limits: Vec<RateLimitLayer>,
    pub(crate) capacity: Option<ConcurrencyLayer>,
    pub(crate) circuit: Option<&'a Circuit>,
    pub(crate) pools: &'a Pools,
    pub(crate) hash_on: Option<HashOn>,
    /// What the endpoint set calls each subset of the policy.
    pub(crate) subsets: &'a BTreeMap<Arc<str>, Arc<str>>,
    /// What a policy adds to the rules.
    pub(crate) plan: Option<&'a RoutePlan>,
    /// What copies of the route's requests have told.
    pub(crate) mirrored: Option<Arc<Mirrored>>,
    /// Where a fallback asks another service; `None` where nothing falls back.
    pub(crate) link: Option<&'a Link>,
}

/// Whether stacks can be built of a policy, for what its reader need not know: headers that are
/// ours, rules that the layers refuse.
///
/// # Errors
/// What the first of the rules that refuses says.
pub(crate) fn check(plan: &Plan) -> Result<(), BoxError> {
    for route in &plan.routes {
        RetryRule::new(&route.retry)?;
        if let Some(hedge) = &route.hedge {
            HedgeRule::new(hedge, &route.retry.methods)?;
        }
        extras::edits(&route.headers.request)?;
        extras::edits(&route.headers.response)?;
    }
    if let Some(capacity) = &plan.capacity {
        let adaptive = capacity.adaptive.clone();
        BoundConfig::new(capacity.max_requests).with_adaptive(adaptive).validate()?;
    }
    if let Some(inbound) = &plan.inbound {
        for rate in &inbound.rate_limits {
            rate.limit.validate()?;
        }
        if let Some(concurrency) = &inbound.concurrency {
            let adaptive = concurrency.adaptive.clone();
            BoundConfig::new(concurrency.max_in_flight).with_adaptive(adaptive).validate()?;
        }
    }
    Ok(())
}

/// Builds the stack of rules that have been validated.
///
/// # Errors
/// None of a rule that [`Rules::validate`], or a policy's reader, accepts; they are passed on all
/// the same, since a library does not panic over a bound that two places state differently.
pub(crate) fn build(rules: &Rules, mut with: Ingredients<'_>) -> Result<Stack, BoxError> {
    let service = with.service;
    let retry = RetryLayer::new(
        service.clone(),
        Arc::new(RetryRule::new(&rules.retry)?),
        Arc::clone(with.budget),
    )
    .with_observers(with.observers.clone());
    let mut parts = FusedRules::new(observe(&with), retry, balance(&mut with));
    parts.limits = std::mem::take(&mut with.limits);
    parts.timeout = TimeoutLayer::maybe(rules.timeout).with_idle(rules.idle_timeout);
    parts.circuit = with
        .circuit
        .map(|circuit| CircuitBreakerLayer::new(service.clone(), circuit.breaker.clone()));
    parts.capacity = with.capacity.take();
    parts.per_try = PerTryTimeoutLayer::maybe(rules.retry.per_try_timeout);
    parts.stamp = StampLayer::new().with_caller(with.caller.clone());

    let split = with.plan.and_then(|plan| extras::split(plan, with.subsets));
    let fallback = extras::fallback(&with);
    let is_rich =
        rules.hedge.is_some() || fallback.is_some() || with.plan.is_some_and(extras::is_rich);
    if !is_rich {
        let wire = with.telemetry.try_layer().layer(with.pools.pool());
        let fused = FusedLayer::new(parts).layer(wire);
        return Ok(match split {
            None => Stack::Plain(outside(&with, fused)),
            Some(split) => Stack::Parted(outside(&with, split.layer(fused))),
        });
    }
    let tries = match &rules.hedge {
        None => {
            let wire = with.telemetry.try_layer().layer(with.pools.pool());
            boxed(parts.retry.layer(one_try(&parts, parts.capacity.clone(), wire, service)))
        }
        Some(config) => {
            let rule = HedgeRule::new(config, &rules.retry.methods)?;
            let mut hedge = HedgeLayer::new(service.clone(), rule, Arc::clone(with.budget))
                .with_body_limit(rules.retry.body_limit)
                .with_observers(with.observers.clone());
            if rules.retry.attempts > 0 {
                // A retry rule that is off counts nothing.
                hedge = hedge.within_retry();
            }
            let wire = with.telemetry.try_layer().layer(with.pools.pool());
            let one = one_try(&parts, parts.capacity.clone(), wire, service);
            let once = MapRequestLayer::new(|call: Call<Request<_>>| call.map(sent_once));
            boxed(parts.retry.layer(hedge.layer(once.layer(one))))
        }
    };
    let tries = match &parts.circuit {
        Some(circuit) => boxed(circuit.layer(tries)),
        None => tries,
    };
    let tries = match fallback {
        Some(fallback) => boxed(fallback.layer(tries)),
        None => tries,
    };
    let mut tries = extras::around(extras::Inner { split, parts: &parts, tries }, &with)?;
    for limit in parts.limits.iter().rev() {
        tries = boxed(limit.layer(tries));
    }
    Ok(Stack::Rich(outside(&with, parts.observe.layer(tries))))
}

fn observe(with: &Ingredients<'_>) -> ObserveLayer {
    ObserveLayer::new(with.service.clone(), with.observers.clone())
}

fn balance(with: &mut Ingredients<'_>) -> BalanceLayer {
    let balance = BalanceLayer::new(with.set.clone()).with_observers(with.observers.clone());
    match with.hash_on.take() {
        Some(hash_on) => balance.with_hash_on(hash_on),
        None => balance,
    }
}

/// One try from layers, for what goes between it and the retries.
fn one_try(
    rules: &FusedRules,
    capacity: Option<ConcurrencyLayer>,
    wire: Wire,
    service: &ServiceName,
) -> Try {
    let capacity = capacity
        .unwrap_or_else(|| ConcurrencyLayer::new(service.clone(), ConcurrencyLimit::new(u32::MAX)));
    let wire = rules.per_try.layer(rules.stamp.layer(wire));
    rules.balance.layer(capacity.layer(wire))
}

/// A request whose body somebody else has kept, as the one kind of request that goes to the wire.
fn sent_once<B>(request: Request<B>) -> Request<ReplayBody<Body>>
where
    B: HttpBody<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
{
    request.map(|body| ReplayBody::once(Body::new(body)))
}

/// What stands outside of every rule: context and the span of the call.
fn outside<S>(with: &Ingredients<'_>, inner: S) -> WithContext<ClientTrace<S>> {
    let context = ContextLayer::new(with.service.clone())
        .with_route(with.route.clone())
        .with_policy(with.policy);
    context.layer(with.telemetry.client_layer().layer(inner))
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
