//! What a table is made of: a policy, or the settings where there is none.

use std::sync::Arc;

use outrigger_balance::Subset;
use outrigger_core::{PolicyVersion, RouteName};
use outrigger_http::ClientTls;
use outrigger_policy::{GrpcStatus, HashKey, Plan, RoutePlan, Tls};
use outrigger_tower::HashOn;

use crate::policy::Loaded;
use crate::{Capacity, Rules};

/// What a table is made of.
#[derive(Clone, Debug)]
pub(crate) struct Spec {
    pub(crate) version: PolicyVersion,
    /// Never empty; the last is for whatever no other is for.
    pub(crate) routes: Vec<RouteSpec>,
    /// Subsets by the names that the routes use.
    pub(crate) subsets: Vec<(Arc<str>, Subset)>,
    /// How endpoints are verified, where a policy says so: what was written, and what it makes.
    pub(crate) tls: Option<(Tls, ClientTls)>,
    /// What gRPC callers are told by a rate limit, where it is not that of the reason.
    pub(crate) grpc_status: Option<u8>,
    /// The names of the rate limits, where they have some.
    pub(crate) rate_names: Vec<Option<Arc<str>>>,
    /// What decides between routes.
    pub(crate) loaded: Option<Arc<Loaded>>,
}

/// The rules of one route.
#[derive(Clone, Debug)]
pub(crate) struct RouteSpec {
    pub(crate) name: RouteName,
    pub(crate) rules: Rules,
    /// What a policy adds to rules.
    pub(crate) plan: Option<Arc<RoutePlan>>,
}

impl Spec {
    /// One route under the settings.
    pub(crate) fn of_settings(rules: &Rules) -> Self {
        let name = RouteName::default();
        Self {
            version: PolicyVersion::default(),
            routes: vec![RouteSpec { name, rules: rules.clone(), plan: None }],
            subsets: Vec::new(),
            tls: None,
            grpc_status: None,
            rate_names: Vec::new(),
            loaded: None,
        }
    }

    /// The routes of a policy.
    pub(crate) fn of_policy(loaded: &Arc<Loaded>) -> Self {
        let plan = &loaded.plan;
        let routes = plan.routes.iter().map(|route| RouteSpec {
            name: route.name.clone(),
            rules: rules_of(plan, route),
            plan: Some(Arc::clone(route)),
        });
        let subsets = plan.subsets.iter();
        let subsets =
            subsets.filter_map(|subset| Some((Arc::clone(&subset.name), subset.labels.clone()?)));
        Self {
            version: plan.version,
            routes: routes.collect(),
            subsets: subsets.collect(),
            tls: plan.tls.clone().zip(loaded.tls.clone()),
            grpc_status: match plan.grpc_status {
                GrpcStatus::Unavailable => None,
                other => Some(other.code()),
            },
            rate_names: plan.rate_limits.iter().map(|rate| rate.name.clone()).collect(),
            loaded: Some(Arc::clone(loaded)),
        }
    }

    /// The route for what no other is for; it holds what all routes have in common, too.
    pub(crate) fn last(&self) -> &RouteSpec {
        self.routes.last().expect("a table has at least its default route")
    }
}

fn rules_of(plan: &Plan, route: &RoutePlan) -> Rules {
    Rules {
        timeout: route.timeout,
        idle_timeout: route.idle_timeout,
        connect_timeout: plan.connect_timeout,
        retry: route.retry.clone(),
        hedge: route.hedge,
        rate_limits: plan.rate_limits.iter().map(|rate| rate.limit.clone()).collect(),
        balance: plan.balance.clone(),
        eject: plan.eject.clone(),
        breaker: route.breaker.as_ref().map(|breaker| breaker.config.clone()),
        capacity: plan.capacity.as_ref().map(|capacity| Capacity {
            max_requests: capacity.max_requests,
            max_connections: capacity.max_connections,
            max_pending: capacity.max_pending,
            adaptive: capacity.adaptive.clone(),
        }),
    }
}

/// What a hash goes by, in the words of the layers.
pub(crate) fn hash_on(key: &HashKey) -> Option<HashOn> {
    Some(match key {
        HashKey::Header(name) => HashOn::Header(name.clone()),
        HashKey::Cookie(name) => HashOn::Cookie(name.to_string()),
        HashKey::Query(name) => HashOn::Query(name.to_string()),
        HashKey::ClientAddress => HashOn::ClientAddress,
        // A word that is newer than this crate: the choice is made by lot.
        _ => return None,
    })
}
