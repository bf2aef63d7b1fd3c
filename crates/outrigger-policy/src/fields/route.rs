//! A route, and the sections that a route may override.

use super::Absent::{Inside, Is, Means, Refused};
use super::breaker::BREAKER;
use super::outbound::{HASH_ON_FIELD, IDLE_TIMEOUT, TIMEOUT};
use super::shared::{HASH_ON, HOUR, MATCH};
use super::{Field, Kind, Section};

/// Most routes of a policy: they are looked at one after the other.
pub(crate) const ROUTES_MAX: usize = 256;

pub(crate) static ROUTE: Section = Section {
    name: "routes",
    doc: "Rules for some requests; what is left out comes from above, key by key.",
    fields: &[
        Field {
            key: "name",
            kind: Kind::RouteName,
            default: Means("`route-1` and so on, by its place"),
            doc: "Its name in metrics, spans and circuits; `default` is what no route matches.",
            example: "rewrite",
        },
        Field {
            key: "match",
            kind: Kind::Table(&MATCH),
            default: Means("every request"),
            doc: "Which requests it is for.",
            example: "{ path_prefix: /v2 }",
        },
        Field {
            key: "split",
            kind: Kind::List { of: &Kind::Table(&SPLIT), max: 16 },
            default: Means("all instances"),
            doc: "Which instances serve it, by shares: one draw per request, retries stay. The weights \
                  sum to 100.",
            example: "[ { subset: java, weight: 90 }, { subset: rust, weight: 10 } ]",
        },
        Field {
            key: "sticky",
            kind: Kind::Either(HASH_ON),
            default: Means("each request is drawn anew"),
            doc: "What keeps a caller on one side of the split.",
            example: "{ cookie: session }",
        },
        Field {
            key: "mirror",
            kind: Kind::Table(&MIRROR),
            default: Means("nobody"),
            doc: "Who gets a copy; never retried, its answer is thrown away or compared.",
            example: "{ subset: rust, ratio: 0.05 }",
        },
        Field {
            key: "fault",
            kind: Kind::Table(&FAULT),
            default: Means("nothing"),
            doc: "What goes wrong on purpose, outside of retries and timeout.",
            example: "{ delay: { ratio: 0.01, for: 200ms } }",
        },
        Field {
            key: "headers",
            kind: Kind::Table(&HEADERS),
            default: Means("unchanged"),
            doc: "Headers that are changed.",
            example: "{ request: { set: { x-env: prod } } }",
        },
        TIMEOUT,
        IDLE_TIMEOUT,
        Field {
            key: "retry",
            kind: Kind::Table(&ROUTE_RETRY),
            default: Inside("as above"),
            doc: "When a request is sent again. The budget is the service's: one per process.",
            example: "{ attempts: 0 }",
        },
        Field {
            key: "hedge",
            kind: Kind::Either(&[Kind::NONE, Kind::Table(&HEDGE)]),
            default: Means("as above"),
            doc: "A second try that joins the first while it still runs.",
            example: "none",
        },
        Field {
            key: "breaker",
            kind: Kind::Either(&[Kind::NONE, Kind::Table(&BREAKER)]),
            default: Means("as above"),
            doc: "The route's circuit: each route has its own.",
            example: "{ fallback: { status: 200, body: \"[]\" } }",
        },
        Field {
            key: "balance",
            kind: Kind::Table(&ROUTE_BALANCE),
            default: Means("as above"),
            doc: "Only what is hashed: the algorithm is the service's.",
            example: "{ hash_on: { query: sku } }",
        },
    ],
};

static ROUTE_BALANCE: Section = Section {
    name: "routes.balance",
    doc: "What of the balance a route may change.",
    fields: &[HASH_ON_FIELD],
};

static SPLIT: Section = Section {
    name: "split",
    doc: "A share of the requests.",
    fields: &[
        Field {
            key: "subset",
            kind: Kind::Subset,
            default: Refused,
            doc: "A name of `subsets`.",
            example: "rust",
        },
        Field {
            key: "weight",
            kind: Kind::Int { min: 0, max: 100 },
            default: Means("100, where it is the only one"),
            doc: "Its part of 100.",
            example: "10",
        },
    ],
};

static MIRROR: Section = Section {
    name: "mirror",
    doc: "Who gets a copy of a request.",
    fields: &[
        Field {
            key: "subset",
            kind: Kind::Subset,
            default: Refused,
            doc: "A name of `subsets`.",
            example: "rust",
        },
        Field {
            key: "ratio",
            kind: Kind::Ratio { above_zero: false },
            default: Is("1.0"),
            doc: "Share of the requests that are copied.",
            example: "0.05",
        },
        Field {
            key: "body_limit",
            kind: Kind::Bytes { max: 16 << 20 },
            default: Is("64KiB"),
            doc: "A request with a larger body is not copied.",
            example: "1MiB",
        },
        Field {
            key: "compare",
            kind: Kind::Either(&[Kind::Bool, Kind::Table(&COMPARE)]),
            default: Is("false"),
            doc: "Whether the two answers are compared and differences counted. Library and sidecar \
                  only.",
            example: "true",
        },
    ],
};

static COMPARE: Section = Section {
    name: "compare",
    doc: "What of the answers is compared; statuses always are.",
    fields: &[
        Field {
            key: "headers",
            kind: Kind::List { of: &Kind::HeaderName, max: 32 },
            default: Is("[content-type]"),
            doc: "Headers that are compared.",
            example: "[content-type, etag]",
        },
        Field {
            key: "body_limit",
            kind: Kind::Bytes { max: 1 << 20 },
            default: Is("64KiB"),
            doc: "Bytes of each body that are compared; 0 compares none.",
            example: "16KiB",
        },
    ],
};

static FAULT: Section = Section {
    name: "fault",
    doc: "What goes wrong on purpose.",
    fields: &[
        Field {
            key: "delay",
            kind: Kind::Table(&DELAY),
            default: Means("nothing"),
            doc: "Some requests start late; the timeout starts after it.",
            example: "{ ratio: 0.01, for: 200ms }",
        },
        Field {
            key: "abort",
            kind: Kind::Table(&ABORT),
            default: Means("nothing"),
            doc: "Some requests are answered by us; never retried.",
            example: "{ ratio: 0.001, status: 503 }",
        },
    ],
};

static DELAY: Section = Section {
    name: "delay",
    doc: "Some requests start late.",
    fields: &[
        Field {
            key: "ratio",
            kind: Kind::Ratio { above_zero: false },
            default: Refused,
            doc: "Share of the requests.",
            example: "0.01",
        },
        Field {
            key: "for",
            kind: Kind::Duration { min: 1, max: HOUR },
            default: Refused,
            doc: "How late.",
            example: "200ms",
        },
    ],
};

static ABORT: Section = Section {
    name: "abort",
    doc: "Some requests are answered by us.",
    fields: &[
        Field {
            key: "ratio",
            kind: Kind::Ratio { above_zero: false },
            default: Refused,
            doc: "Share of the requests.",
            example: "0.001",
        },
        Field {
            key: "status",
            kind: Kind::Status { min: 400, max: 599 },
            default: Is("503"),
            doc: "With this status; a gRPC caller gets the code that stands for it.",
            example: "503",
        },
    ],
};

static HEADERS: Section = Section {
    name: "headers",
    doc: "Headers that are changed on the way.",
    fields: &[
        Field {
            key: "request",
            kind: Kind::Table(&EDITS),
            default: Means("unchanged"),
            doc: "In the request, once, before it is tried.",
            example: "{ set: { x-env: prod } }",
        },
        Field {
            key: "response",
            kind: Kind::Table(&EDITS),
            default: Means("unchanged"),
            doc: "In the response, after it was judged.",
            example: "{ remove: [server] }",
        },
    ],
};

static EDITS: Section = Section {
    name: "edits",
    doc: "Changes of a head: first `remove`, then `set`, then `add`. Framing, hop-by-hop headers, \
          `host` and `x-outrigger-*` are left alone.",
    fields: &[
        Field {
            key: "set",
            kind: Kind::Map { key: &Kind::HeaderName, of: &Kind::HeaderValue, max: 32 },
            default: Is("{}"),
            doc: "Replaces every value of the name.",
            example: "{ x-env: prod }",
        },
        Field {
            key: "add",
            kind: Kind::Map { key: &Kind::HeaderName, of: &Kind::HeaderValue, max: 32 },
            default: Is("{}"),
            doc: "Stands beside the values that are there.",
            example: "{ via: outrigger }",
        },
        Field {
            key: "remove",
            kind: Kind::List { of: &Kind::HeaderName, max: 32 },
            default: Is("[]"),
            doc: "Every value of the name goes.",
            example: "[x-debug]",
        },
    ],
};

const ATTEMPTS: Field = Field {
    key: "attempts",
    kind: Kind::Int { min: 0, max: 10 },
    default: Is("1"),
    doc: "Tries after the first; 0 switches retries off.",
    example: "2",
};

const WHEN: Field = Field {
    key: "when",
    kind: Kind::List { of: &Kind::Condition, max: 32 },
    default: Is("[connect_failure, refused_stream]"),
    doc: "What makes a try worth repeating. Connect failures and refused streams were seen by no \
          endpoint, so they are safe for every method.",
    example: "[connect_failure, refused_stream, reset, 503]",
};

const METHODS: Field = Field {
    key: "methods",
    kind: Kind::Either(&[
        Kind::Word(&[
            ("idempotent", "GET, HEAD, OPTIONS, TRACE, PUT, DELETE; no gRPC call"),
            ("all", "every one: delivered twice does no harm"),
        ]),
        Kind::List { of: &Kind::RetryMethod, max: 64 },
    ]),
    default: Is("idempotent"),
    doc: "Which requests may be sent again although an endpoint may have seen them; for gRPC full \
          method names.",
    example: "[GET, PUT]",
};

const PER_TRY_TIMEOUT: Field = Field {
    key: "per_try_timeout",
    kind: Kind::Either(&[Kind::NONE, Kind::Duration { min: 1, max: HOUR }]),
    default: Is("none"),
    doc: "Time for each try; a failure for ejection, and repeated when `when` has timeout, reset, \
          5xx or gateway_error.",
    example: "800ms",
};

const BACKOFF_FIELD: Field = Field {
    key: "backoff",
    kind: Kind::Table(&BACKOFF),
    default: Inside("25 ms, doubled, at most 250 ms"),
    doc: "How long to wait before another try: uniform in 0 to base · 2^(n-1).",
    example: "{ base: 50ms, max: 1s }",
};

const BODY_LIMIT: Field = Field {
    key: "body_limit",
    kind: Kind::Bytes { max: 16 << 20 },
    default: Is("64KiB"),
    doc: "A request with a larger body is not retried.",
    example: "1MiB",
};

static ROUTE_RETRY: Section = Section {
    name: "routes.retry",
    doc: "When a request is sent again.",
    fields: &[ATTEMPTS, WHEN, METHODS, PER_TRY_TIMEOUT, BACKOFF_FIELD, BODY_LIMIT],
};

pub(super) static RETRY: Section = Section {
    name: "retry",
    doc: "When a request is sent again.",
    fields: &[ATTEMPTS, WHEN, METHODS, PER_TRY_TIMEOUT, BACKOFF_FIELD, BUDGET_FIELD, BODY_LIMIT],
};

const BUDGET_FIELD: Field = Field {
    key: "budget",
    kind: Kind::Table(&BUDGET),
    default: Inside("a fifth of the requests, and 10 a second"),
    doc: "How many retries the service bears from one process; both bounds must allow.",
    example: "{ ratio: 0.1 }",
};

static BACKOFF: Section = Section {
    name: "backoff",
    doc: "How long to wait before another try.",
    fields: &[
        Field {
            key: "base",
            kind: Kind::Duration { min: 1, max: 60_000 },
            default: Is("25ms"),
            doc: "The first retry waits less than this; each later one up to twice as long.",
            example: "50ms",
        },
        Field {
            key: "max",
            kind: Kind::Duration { min: 1, max: 60_000 },
            default: Is("250ms"),
            doc: "No wait is longer; at least `base`.",
            example: "1s",
        },
    ],
};

static BUDGET: Section = Section {
    name: "budget",
    doc: "How many retries the service bears from one process.",
    fields: &[
        Field {
            key: "ratio",
            kind: Kind::Ratio { above_zero: false },
            default: Is("0.2"),
            doc: "Retries per request: of those in flight, and of those begun.",
            example: "0.1",
        },
        Field {
            key: "min_concurrent",
            kind: Kind::Int { min: 0, max: 10_000 },
            default: Is("3"),
            doc: "Retries that may run at once however few requests there are.",
            example: "10",
        },
        Field {
            key: "min_per_second",
            kind: Kind::Int { min: 0, max: 100_000 },
            default: Is("10"),
            doc: "Retries a second however few requests there are.",
            example: "5",
        },
    ],
};

pub(super) static HEDGE: Section = Section {
    name: "hedge",
    doc: "A second try that joins the first while it still runs.",
    fields: &[
        Field {
            key: "after",
            kind: Kind::Duration { min: 1, max: 60_000 },
            default: Is("80ms"),
            doc: "How long a try runs before another joins it.",
            example: "80ms",
        },
        Field {
            key: "max",
            kind: Kind::Int { min: 1, max: 3 },
            default: Is("1"),
            doc: "Most tries that join the first; each counts as a retry.",
            example: "2",
        },
    ],
};
