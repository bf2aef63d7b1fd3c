use outrigger_core::ServiceName;
use tower_layer::Layer;

use super::LimitBody;

/// Bounds the bodies of requests.
#[derive(Clone, Debug)]
pub struct BodyLimitLayer {
    service: ServiceName,
    limit: u64,
}

impl BodyLimitLayer {
    /// Units: bytes that `service` accepts; `u64::MAX` is no limit.
    #[must_use]
    pub const fn new(service: ServiceName, limit: u64) -> Self {
        Self { service, limit }
    }
}

impl<S> Layer<S> for BodyLimitLayer {
    type Service = LimitBody<S>;

    fn layer(&self, inner: S) -> LimitBody<S> {
        LimitBody::new(inner, self.service.clone(), self.limit)
    }
}
