//! One route, complete.

use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, Method};
use outrigger_core::{Ratio, RouteName};
use outrigger_retry::{BudgetConfig, HedgeConfig, RetryConfig};

use super::{Matcher, RequestView, SplitPlan, SubsetPlan};
use crate::model::{Breaker, Compare, Fault, HashKey, HeaderRules, Mirror, Route, RouteRules};

/// One route, complete: nothing has to be looked up above it.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct RoutePlan {
    /// Its name in metrics, spans and circuits; `default` is the last one.
    pub name: RouteName,
    /// Which requests it is for.
    pub matcher: Matcher,
    /// Which instances serve it; `None` for all.
    pub split: Option<SplitPlan>,
    /// Who gets a copy.
    pub mirror: Option<MirrorPlan>,
    /// What goes wrong on purpose.
    pub fault: Option<Fault>,
    /// Headers that are changed.
    pub headers: HeaderRules,
    /// Time for all tries and backoffs, to the end of the body.
    pub timeout: Option<Duration>,
    /// Longest time between two frames of a stream.
    pub idle_timeout: Option<Duration>,
    /// When a request is sent again; its budget is the plan's.
    pub retry: RetryConfig,
    /// When a second try joins the first.
    pub hedge: Option<HedgeConfig>,
    /// What the hashing algorithms go by.
    pub hash_on: Option<HashKey>,
    /// The route's circuit and its fallback.
    pub breaker: Option<Breaker>,
}

/// Who gets a copy of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct MirrorPlan {
    /// Who.
    pub subset: Arc<SubsetPlan>,
    /// Share of the requests.
    pub ratio: Ratio,
    /// Largest body that is copied.
    pub body_limit: usize,
    /// What of the two answers is compared.
    pub compare: Option<Compare>,
}

impl MirrorPlan {
    fn of(mirror: &Mirror, subsets: &[Arc<SubsetPlan>]) -> Self {
        Self {
            subset: SubsetPlan::find(&mirror.subset, subsets),
            ratio: mirror.ratio,
            body_limit: mirror.body_limit,
            compare: mirror.compare.clone(),
        }
    }
}

impl RoutePlan {
    pub(super) fn of(route: &Route, subsets: &[Arc<SubsetPlan>], budget: &BudgetConfig) -> Self {
        let mut plan = Self::bare(route.name.clone(), &route.rules);
        plan.retry.budget = *budget;
        plan.matcher = Matcher::new(&route.matcher);
        plan.split = route.split.as_ref().map(|split| SplitPlan::of(split, subsets));
        plan.mirror = route.mirror.as_ref().map(|mirror| MirrorPlan::of(mirror, subsets));
        plan.fault = route.fault;
        plan.headers = route.headers.clone();
        plan
    }

    pub(super) fn last(rules: &RouteRules) -> Self {
        Self::bare(RouteName::default(), rules)
    }

    fn bare(name: RouteName, rules: &RouteRules) -> Self {
        let RouteRules { timeout, idle_timeout, retry, hedge, hash_on, breaker } = rules.clone();
        Self {
            name,
            matcher: Matcher::default(),
            split: None,
            mirror: None,
            fault: None,
            headers: HeaderRules::default(),
            timeout,
            idle_timeout,
            retry,
            hedge,
            hash_on,
            breaker,
        }
    }

    /// Whether the route is for a request; `path` in its normal form, `query` without its `?`.
    #[must_use]
    pub fn matches(
        &self,
        method: &Method,
        path: &str,
        query: Option<&str>,
        headers: &HeaderMap,
    ) -> bool {
        self.matcher.is_match(&RequestView { method, path, query, headers })
    }

    /// Whether a request needs more of us than the rules: a split, a copy, a fault, header edits.
    #[must_use]
    pub fn is_plain(&self) -> bool {
        self.split.is_none()
            && self.mirror.is_none()
            && self.fault.is_none()
            && self.headers.request.is_empty()
            && self.headers.response.is_empty()
    }
}
