//! The keys of a test file.

use crate::fields::Absent::{Means, Refused};
use crate::fields::{Field, Kind, Section};

pub(super) static FILE: Section = Section {
    name: "tests",
    doc: "What is expected of a policy.",
    fields: &[
        Field {
            key: "version",
            kind: Kind::Int { min: 1, max: 1 },
            default: Refused,
            doc: "The version of this format.",
            example: "1",
        },
        Field {
            key: "policy",
            kind: Kind::Text { max: 4_096 },
            default: Means("the policy that is named beside it"),
            doc: "The policy's file, beside this one.",
            example: "inventory.yaml",
        },
        Field {
            key: "tests",
            kind: Kind::List { of: &Kind::Table(&TEST), max: 10_000 },
            default: Refused,
            doc: "The tests.",
            example: "[]",
        },
    ],
};

static TEST: Section = Section {
    name: "test",
    doc: "A request, and what is expected to become of it.",
    fields: &[
        Field {
            key: "name",
            kind: Kind::Text { max: 256 },
            default: Refused,
            doc: "What it shows.",
            example: "canaries go to rust",
        },
        Field {
            key: "request",
            kind: Kind::Text { max: 4_096 },
            default: Refused,
            doc: "The method, the path and the query.",
            example: "GET /v2/stock?beta=1",
        },
        Field {
            key: "headers",
            kind: Kind::Map { key: &Kind::HeaderName, of: &Kind::HeaderValue, max: 64 },
            default: Means("none"),
            doc: "Its headers.",
            example: "{ x-canary: \"1\" }",
        },
        Field {
            key: "caller",
            kind: Kind::Service,
            default: Means("unknown"),
            doc: "Who calls.",
            example: "orders",
        },
        Field {
            key: "expect",
            kind: Kind::Table(&EXPECT),
            default: Refused,
            doc: "What is expected; what is left out is not looked at.",
            example: "{ route: default }",
        },
    ],
};

pub(super) static EXPECT: Section = Section {
    name: "expect",
    doc: "What is expected to become of the request.",
    fields: &[
        Field {
            key: "route",
            kind: Kind::RouteName,
            default: Means("any"),
            doc: "The route that it takes; `default` where none matches.",
            example: "rewrite",
        },
        Field {
            key: "split",
            kind: Kind::Map { key: &Kind::Subset, of: &Kind::Int { min: 0, max: 100 }, max: 16 },
            default: Means("any"),
            doc: "The weights of the subsets that serve it; `{}` for all endpoints.",
            example: "{ java: 90, rust: 10 }",
        },
        Field {
            key: "mirror",
            kind: Kind::Subset,
            default: Means("any"),
            doc: "The subset that gets a copy, or `none`.",
            example: "rust",
        },
        Field {
            key: "limits",
            kind: Kind::List { of: &Kind::RouteName, max: 64 },
            default: Means("any"),
            doc: "The inbound rates that count it, in their order.",
            example: "[per-caller]",
        },
        Field {
            key: "refused",
            kind: Kind::Word(&[
                ("none", "let through"),
                ("bad_request", "its path has no normal form"),
                ("forbidden", "`inbound.authorize` denies it"),
                ("circuit_open", "the circuit is forced open, and there is no fallback"),
            ]),
            default: Means("any"),
            doc: "Why it is refused, whatever the load.",
            example: "forbidden",
        },
        Field {
            key: "rules",
            kind: Kind::Map { key: &Kind::Text { max: 128 }, of: &Kind::Any, max: 128 },
            default: Means("any"),
            doc: "Values that hold for it, by the keys that `explain` shows.",
            example: "{ timeout: 5s, retry.attempts: 2 }",
        },
    ],
};

/// The tables of a test file, for the reference.
pub(crate) fn tables() -> [(&'static str, &'static Section); 3] {
    [("The file.", &FILE), ("Each of `tests`.", &TEST), ("Its `expect`.", &EXPECT)]
}
