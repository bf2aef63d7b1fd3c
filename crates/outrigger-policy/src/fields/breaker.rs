//! The circuit of a route, and what is answered while it is open.

use super::Absent::{Is, Means, Refused};
use super::shared::{DAY, HOUR};
use super::{Field, Kind, Section};

pub(super) static BREAKER: Section = Section {
    name: "breaker",
    doc: "When a circuit opens and how it recovers.",
    fields: &[
        Field {
            key: "mode",
            kind: Kind::Word(&[
                ("enforce", "an open circuit refuses"),
                ("observe", "counts, changes state and tells, and lets every call through"),
                ("forced_open", "refuses every call"),
                ("disabled", "lets every call through and counts nothing"),
            ]),
            default: Is("enforce"),
            doc: "Whether the verdict is obeyed.",
            example: "observe",
        },
        Field {
            key: "failure_ratio",
            kind: Kind::Ratio { above_zero: true },
            default: Is("0.5"),
            doc: "Share of failed calls in `window` that opens the circuit.",
            example: "0.3",
        },
        Field {
            key: "slow_call",
            kind: Kind::Either(&[Kind::NONE, Kind::Table(&SLOW_CALL)]),
            default: Is("none"),
            doc: "What counts as slow, and the share of it that opens the circuit.",
            example: "{ after: 1s, ratio: 0.8 }",
        },
        Field {
            key: "consecutive_failures",
            kind: Kind::Either(&[Kind::NONE, Kind::Int { min: 1, max: 1_000_000 }]),
            default: Is("none"),
            doc: "Failures in a row that open the circuit, however few calls there were.",
            example: "10",
        },
        Field {
            key: "window",
            kind: Kind::Either(&[
                Kind::Int { min: 1, max: 65_536 },
                Kind::Duration { min: 1_000, max: HOUR },
            ]),
            default: Is("10s"),
            doc: "The calls that are looked at: those of so long a time, or the last so many.",
            example: "100",
        },
        Field {
            key: "min_calls",
            kind: Kind::Int { min: 1, max: 1_000_000 },
            default: Is("20"),
            doc: "Calls the window must hold before a ratio is looked at.",
            example: "50",
        },
        Field {
            key: "open_for",
            kind: Kind::Duration { min: 1, max: HOUR },
            default: Is("5s"),
            doc: "Time from the trip to the first probe; each failed probe doubles it.",
            example: "10s",
        },
        Field {
            key: "max_open_for",
            kind: Kind::Duration { min: 1, max: DAY },
            default: Is("60s"),
            doc: "The longest open time, at least `open_for`.",
            example: "5m",
        },
        Field {
            key: "jitter",
            kind: Kind::Ratio { above_zero: false },
            default: Is("0.1"),
            doc: "Largest part by which an open time is lengthened, so that callers do not probe at the \
                  same instant.",
            example: "0.2",
        },
        Field {
            key: "probes",
            kind: Kind::Int { min: 1, max: 1_000 },
            default: Is("3"),
            doc: "Calls let through in half-open; when all of them succeed the circuit closes.",
            example: "5",
        },
        Field {
            key: "probe_lease",
            kind: Kind::Duration { min: 1, max: HOUR },
            default: Is("15s"),
            doc: "Time after which a probe without an outcome loses its place to another call.",
            example: "5s",
        },
        Field {
            key: "max_half_open",
            kind: Kind::Duration { min: 1, max: DAY },
            default: Is("60s"),
            doc: "The longest stay in half-open, at least `probe_lease`.",
            example: "30s",
        },
        Field {
            key: "fallback",
            kind: Kind::Either(&[Kind::NONE, Kind::Table(&FALLBACK)]),
            default: Is("none"),
            doc: "What the caller gets instead of the refusal: an answer that stands here, or another \
                  service's.",
            example: "{ status: 200, body: \"[]\" }",
        },
    ],
};

static SLOW_CALL: Section = Section {
    name: "slow_call",
    doc: "What counts as slow.",
    fields: &[
        Field {
            key: "after",
            kind: Kind::Duration { min: 1, max: HOUR },
            default: Refused,
            doc: "A call that took as long as this is slow, whatever its outcome.",
            example: "1s",
        },
        Field {
            key: "ratio",
            kind: Kind::Ratio { above_zero: true },
            default: Refused,
            doc: "Share of slow calls in the window that opens the circuit.",
            example: "0.8",
        },
    ],
};

static FALLBACK: Section = Section {
    name: "fallback",
    doc: "What the caller gets while the circuit is open: `service` alone, or an answer.",
    fields: &[
        Field {
            key: "service",
            kind: Kind::Service,
            default: Means("an answer that stands here"),
            doc: "This service is asked instead, under its own policy.",
            example: "inventory-cache",
        },
        Field {
            key: "status",
            kind: Kind::Status { min: 200, max: 599 },
            default: Is("200"),
            doc: "The answer's status.",
            example: "200",
        },
        Field {
            key: "content_type",
            kind: Kind::HeaderValue,
            default: Means(
                "`application/json` for a body that starts with `{` or `[`, else plain text",
            ),
            doc: "The answer's `content-type`.",
            example: "application/json",
        },
        Field {
            key: "body",
            kind: Kind::Text { max: 64 << 10 },
            default: Is("\"\""),
            doc: "The answer's body, at most 64 KiB.",
            example: "\"[]\"",
        },
    ],
};
