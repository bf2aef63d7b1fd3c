use std::sync::Arc;

use outrigger_core::{Observers, ServiceName};
use outrigger_limit::{KeyedRateLimit, RateLimit};
use tower_layer::Layer;

use super::{KeyOf, LimitRate};

/// Limits the rate of requests.
#[derive(Clone, Debug)]
pub struct RateLimitLayer {
    rule: Arc<Rule>,
}

#[derive(Clone, Debug)]
pub(super) struct Rule {
    pub(super) service: ServiceName,
    pub(super) name: &'static str,
    /// The policy's name of it, and who is told of requests that it spares.
    pub(super) spared: Option<(Arc<str>, Observers)>,
    pub(super) bucket: Bucket,
    pub(super) tells: bool,
    pub(super) grpc_status: Option<u8>,
}

#[derive(Clone, Debug)]
pub(super) enum Bucket {
    One(Arc<RateLimit>),
    Keyed(Arc<KeyedRateLimit>, KeyOf),
}

impl RateLimitLayer {
    /// One bucket for all requests to (or, on a server, of) `service`.
    #[must_use]
    pub fn new(service: ServiceName, bucket: Arc<RateLimit>) -> Self {
        Self::of(service, Bucket::One(bucket))
    }

    /// A bucket per caller, address or whatever `key` names.
    #[must_use]
    pub fn keyed(service: ServiceName, buckets: Arc<KeyedRateLimit>, key: KeyOf) -> Self {
        Self::of(service, Bucket::Keyed(buckets, key))
    }

    /// The name that receipts show. Default `rate`.
    #[must_use]
    pub fn with_name(mut self, name: &'static str) -> Self {
        Arc::make_mut(&mut self.rule).name = name;
        self
    }

    /// Who is told, under this name, of requests that would have been refused, were the limit not
    /// only observed. Default nobody.
    #[must_use]
    pub fn with_observers(mut self, name: Arc<str>, observers: Observers) -> Self {
        Arc::make_mut(&mut self.rule).spared = Some((name, observers));
        self
    }

    /// Whether answers to admitted requests carry `ratelimit-limit` and `ratelimit-remaining`, as
    /// those of a limited route do. Default false.
    #[must_use]
    pub fn with_headers(mut self, tells: bool) -> Self {
        Arc::make_mut(&mut self.rule).tells = tells;
        self
    }

    /// The code that gRPC callers get; default that of the reason, which is 14.
    #[must_use]
    pub fn with_grpc_status(mut self, code: Option<u8>) -> Self {
        Arc::make_mut(&mut self.rule).grpc_status = code;
        self
    }

    fn of(service: ServiceName, bucket: Bucket) -> Self {
        let (name, tells, grpc_status) = ("rate", false, None);
        Self { rule: Arc::new(Rule { service, name, spared: None, bucket, tells, grpc_status }) }
    }
}

impl<S> Layer<S> for RateLimitLayer {
    type Service = LimitRate<S>;

    fn layer(&self, inner: S) -> LimitRate<S> {
        LimitRate::new(inner, Arc::clone(&self.rule))
    }
}
