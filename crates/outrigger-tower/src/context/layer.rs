use outrigger_core::{PolicyVersion, RouteName, ServiceName};
use tower_layer::Layer;

use super::WithContext;

/// Makes the context of outbound requests.
#[derive(Clone, Debug)]
pub struct ContextLayer {
    pub(super) service: ServiceName,
    pub(super) route: RouteName,
    pub(super) policy: PolicyVersion,
}

impl ContextLayer {
    /// For requests to `service`.
    #[must_use]
    pub fn new(service: ServiceName) -> Self {
        Self { service, route: RouteName::default(), policy: PolicyVersion::default() }
    }

    /// The route of the policy that applies. Default `default`.
    #[must_use]
    pub fn with_route(mut self, route: RouteName) -> Self {
        self.route = route;
        self
    }

    /// The version of the policy that the stack was built from.
    #[must_use]
    pub const fn with_policy(mut self, policy: PolicyVersion) -> Self {
        self.policy = policy;
        self
    }
}

impl<S> Layer<S> for ContextLayer {
    type Service = WithContext<S>;

    fn layer(&self, inner: S) -> WithContext<S> {
        WithContext::new(inner, self.clone())
    }
}
