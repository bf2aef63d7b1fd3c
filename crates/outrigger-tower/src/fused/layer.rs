use std::marker::PhantomData;
use std::sync::Arc;

use http::{Request, Response};
use outrigger_core::Dispatch;
use tower_layer::Layer;
use tower_service::Service;

use super::Fused;
use crate::{
    Balance, BalanceLayer, CircuitBreaker, CircuitBreakerLayer, ConcurrencyLayer, LimitConcurrency,
    LimitRate, ObserveLayer, Observed, PerTryTimeout, PerTryTimeoutLayer, RateLimitLayer,
    ReplayBody, RetryLayer, Stamp, StampLayer, Timeout, TimeoutLayer,
};

/// The rules of a call, outermost first; what is `None` costs nothing.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct FusedRules {
    /// Who is told how it ended.
    pub observe: ObserveLayer,
    /// The caller's own use of the service: all have to admit a call, in this order.
    pub limits: Vec<RateLimitLayer>,
    /// Timeout and deadline. Default: the caller's deadline only.
    pub timeout: TimeoutLayer,
    /// The circuit.
    pub circuit: Option<CircuitBreakerLayer>,
    /// Other tries.
    pub retry: RetryLayer,
    /// The pick and its outcome.
    pub balance: BalanceLayer,
    /// Requests in flight, all tries together.
    pub capacity: Option<ConcurrencyLayer>,
    /// The time of each try. Default: none of its own.
    pub per_try: PerTryTimeoutLayer,
    /// The headers of each try.
    pub stamp: StampLayer,
}

impl FusedRules {
    /// These, and nothing else.
    #[must_use]
    pub const fn new(observe: ObserveLayer, retry: RetryLayer, balance: BalanceLayer) -> Self {
        Self {
            observe,
            limits: Vec::new(),
            timeout: TimeoutLayer::maybe(None),
            circuit: None,
            retry,
            balance,
            capacity: None,
            per_try: PerTryTimeoutLayer::maybe(None),
            stamp: StampLayer::new(),
        }
    }
}

/// All rules of a call in one future.
///
/// Shape: `B` is the body of the requests.
#[derive(Debug)]
pub struct FusedLayer<B> {
    plan: Arc<Plan>,
    requests: PhantomData<fn(B)>,
}

impl<B> Clone for FusedLayer<B> {
    fn clone(&self) -> Self {
        Self { plan: Arc::clone(&self.plan), requests: PhantomData }
    }
}

/// The layers' services, with nothing inside.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) observed: Observed<()>,
    pub(super) limits: Box<[LimitRate<()>]>,
    pub(super) timeout: Timeout<()>,
    pub(super) circuit: Option<CircuitBreaker<()>>,
    pub(super) retry: Arc<RetryLayer>,
    pub(super) balance: Balance<()>,
    pub(super) capacity: Option<LimitConcurrency<()>>,
    pub(super) per_try: PerTryTimeout<()>,
    pub(super) stamp: Stamp<()>,
}

impl<B> FusedLayer<B> {
    /// Of these rules.
    #[must_use]
    pub fn new(rules: FusedRules) -> Self {
        let plan = Plan {
            observed: rules.observe.layer(()),
            limits: rules.limits.iter().map(|limit| limit.layer(())).collect(),
            timeout: rules.timeout.layer(()),
            circuit: rules.circuit.map(|circuit| circuit.layer(())),
            retry: Arc::new(rules.retry),
            balance: rules.balance.layer(()),
            capacity: rules.capacity.map(|capacity| capacity.layer(())),
            per_try: rules.per_try.layer(()),
            stamp: rules.stamp.layer(()),
        };
        Self { plan: Arc::new(plan), requests: PhantomData }
    }
}

impl<S, B, RB> Layer<S> for FusedLayer<B>
where
    S: Service<Dispatch<Request<ReplayBody<B>>>, Response = Response<RB>>,
{
    type Service = Fused<S, B, RB>;

    fn layer(&self, inner: S) -> Fused<S, B, RB> {
        Fused::new(inner, Arc::clone(&self.plan))
    }
}
