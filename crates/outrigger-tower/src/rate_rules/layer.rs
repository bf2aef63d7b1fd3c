use std::sync::Arc;

use outrigger_core::{Observers, ServiceName};
use tower_layer::Layer;

use super::{LimitRates, RateRules};

/// Limits the rates of requests.
#[derive(Clone, Debug)]
pub struct RateRulesLayer {
    pub(super) service: ServiceName,
    pub(super) rules: RateRules,
    pub(super) tells: bool,
    pub(super) grpc_status: Option<u8>,
    pub(super) observers: Observers,
}

impl RateRulesLayer {
    /// Requests to (or, on a server, of) `service`.
    #[must_use]
    pub const fn new(service: ServiceName, rules: RateRules) -> Self {
        Self { service, rules, tells: false, grpc_status: None, observers: Observers::none() }
    }

    /// Whether answers to admitted requests carry `ratelimit-limit`, `ratelimit-remaining` and
    /// `ratelimit-reset`, by the limit that is nearest to its end. Default false.
    #[must_use]
    pub const fn with_headers(mut self, tells: bool) -> Self {
        self.tells = tells;
        self
    }

    /// The code that gRPC callers get; default that of the reason, which is 14.
    #[must_use]
    pub const fn with_grpc_status(mut self, code: Option<u8>) -> Self {
        self.grpc_status = code;
        self
    }

    /// Who is told of what limits that only observe would have refused.
    #[must_use]
    pub fn with_observers(mut self, observers: Observers) -> Self {
        self.observers = observers;
        self
    }
}

impl<S> Layer<S> for RateRulesLayer {
    type Service = LimitRates<S>;

    fn layer(&self, inner: S) -> LimitRates<S> {
        LimitRates::new(inner, Arc::new(self.clone()))
    }
}
