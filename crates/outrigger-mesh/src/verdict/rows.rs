//! The rows.

use std::time::Duration;

use outrigger_policy::{Algorithm, Condition, Per, TextMatch};

use super::Verdict::{Approximate, Exact, LibraryOnly, MeshOnly};
use super::{Arm, Case, Row, Told, Verdict};

const fn always(verdict: Verdict, why: &'static str) -> Arm {
    Arm { holds: |_| true, words: "", told: Told { verdict, why } }
}

const fn exact_where(words: &'static str, holds: fn(&Case<'_>) -> bool) -> Arm {
    Arm { holds, words, told: Told { verdict: Exact, why: "" } }
}

const EXACT: &[Arm] = &[always(Exact, "")];
const OF_CALLERS: &[Arm] =
    &[always(LibraryOnly, "a bootstrap for callers holds nothing of what a service accepts")];
const NO_WORD: &[Arm] = &[always(LibraryOnly, "Envoy has nothing like it")];
const RE2: &[Arm] = &[always(Approximate, "in RE2, where `\\d`, `\\w` and `\\b` are ASCII")];
const PER_ENDPOINT: &[Arm] =
    &[always(Approximate, "a bound on all endpoints together, not on each")];
const TRIES: &[Arm] = &[always(
    Approximate,
    "Envoy counts tries in flight where the library counts requests: one retry fewer at small numbers",
)];
const BODIES: &[Arm] =
    &[always(Approximate, "Envoy keeps a body for a retry up to its own buffer, 1 MiB")];

const fn row(key: &'static str, istio: &'static [Arm], envoy: &'static [Arm]) -> Row {
    Row { key, istio, envoy }
}

const WHEN: &[Arm] = &[
    exact_where("`timeout` beside `reset`, `5xx` or `gateway_error`, or absent:", |case| {
        let retry = &case.rules.retry;
        !retry.when.contains(&Condition::Timeout) || crate::tries::is_broken(retry)
    }),
    always(Approximate, "`timeout` alone becomes `reset`: broken connections are repeated as well"),
];

const ALGORITHM: &[Arm] = &[
    exact_where("`round_robin`:", |case| case.policy.balance.algorithm == Algorithm::RoundRobin),
    Arm {
        holds: |case| case.policy.balance.algorithm == Algorithm::PeakEwma,
        words: "`peak_ewma`:",
        told: Told {
            verdict: Approximate,
            why: "as LEAST_REQUEST, which looks at requests in flight and not at answer times",
        },
    },
    Arm {
        holds: |case| case.policy.balance.algorithm == Algorithm::LeastRequest,
        words: "`least_request`:",
        told: Told {
            verdict: Approximate,
            why: "Envoy's two draws may be one endpoint, so a slow one gets somewhat more",
        },
    },
    Arm {
        holds: |case| case.policy.balance.algorithm == Algorithm::Random,
        words: "`random`:",
        told: Told { verdict: Approximate, why: "Envoy's does not look at weights" },
    },
    always(Approximate, "a key stays on one endpoint, though on another one than the library's"),
];

const WARMS: &[Arm] = &[
    exact_where("unless `random` or hashing:", |case| {
        let algorithm = case.policy.balance.algorithm;
        algorithm != Algorithm::Random && !algorithm.is_hashing()
    }),
    always(LibraryOnly, "Envoy warms up under its round robin and least request only"),
];

const MATCH_HEADERS: &[Arm] = &[
    exact_where("without `regex`:", |case| {
        let headers = || case.policy.routes.iter().flat_map(|route| &route.matcher.headers);
        !headers().any(|(_, wanted)| matches!(wanted, TextMatch::Regex(_)))
    }),
    always(Approximate, "in RE2, where `\\d`, `\\w` and `\\b` are ASCII"),
];

const QUERY: &[Arm] = &[always(
    Approximate,
    "compared as it stands in the address, before `%41` is read as `A`; Istio cannot say that a \
     parameter is absent: such a route is an error",
)];

pub(super) static ROWS: &[Row] = &[
    row(
        "protocol",
        &[always(Exact, "the port of the Service must say it by `appProtocol`")],
        EXACT,
    ),
    row("connect_timeout", EXACT, EXACT),
    row(
        "tls",
        &[always(LibraryOnly, "inside of the mesh its own mutual TLS holds")],
        &[always(Approximate, "rendered where every instance that is given speaks TLS")],
    ),
    row("mesh", EXACT, EXACT),
    row(
        "rate_limits",
        &[always(LibraryOnly, "Istio has no place for a caller's own rate")],
        &[always(Approximate, "a bucket for each Envoy; its refusal has no `Retry-After`")],
    ),
    row("grpc_status", &[always(LibraryOnly, "as `rate_limits`")], EXACT),
    row("balance.algorithm", ALGORITHM, ALGORITHM),
    row(
        "balance.hash_on",
        &[
            exact_where("as the service's own:", |case| {
                case.rules.hash_on == case.policy.rules.hash_on
            }),
            always(
                LibraryOnly,
                "Istio hashes by one key for the whole service: that of the top level",
            ),
        ],
        EXACT,
    ),
    row(
        "balance.slow_start.aggression",
        &[
            exact_where("of 1 and above:", |case| {
                case.policy.balance.slow_start.as_ref().is_none_or(|slow| slow.aggression >= 1.0)
            }),
            always(Approximate, "Istio takes none below 1: rendered as 1"),
        ],
        WARMS,
    ),
    row("balance.slow_start", WARMS, WARMS),
    row(
        "balance.locality",
        &[always(
            Approximate,
            "by the mesh's zones, where `eject` is on; it spills over below 0.71, whatever \
             `spill_below` says",
        )],
        &[always(LibraryOnly, "a static bootstrap knows no zones")],
    ),
    row(
        "balance.failover",
        &[always(LibraryOnly, "datacenters of the registry are no regions of the mesh")],
        &[always(LibraryOnly, "a static bootstrap knows no datacenters")],
    ),
    row("balance.aperture", NO_WORD, NO_WORD),
    row(
        "balance.panic_below",
        &[
            exact_where("where `eject` is on:", |case| case.policy.eject.is_some()),
            always(LibraryOnly, "Istio says it beside ejection only"),
        ],
        EXACT,
    ),
    row(
        "eject.errors",
        &[
            exact_where("`gateway`:", |case| case.value == "gateway"),
            always(Approximate, "Envoy blames the endpoint for 501 and 505 as well"),
        ],
        &[
            exact_where("`gateway`:", |case| case.value == "gateway"),
            always(Approximate, "Envoy blames the endpoint for 501 and 505 as well"),
        ],
    ),
    row(
        "eject.max_time",
        &[
            exact_where("300s:", |case| {
                let most = Duration::from_secs(300);
                case.policy.eject.as_ref().is_none_or(|eject| eject.max_time == most)
            }),
            always(LibraryOnly, "Istio leaves it at Envoy's 300 s"),
        ],
        EXACT,
    ),
    row(
        "eject.success_ratio_below",
        &[always(LibraryOnly, "Istio has no word for Envoy's failure percentage")],
        &[always(Approximate, "in whole percents, judged once an interval")],
    ),
    row(
        "eject.min_requests",
        &[
            exact_where("without `success_ratio_below`:", |case| {
                case.policy.eject.as_ref().is_none_or(|eject| eject.success_ratio_below.is_none())
            }),
            always(LibraryOnly, "as `success_ratio_below`"),
        ],
        EXACT,
    ),
    row("eject", EXACT, EXACT),
    row("capacity.max_requests", EXACT, EXACT),
    row("capacity.max_connections", PER_ENDPOINT, PER_ENDPOINT),
    row("capacity.max_pending", PER_ENDPOINT, PER_ENDPOINT),
    row("capacity.adaptive", NO_WORD, NO_WORD),
    row("capacity", EXACT, EXACT),
    row(
        "subsets",
        &[
            exact_where("by language and metadata:", |case| {
                let mut subsets = case.policy.subsets.values();
                subsets.all(|subset| subset.tag.is_none() && subset.version.is_none())
            }),
            always(
                Approximate,
                "a label is a value and no range: instances bear `outrigger/subset-<name>: \"true\"`",
            ),
        ],
        &[always(Exact, "as the instances are that are given")],
    ),
    row("match.path_regex", RE2, RE2),
    row("match.headers", MATCH_HEADERS, MATCH_HEADERS),
    row("match.query", QUERY, QUERY),
    row("match", EXACT, EXACT),
    row("split", EXACT, EXACT),
    row("sticky", NO_WORD, NO_WORD),
    row("mirror.compare", NO_WORD, NO_WORD),
    row(
        "mirror.body_limit",
        &[always(Approximate, "Envoy copies bodies up to its own buffer, 1 MiB")],
        &[always(Approximate, "Envoy copies bodies up to its own buffer, 1 MiB")],
    ),
    row("mirror", EXACT, EXACT),
    row("fault", EXACT, EXACT),
    row("headers", EXACT, EXACT),
    row("timeout", EXACT, EXACT),
    row("idle_timeout", &[always(LibraryOnly, "Istio switches Envoy's off")], EXACT),
    row("retry.attempts", EXACT, EXACT),
    row("retry.when", WHEN, WHEN),
    row(
        "retry.methods",
        &[always(Exact, "a second route for the other methods")],
        &[always(Exact, "a second route for the other methods")],
    ),
    row("retry.per_try_timeout", EXACT, EXACT),
    row(
        "retry.backoff.max",
        &[
            exact_where("ten times `base`:", |case| {
                let backoff = &case.rules.retry.backoff;
                case.rules.retry.attempts == 0 || backoff.max == backoff.base * 10
            }),
            always(Approximate, "Istio leaves it at ten times `base`"),
        ],
        EXACT,
    ),
    row("retry.backoff", EXACT, EXACT),
    row(
        "retry.budget.min_per_second",
        &[always(LibraryOnly, "Envoy bounds retries in flight, not retries a second")],
        &[always(LibraryOnly, "Envoy bounds retries in flight, not retries a second")],
    ),
    row("retry.budget", TRIES, TRIES),
    row("retry.body_limit", BODIES, BODIES),
    row(
        "hedge",
        &[always(LibraryOnly, "Istio has nothing like it")],
        &[always(LibraryOnly, "Envoy hedges on a per-try timeout only, which ends the first try")],
    ),
    row("breaker", NO_WORD, NO_WORD),
    row("inbound.body_limit", &[always(LibraryOnly, "Istio has no place for it")], OF_CALLERS),
    row(
        "inbound.rate_limits",
        &[
            Arm {
                holds: |case| has_rate(case, |rate| !rate.matcher.query.is_empty()),
                words: "with `match.query`:",
                told: Told { verdict: LibraryOnly, why: "such a rate is left out" },
            },
            Arm {
                holds: |case| has_rate(case, |rate| rate.per == Per::Path),
                words: "`per: path`:",
                told: Told { verdict: Approximate, why: "each path with its query has a bucket" },
            },
            Arm {
                holds: |case| {
                    has_rate(case, |rate| matches!(rate.per, Per::Header(_) | Per::Query(_)))
                },
                words: "`per` a header or parameter:",
                told: Told { verdict: Approximate, why: "who brings none is not limited" },
            },
            always(Approximate, "a bucket for each sidecar; its refusal has no `Retry-After`"),
        ],
        OF_CALLERS,
    ),
    row("inbound.grpc_status", EXACT, OF_CALLERS),
    row("inbound.concurrency.adaptive", NO_WORD, OF_CALLERS),
    row(
        "inbound.concurrency",
        &[always(Approximate, "in the workload's Sidecar; refused as an overflow, without reason")],
        OF_CALLERS,
    ),
    row("inbound.shed", NO_WORD, OF_CALLERS),
    row(
        "inbound.authorize",
        &[always(MeshOnly, "it needs identities; with it comes mutual TLS, strictly")],
        OF_CALLERS,
    ),
    row("telemetry.sample", EXACT, OF_CALLERS),
    row(
        "telemetry.access_log",
        &[always(Approximate, "in the mesh's own form; `errors` are statuses of 400 and above")],
        OF_CALLERS,
    ),
];

fn has_rate(case: &Case<'_>, wanted: fn(&outrigger_policy::InboundRate) -> bool) -> bool {
    case.policy.inbound.as_ref().is_some_and(|inbound| inbound.rate_limits.iter().any(wanted))
}
