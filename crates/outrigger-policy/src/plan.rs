//! A policy made ready for requests: routes with everything resolved, nothing left to look up.

mod inbound;
mod matcher;
mod route;
mod split;

pub use inbound::{InboundPlan, InboundRatePlan};
pub(crate) use matcher::parameter;
pub use matcher::{Matcher, RequestView};
pub use route::{MirrorPlan, RoutePlan};
pub use split::{SplitPlan, SplitPlanPart, SubsetPlan};

use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, Method};
use outrigger_balance::{BalanceConfig, EjectConfig};
use outrigger_core::{PolicyVersion, ServiceName};
use outrigger_retry::BudgetConfig;

use crate::model::{
    Capacity, GrpcStatus, MeshAddress, OutboundRate, Policy, PolicyProtocol, Telemetry, Tls,
};

/// A policy made ready for requests.
///
/// Shape: immutable; shared by `Arc`. Each part compares with `==`, so that a reload can keep the
/// state of what did not change. The default is what holds without a file.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Plan {
    /// Which text it was made of; not a part of what requests see.
    pub version: PolicyVersion,
    /// Who is called; `None` in a fleet-wide `_default`.
    pub service: Option<ServiceName>,
    /// What is spoken.
    pub protocol: PolicyProtocol,
    /// Time until a connection is usable.
    pub connect_timeout: Duration,
    /// How instances that speak TLS are verified.
    pub tls: Option<Tls>,
    /// Where a mesh has the service.
    pub mesh: Option<MeshAddress>,
    /// How endpoints are chosen: algorithm, slow start, locality, failover, aperture, panic.
    pub balance: BalanceConfig,
    /// When an endpoint is taken out; `None` for never.
    pub eject: Option<EjectConfig>,
    /// How much may be in flight; `None` for no bound.
    pub capacity: Option<Capacity>,
    /// The caller's own use of the service.
    pub rate_limits: Vec<OutboundRate>,
    /// What a gRPC caller is told when those refuse.
    pub grpc_status: GrpcStatus,
    /// The one retry budget of the destination, the same in every route.
    pub budget: BudgetConfig,
    /// Every subset, in the order of their names.
    pub subsets: Vec<Arc<SubsetPlan>>,
    /// Routes, first match wins. Never empty: the last is `default` and matches everything.
    pub routes: Vec<Arc<RoutePlan>>,
    /// Whether a route looks at the query: where none does, nobody needs to take it out of the URI.
    pub reads_query: bool,
    /// What the service accepts; `None` for everything.
    pub inbound: Option<InboundPlan>,
    /// What the service's server side tells.
    pub telemetry: Telemetry,
}

impl Plan {
    /// Compiles a policy. It cannot fail: what could not be compiled did not become a [`Policy`].
    ///
    /// A subset that a policy built in code names without having it holds no instance.
    #[must_use]
    pub fn compile(policy: &Policy) -> Self {
        let subsets: Vec<_> = policy
            .subsets
            .iter()
            .map(|(name, subset)| Arc::new(SubsetPlan::new(name, subset)))
            .collect();
        let budget = policy.rules.retry.budget;
        let routes: Vec<_> = policy
            .routes
            .iter()
            .map(|route| RoutePlan::of(route, &subsets, &budget))
            .chain([RoutePlan::last(&policy.rules)])
            .map(Arc::new)
            .collect();
        Self {
            version: policy.version,
            service: policy.service.clone(),
            protocol: policy.protocol,
            connect_timeout: policy.connect_timeout,
            tls: policy.tls.clone(),
            mesh: policy.mesh.clone(),
            balance: policy.balance.clone(),
            eject: policy.eject.clone(),
            capacity: policy.capacity.clone(),
            rate_limits: policy.rate_limits.clone(),
            grpc_status: policy.grpc_status,
            budget,
            subsets,
            reads_query: routes.iter().any(|route| !route.matcher.wanted().query.is_empty()),
            routes,
            inbound: policy.inbound.as_ref().map(InboundPlan::of),
            telemetry: policy.telemetry,
        }
    }

    /// The route of a request, and its place among [`Plan::routes`].
    ///
    /// `path` is in its normal form, without query; `query` stands without its `?`, and is not
    /// looked at unless [`Plan::reads_query`].
    ///
    /// Cost: one comparison per route before the one that matches; no allocation.
    #[must_use]
    pub fn route(
        &self,
        method: &Method,
        path: &str,
        query: Option<&str>,
        headers: &HeaderMap,
    ) -> (usize, &Arc<RoutePlan>) {
        let request = RequestView { method, path, query, headers };
        let last = self.routes.len() - 1;
        // The default route holds nothing that needs a look.
        let at = self.routes[..last].iter().position(|route| route.matcher.is_match(&request));
        let at = at.unwrap_or(last);
        (at, &self.routes[at])
    }

    /// The route with a name.
    #[must_use]
    pub fn route_named(&self, name: &str) -> Option<&Arc<RoutePlan>> {
        self.routes.iter().find(|route| route.name.as_str() == name)
    }
}

impl Default for Plan {
    fn default() -> Self {
        Self::compile(&Policy::default())
    }
}

#[cfg(test)]
mod tests;
