//! Every scenario, how it is run, and where we differ.

use std::pin::Pin;

use crate::cases::Case;
use crate::findings::Findings;
use crate::{capacity, ejection, limits, replies, routing};

type Running = Pin<Box<dyn Future<Output = Findings> + Send>>;

/// What is known of one scenario.
#[derive(Clone, Copy)]
pub(crate) struct Verdict {
    pub(crate) id: &'static str,
    pub(crate) run: fn(Case) -> Running,
    /// The keys of `expect` where we differ, or a part of one (`key.part`), and why.
    pub(crate) differs: &'static [(&'static str, &'static str)],
}

macro_rules! runs {
    ($run:path: $($id:literal),+ $(,)?) => {
        [$(Verdict { id: $id, run: |case| Box::pin($run(case)), differs: &[] }),+]
    };
}

/// The verdict on a scenario.
pub(crate) fn of(id: &str) -> Option<Verdict> {
    all().into_iter().find(|verdict| verdict.id == id)
}

/// Where we differ, key by key, and why.
pub(crate) const fn differences() -> &'static [Differing] {
    DIFFERENCES
}

/// The verdicts on all scenarios.
pub(crate) fn all() -> Vec<Verdict> {
    let mut all = Vec::new();
    all.extend(runs!(replies::one_request:
        "retry-istio-default-app-503",
        "retry-5xx-app-503",
        "retry-gateway-error-503",
        "retry-post-too",
        "retry-default-conn-refused",
        "retry-default-reset-after-request",
        "retry-reset-before-request",
        "retry-429-listed",
        "timeout-route",
        "timeout-per-try-istio-default-conditions",
        "timeout-per-try-5xx",
        "timeout-per-try-reset",
        "timeout-per-try-504-listed",
        "timeout-overall-bounds-tries",
        "fault-delay-not-in-timeout",
        "fault-abort-not-retried",
        "header-control-default (none)",
        "header-control-default x-envoy-max-retries: 0",
        "header-control-default x-envoy-max-retries: 5",
    ));
    all.extend(runs!(replies::local_reply:
        "local-reply rbac",
        "local-reply fault-abort-503",
        "local-reply timeout",
        "local-reply overflow",
        "local-reply no-hosts",
        "local-reply local-rate-limit",
        "local-reply local-rate-limit rate_limited_as_resource_exhausted",
    ));
    all.extend(runs!(capacity::at_once:
        "breaker-pending",
        "breaker-max-requests",
        "breaker-max-connections-only",
    ));
    all.extend(runs!(capacity::overflow_is_no_error: "breaker-overflow-is-not-outlier"));
    all.extend(runs!(capacity::retries:
        "breaker-max-retries",
        "retry-budget-20-3",
        "retry-budget-20-1",
    ));
    all.extend(runs!(capacity::backoff: "retry-backoff"));
    all.extend(runs!(limits::burst: "local-rate-limit"));
    all.extend(runs!(limits::refill: "local-rate-limit-refill-continuous"));
    all.extend(runs!(limits::headers: "local-rate-limit-headers"));
    all.extend(runs!(ejection::max_ejected:
        "outlier-max-ejection-2-hosts-10pct",
        "outlier-max-ejection-1-hosts-10pct",
        "outlier-max-ejection-1-hosts-100pct",
        "outlier-max-ejection-5-hosts-10pct",
        "outlier-max-ejection-5-hosts-50pct",
        "outlier-max-ejection-10-hosts-20pct",
        "outlier-max-ejection-3-hosts-34pct",
    ));
    all.extend(runs!(ejection::counts:
        "outlier-counts-connect-refused",
        "outlier-counts-route-timeout",
        "outlier-counts-reset",
        "outlier-counts-501",
        "outlier-counts-429",
        "outlier-gateway-only-500",
        "outlier-gateway-only-502",
        "outlier-gateway-only-503",
        "outlier-gateway-only-504",
    ));
    all.extend(runs!(ejection::panic: "outlier-panic-50", "outlier-panic-0"));
    all.extend(runs!(ejection::nobody_left: "outlier-all-ejected-panic-0"));
    all.extend(runs!(ejection::merge_window: "outlier-merge-window"));
    all.extend(runs!(ejection::multiplier: "outlier-multiplier"));
    all.extend(runs!(routing::split: "split-sticks-for-retries"));
    all.extend(runs!(routing::mirror: "mirror"));
    all.extend(runs!(routing::hedge: "hedge-on-per-try-timeout"));
    all.extend(runs!(routing::weights:
        "lb-weights-rr",
        "lb-weights-least-request",
        "lb-weights-random",
    ));
    all.extend(runs!(routing::slow_host: "lb-least-request-slow-host"));
    for verdict in &mut all {
        let known = differences().iter().find(|(id, _)| *id == verdict.id);
        verdict.differs = known.map_or(&[], |(_, keys)| *keys);
    }
    all
}

type Differing = (&'static str, &'static [(&'static str, &'static str)]);

/// What has to be known of how a scenario is run.
const NOTES: &[(&str, &str)] = &[
    ("breaker-overflow-is-not-outlier", "our limit cannot be 0: it is 1, with that place in use"),
    (
        "outlier-multiplier",
        "where in an interval an ejection begins is chance: base·n, and up to one interval more",
    ),
    ("outlier-merge-window", "we have no such window, and agree with Envoy's figure without it"),
    ("hedge-on-per-try-timeout", "with `hedge.after` for the per-try timeout"),
    ("split-sticks-for-retries", "clusters are subsets here"),
    ("local-rate-limit-headers", "our headers are those of the draft, without `x-`"),
    ("retry-reset-before-request", "`reset-before-request` is a `connect_failure` here"),
];

/// What has to be known of how a scenario is run.
pub(crate) fn note(id: &str) -> Option<&'static str> {
    NOTES.iter().find(|(noted, _)| *noted == id).map(|(_, note)| *note)
}

/// Where we differ, and why.
const DIFFERENCES: &[Differing] = &[
    (
        "retry-default-conn-refused",
        &[(
            "body",
            "our text does not say that there were retries (`x-outrigger-attempts` does), nor which side \
             failed",
        )],
    ),
    (
        "timeout-per-try-5xx",
        &[(
            "upstream_header",
            "`x-outrigger-deadline-ms` tells the request's time, not the try's (ADR 0014)",
        )],
    ),
    (
        "retry-budget-20-1",
        &[(
            "upstream_calls",
            "we count requests in flight, Envoy tries: the one that has just failed is no longer among \
             them, so that it has 20 % of 9 where we have 20 % of 10",
        )],
    ),
    (
        "local-rate-limit",
        &[("headers_absent.retry-after", "every refusal of ours says when to come back")],
    ),
    (
        "outlier-counts-501",
        &[(
            "ejected",
            "501 and 505 blame the request: whoever sends it could take out all endpoints (ADR 0013)",
        )],
    ),
    (
        "mirror",
        &[
            ("mirror_request.x-envoy-internal", "a proxy's header; a library calls by itself"),
            ("mirror_request.x-forwarded-for", "a proxy's header; a library calls by itself"),
        ],
    ),
    ("lb-weights-random", &[("split", "all our algorithms go by weight, `random` too")]),
    (
        "lb-least-request-slow-host",
        &[(
            "split",
            "a slow endpoint gets less here: two different endpoints are compared, and a third when both \
             are busy, where Envoy may draw the same one twice",
        )],
    ),
    ("local-reply rbac", &[("http", UNTIL_IDENTITIES), ("grpc", UNTIL_IDENTITIES)]),
];

const UNTIL_IDENTITIES: &str = "`authorize` needs identities, which come later: until then a service that was never given \
     another policy answers nobody";
