use outrigger_core::ServiceName;
use outrigger_limit::{AdaptiveLimit, ConcurrencyLimit};
use tower_layer::Layer;

use super::LimitConcurrency;
use super::permit::Bound;

/// Bounds the requests in flight.
#[derive(Clone, Debug)]
pub struct ConcurrencyLayer {
    service: ServiceName,
    name: &'static str,
    bound: Bound,
}

impl ConcurrencyLayer {
    /// A fixed bound for requests to (or, on a server, of) `service`.
    #[must_use]
    pub const fn new(service: ServiceName, limit: ConcurrencyLimit) -> Self {
        Self { service, name: "concurrency", bound: Bound::Fixed(limit) }
    }

    /// A bound that finds itself.
    #[must_use]
    pub const fn adaptive(service: ServiceName, limit: AdaptiveLimit) -> Self {
        Self { service, name: "adaptive", bound: Bound::Adaptive(limit) }
    }

    /// The name that receipts show. Default `concurrency` or `adaptive`.
    #[must_use]
    pub const fn with_name(mut self, name: &'static str) -> Self {
        self.name = name;
        self
    }
}

impl<S> Layer<S> for ConcurrencyLayer {
    type Service = LimitConcurrency<S>;

    fn layer(&self, inner: S) -> LimitConcurrency<S> {
        LimitConcurrency::new(inner, self.service.clone(), self.name, self.bound.clone())
    }
}
