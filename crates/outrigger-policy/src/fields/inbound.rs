//! What the service itself reads: `inbound` and `telemetry`.

use super::Absent::{Is, Means};
use super::shared::{
    ADAPTIVE, BURST, BY_HEADER, BY_QUERY, GRPC_STATUS, LIMIT_MODE, MATCH, MODE, RATE,
};
use super::{Field, Kind, Section};

pub(crate) static INBOUND: Section = Section {
    name: "inbound",
    doc: "What the service accepts.",
    fields: &[
        Field {
            key: "body_limit",
            kind: Kind::Either(&[Kind::NONE, Kind::Bytes { max: 1 << 40 }]),
            default: Is("none"),
            doc: "The largest request body. A larger one is 413: at once by the length it comes with, \
                  else where it turns out larger.",
            example: "10MiB",
        },
        Field {
            key: "rate_limits",
            kind: Kind::List { of: &Kind::Table(&INBOUND_RATE), max: 16 },
            default: Is("[]"),
            doc: "Rates, per process; each whose `match` applies must hold. Over it: 429 with \
                  `Retry-After`.",
            example: "[ { rate: 100/s, per: caller } ]",
        },
        Field {
            key: "concurrency",
            kind: Kind::Table(&CONCURRENCY),
            default: Means("unlimited"),
            doc: "How many requests are worked on at once.",
            example: "{ max_in_flight: 64 }",
        },
        Field {
            key: "shed",
            kind: Kind::Table(&SHED),
            default: Means("never"),
            doc: "When requests are turned away since the machine is busy.",
            example: "{ cpu_above: 0.9 }",
        },
        Field {
            key: "authorize",
            kind: Kind::Table(&AUTHORIZE),
            default: Means("everybody may call"),
            doc: "Who may call. It needs identities (mutual TLS), which come later: until then it is \
                  checked and rendered, and whoever would have to enforce it refuses the policy.",
            example: "{ allow: [ { from: [orders] } ] }",
        },
        Field {
            key: "grpc_status",
            kind: Kind::Word(GRPC_STATUS),
            default: Is("unavailable"),
            doc: "What a gRPC caller is told when a rate limit refuses.",
            example: "resource_exhausted",
        },
    ],
};

static INBOUND_RATE: Section = Section {
    name: "inbound.rate_limits",
    doc: "A rate at which the service accepts requests.",
    fields: &[
        Field {
            key: "name",
            kind: Kind::RouteName,
            default: Means("`limit-1` and so on, by its place"),
            doc: "Its name in metrics.",
            example: "per-caller",
        },
        RATE,
        BURST,
        Field {
            key: "per",
            kind: Kind::Either(&[
                Kind::Word(&[
                    ("service", "one bucket for all"),
                    ("caller", "one for each calling service, by `x-outrigger-caller`"),
                    ("client_address", "one for each address that requests come from"),
                    ("path", "one for each path"),
                ]),
                Kind::OneOf(&PER),
            ]),
            default: Is("service"),
            doc: "What has a bucket of its own.",
            example: "{ header: x-api-key }",
        },
        Field {
            key: "match",
            kind: Kind::Table(&MATCH),
            default: Means("every request"),
            doc: "Which requests count.",
            example: "{ path_prefix: /stock }",
        },
        MODE,
        Field {
            key: "max_keys",
            kind: Kind::Int { min: 1, max: 16_777_216 },
            default: Is("65536"),
            doc: "Buckets kept at once, or up to twice as many: the next power of two; 24 to 55 bytes for each \
                  that is asked for.",
            example: "100000",
        },
        Field {
            key: "when_full",
            kind: Kind::Word(&[
                ("share", "keys that find no room share one bucket"),
                ("refuse", "keys that find no room are refused"),
            ]),
            default: Is("share"),
            doc: "What becomes of a key when that many others are in use.",
            example: "refuse",
        },
    ],
};

static PER: Section = Section {
    name: "per",
    doc: "What has a bucket of its own; exactly one of them.",
    fields: &[BY_HEADER, BY_QUERY],
};

static CONCURRENCY: Section = Section {
    name: "concurrency",
    doc: "How many requests are worked on at once.",
    fields: &[
        Field {
            key: "max_in_flight",
            kind: Kind::Int { min: 1, max: 1_048_576 },
            default: Is("256"),
            doc: "One more is 503 at once.",
            example: "64",
        },
        Field {
            key: "adaptive",
            kind: Kind::Either(ADAPTIVE),
            default: Is("none"),
            doc: "A limit that follows the answer times, at most `max_in_flight`.",
            example: "gradient2",
        },
    ],
};

static SHED: Section = Section {
    name: "shed",
    doc: "When requests are turned away since the machine is busy.",
    fields: &[Field {
        key: "cpu_above",
        kind: Kind::Ratio { above_zero: true },
        default: Is("0.9"),
        doc: "Share of the processors that the process (its cgroup) may use; a tenth of the requests is \
              always let through.",
        example: "0.8",
    }],
};

static AUTHORIZE: Section = Section {
    name: "authorize",
    doc: "Who may call: `deny` is looked at first, then `allow`, then `default`.",
    fields: &[
        Field {
            key: "mode",
            kind: Kind::Word(LIMIT_MODE),
            default: Is("enforce"),
            doc: "Whether the verdict is obeyed.",
            example: "observe",
        },
        Field {
            key: "default",
            kind: Kind::Word(&[("deny", "refused: 403, gRPC 7"), ("allow", "let through")]),
            default: Is("deny"),
            doc: "What holds for a request that no rule names.",
            example: "allow",
        },
        Field {
            key: "deny",
            kind: Kind::List { of: &Kind::Table(&RULE), max: 256 },
            default: Is("[]"),
            doc: "Requests that are refused.",
            example: "[ { paths: [\"/admin/*\"] } ]",
        },
        Field {
            key: "allow",
            kind: Kind::List { of: &Kind::Table(&RULE), max: 256 },
            default: Is("[]"),
            doc: "Requests that are let through.",
            example: "[ { from: [orders], methods: [GET], paths: [\"/stock/*\"] } ]",
        },
    ],
};

static RULE: Section = Section {
    name: "rule",
    doc: "Which requests a rule names: each list must hold the request, an absent one holds all.",
    fields: &[
        Field {
            key: "from",
            kind: Kind::List { of: &Kind::Caller, max: 256 },
            default: Means("anybody, known or not"),
            doc: "Who calls, by the name in its certificate; `*` is every service that has one.",
            example: "[orders, storefront]",
        },
        Field {
            key: "methods",
            kind: Kind::List { of: &Kind::Method, max: 16 },
            default: Means("every method"),
            doc: "The methods.",
            example: "[GET]",
        },
        Field {
            key: "paths",
            kind: Kind::List { of: &Kind::PathPattern, max: 64 },
            default: Means("every path"),
            doc: "The paths; `*` only as the last segment, and `/stock/*` is not `/stock`.",
            example: "[\"/stock/*\"]",
        },
    ],
};

pub(super) static TELEMETRY: Section = Section {
    name: "telemetry",
    doc: "What the service's server side tells.",
    fields: &[
        Field {
            key: "sample",
            kind: Kind::Ratio { above_zero: false },
            default: Is("0.01"),
            doc: "Share of the traces that start here and are kept; a caller's choice and `OTEL_*` win.",
            example: "0.1",
        },
        Field {
            key: "access_log",
            kind: Kind::Word(&[
                ("none", "no request"),
                ("errors", "those that failed or were refused"),
                ("all", "each one"),
            ]),
            default: Is("errors"),
            doc: "Which requests are written to the access log.",
            example: "all",
        },
    ],
};
