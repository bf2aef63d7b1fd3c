//! Sections that stand in several places.

use super::Absent::{Is, Means};
use super::{Field, Kind, Section};

pub(super) const HOUR: u64 = 3_600_000;
pub(super) const DAY: u64 = 24 * HOUR;

pub(super) static HASH_KEY: Section = Section {
    name: "hash_on",
    doc: "What a hash is made of; exactly one of them.",
    fields: &[BY_HEADER, BY_COOKIE, BY_QUERY],
};

pub(super) const BY_HEADER: Field = Field {
    key: "header",
    kind: Kind::HeaderName,
    default: Means("another one is given"),
    doc: "A header's value.",
    example: "x-user-id",
};

const BY_COOKIE: Field = Field {
    key: "cookie",
    kind: Kind::Text { max: 128 },
    default: Means("another one is given"),
    doc: "A cookie's value.",
    example: "session",
};

pub(super) const BY_QUERY: Field = Field {
    key: "query",
    kind: Kind::Text { max: 128 },
    default: Means("another one is given"),
    doc: "A parameter of the query.",
    example: "user",
};

pub(super) static HASH_ON: &[Kind] = &[
    Kind::Word(&[("client_address", "the address that the request came from")]),
    Kind::OneOf(&HASH_KEY),
];

static TEXT_MATCH: Section = Section {
    name: "text match",
    doc: "How a value is compared; exactly one of them. A plain text is compared to the letter.",
    fields: &[
        Field {
            key: "exact",
            kind: Kind::Text { max: 1_024 },
            default: Means("another one is given"),
            doc: "This value, to the letter: the long form of a plain text.",
            example: "\"1\"",
        },
        Field {
            key: "regex",
            kind: Kind::Regex,
            default: Means("another one is given"),
            doc: "The whole value matches; linear time, no look-around, no back-references.",
            example: "\"v[0-9]+\"",
        },
        Field {
            key: "present",
            kind: Kind::Bool,
            default: Means("another one is given"),
            doc: "Whether it is there, whatever its value.",
            example: "true",
        },
    ],
};

static VALUE: Kind = Kind::Either(&[Kind::Text { max: 1_024 }, Kind::OneOf(&TEXT_MATCH)]);

pub(super) static MATCH: Section = Section {
    name: "match",
    doc: "Which requests are meant: everything that is given must apply.",
    fields: &[
        Field {
            key: "path_prefix",
            kind: Kind::Path,
            default: Means("every path"),
            doc: "This path or a whole number of its leading segments: `/v2` is `/v2` and `/v2/x`, \
                  not `/v2x`.",
            example: "/v2",
        },
        Field {
            key: "path_exact",
            kind: Kind::Path,
            default: Means("every path"),
            doc: "This path, in its normal form, without the query.",
            example: "/v2/health",
        },
        Field {
            key: "path_regex",
            kind: Kind::Regex,
            default: Means("every path"),
            doc: "The whole path matches; linear time, no look-around, no back-references.",
            example: "\"/v[0-9]+/.*\"",
        },
        Field {
            key: "methods",
            kind: Kind::List { of: &Kind::Method, max: 16 },
            default: Means("every method"),
            doc: "One of these HTTP methods.",
            example: "[GET, HEAD]",
        },
        Field {
            key: "headers",
            kind: Kind::Map { key: &Kind::HeaderName, of: &VALUE, max: 32 },
            default: Means("any headers"),
            doc: "Each of these headers; of one that stands several times one value must match.",
            example: "{ x-canary: \"1\", x-debug: { present: false } }",
        },
        Field {
            key: "query",
            kind: Kind::Map { key: &Kind::Text { max: 128 }, of: &VALUE, max: 32 },
            default: Means("any query"),
            doc: "Each of these parameters, percent-decoded; the first of a name counts.",
            example: "{ beta: \"1\" }",
        },
    ],
};

static GRADIENT2: Section = Section {
    name: "adaptive",
    doc: "A limit that follows the answer times: Gradient2, as in Netflix's concurrency-limits.",
    fields: &[
        Field {
            key: "initial",
            kind: Kind::Int { min: 1, max: 1_000_000 },
            default: Is("20"),
            doc: "The limit at the start, `min` to `max`.",
            example: "50",
        },
        Field {
            key: "min",
            kind: Kind::Int { min: 1, max: 1_000_000 },
            default: Is("4"),
            doc: "The smallest limit.",
            example: "10",
        },
        Field {
            key: "max",
            kind: Kind::Int { min: 1, max: 1_000_000 },
            default: Is("1024"),
            doc: "The largest limit; the fixed limit beside it holds too.",
            example: "500",
        },
        Field {
            key: "smoothing",
            kind: Kind::Ratio { above_zero: true },
            default: Is("0.2"),
            doc: "How much of each step is taken.",
            example: "0.1",
        },
        Field {
            key: "long_window",
            kind: Kind::Int { min: 10, max: 100_000 },
            default: Is("600"),
            doc: "Steps over which the long-term answer time is averaged.",
            example: "1200",
        },
        Field {
            key: "tolerance_tenths",
            kind: Kind::Int { min: 10, max: 100 },
            default: Is("15"),
            doc: "Times the long-term answer time that is taken for noise, in tenths: 15 is 1.5 \
                  times.",
            example: "20",
        },
        Field {
            key: "queue",
            kind: Kind::Int { min: 0, max: 1_000 },
            default: Is("4"),
            doc: "Requests that may queue in the service while the limit still grows.",
            example: "8",
        },
        Field {
            key: "step",
            kind: Kind::Duration { min: 1, max: 60_000 },
            default: Is("100ms"),
            doc: "The shortest time of a step; its samples are averaged.",
            example: "250ms",
        },
        Field {
            key: "min_samples",
            kind: Kind::Int { min: 1, max: 10_000 },
            default: Is("10"),
            doc: "The fewest samples of a step.",
            example: "20",
        },
    ],
};

pub(super) static ADAPTIVE: &[Kind] = &[
    Kind::Word(&[("none", "off"), ("gradient2", "follows the answer times, with the defaults")]),
    Kind::Table(&GRADIENT2),
];

pub(super) static GRPC_STATUS: &[(&str, &str)] = &[
    ("unavailable", "14, as Envoy answers"),
    ("resource_exhausted", "8, which few clients retry"),
];

pub(super) static LIMIT_MODE: &[(&str, &str)] =
    &[("enforce", "over the limit means refused"), ("observe", "counted, and let through")];

pub(super) const RATE: Field = Field {
    key: "rate",
    kind: Kind::Rate,
    default: super::Absent::Refused,
    doc: "How many per how long; refilled continuously, not all at once.",
    example: "100/s",
};

pub(super) const BURST: Field = Field {
    key: "burst",
    kind: Kind::Int { min: 1, max: 1_000_000_000 },
    default: Means("the count of `rate`"),
    doc: "Most requests at once.",
    example: "200",
};

pub(super) const MODE: Field = Field {
    key: "mode",
    kind: Kind::Word(LIMIT_MODE),
    default: Is("enforce"),
    doc: "Whether the verdict is obeyed.",
    example: "observe",
};
