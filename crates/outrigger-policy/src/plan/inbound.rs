//! What the service accepts, ready for requests.

use std::sync::Arc;

use outrigger_limit::RateLimitConfig;

use super::Matcher;
use crate::model::{Authorize, Concurrency, GrpcStatus, Inbound, InboundRate, Per, Shed};

/// What the service accepts.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct InboundPlan {
    /// Largest request body in bytes.
    pub body_limit: Option<u64>,
    /// Rates; each whose matcher matches must hold.
    pub rate_limits: Vec<InboundRatePlan>,
    /// How many requests are worked on at once.
    pub concurrency: Option<Concurrency>,
    /// When requests are turned away since the machine is busy.
    pub shed: Option<Shed>,
    /// Who may call. Whoever cannot tell callers apart must refuse a plan that has this.
    pub authorize: Option<Authorize>,
    /// What a gRPC caller is told when a rate limit refuses.
    pub grpc_status: GrpcStatus,
}

/// A rate at which the service accepts requests.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct InboundRatePlan {
    /// Its name in metrics; unique in the plan.
    pub name: Arc<str>,
    /// The bucket.
    pub limit: RateLimitConfig,
    /// What has a bucket of its own.
    pub per: Per,
    /// Which requests count.
    pub matcher: Matcher,
}

impl InboundPlan {
    pub(super) fn of(inbound: &Inbound) -> Self {
        let rate = |rate: &InboundRate| InboundRatePlan {
            name: Arc::clone(&rate.name),
            limit: rate.limit.clone(),
            per: rate.per.clone(),
            matcher: Matcher::new(&rate.matcher),
        };
        Self {
            body_limit: inbound.body_limit,
            rate_limits: inbound.rate_limits.iter().map(rate).collect(),
            concurrency: inbound.concurrency.clone(),
            shed: inbound.shed,
            authorize: inbound.authorize.clone(),
            grpc_status: inbound.grpc_status,
        }
    }
}
