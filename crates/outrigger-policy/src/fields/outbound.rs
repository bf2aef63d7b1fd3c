//! The top level, and the sections that concern a service as a whole.

use super::Absent::{Inside, Is, Means, Refused};
use super::breaker::BREAKER;
use super::inbound::{INBOUND, TELEMETRY};
use super::route::{HEDGE, RETRY, ROUTE, ROUTES_MAX};
use super::shared::{ADAPTIVE, BURST, DAY, GRPC_STATUS, HASH_ON, HOUR, MODE, RATE};
use super::{Field, Kind, Section};

pub(crate) static POLICY: Section = Section {
    name: "policy",
    doc: "One service's policy: how callers reach it, and what it accepts.",
    fields: &[
        Field {
            key: "version",
            kind: Kind::Int { min: 1, max: 1 },
            default: Refused,
            doc: "The version of this format. A reader refuses a file of a version it does not know, \
                  and keeps the last good policy.",
            example: "1",
        },
        Field {
            key: "service",
            kind: Kind::Service,
            default: Means("a fleet-wide `_default`, which names no service"),
            doc: "Who is called.",
            example: "inventory",
        },
        Field {
            key: "protocol",
            kind: Kind::Word(&[
                ("http", "HTTP/1.1 or HTTP/2, as the instance says"),
                ("grpc", "gRPC: HTTP/2, refusals as gRPC statuses"),
            ]),
            default: Is("http"),
            doc: "What is spoken.",
            example: "grpc",
        },
        TIMEOUT,
        IDLE_TIMEOUT,
        Field {
            key: "connect_timeout",
            kind: Kind::Duration { min: 1, max: 60_000 },
            default: Is("1s"),
            doc: "Time until a connection is usable, TLS included.",
            example: "500ms",
        },
        Field {
            key: "tls",
            kind: Kind::Table(&TLS),
            default: Means("the system's roots, the service's name"),
            doc: "How instances are verified whose `protocol` in the registry is `https` or `grpcs`; \
                  the others are spoken to in the clear.",
            example: "{ ca: ca.pem }",
        },
        Field {
            key: "mesh",
            kind: Kind::Table(&MESH),
            default: Means("`http://{service}:80`"),
            doc: "Where a mesh has the service, for callers inside of one. Meshes are not detected yet: \
                  until then it is checked, callers say that they do not obey it, and instances are \
                  called.",
            example: "{ host: inventory.shop.svc.cluster.local, port: 8080 }",
        },
        Field {
            key: "retry",
            kind: Kind::Table(&RETRY),
            default: Inside("one more try, for what no endpoint saw"),
            doc: "When a request is sent again.",
            example: "{ attempts: 2, when: [connect_failure, 503] }",
        },
        Field {
            key: "hedge",
            kind: Kind::Either(&[Kind::NONE, Kind::Table(&HEDGE)]),
            default: Is("none"),
            doc: "A second try that joins the first while it still runs, for requests that `retry.methods` \
                  lets be delivered twice. Library and sidecar only.",
            example: "{ after: 80ms }",
        },
        Field {
            key: "rate_limits",
            kind: Kind::List { of: &Kind::Table(&OUTBOUND_RATE), max: 8 },
            default: Is("[]"),
            doc: "This caller's own use of the service, per process; all of them must hold.",
            example: "[ { rate: 500/s } ]",
        },
        Field {
            key: "grpc_status",
            kind: Kind::Word(GRPC_STATUS),
            default: Is("unavailable"),
            doc: "What a gRPC caller is told when `rate_limits` refuse.",
            example: "resource_exhausted",
        },
        Field {
            key: "balance",
            kind: Kind::Table(&BALANCE),
            default: Inside("peak EWMA, slow start, the caller's zone first"),
            doc: "How endpoints are chosen.",
            example: "{ algorithm: least_request }",
        },
        Field {
            key: "eject",
            kind: Kind::Either(&[Kind::NONE, Kind::Table(&EJECT)]),
            default: Inside("five errors in a row eject for 30 s"),
            doc: "When one endpoint is taken out: outlier detection.",
            example: "{ consecutive_errors: 3 }",
        },
        Field {
            key: "breaker",
            kind: Kind::Either(&[Kind::NONE, Kind::Table(&BREAKER)]),
            default: Is("none"),
            doc: "One circuit for each route and caller: closed, open, half-open. Library and sidecar \
                  only.",
            example: "{ failure_ratio: 0.5 }",
        },
        Field {
            key: "capacity",
            kind: Kind::Either(&[Kind::NONE, Kind::Table(&CAPACITY)]),
            default: Is("none"),
            doc: "How much may be in flight from one process.",
            example: "{ max_requests: 200 }",
        },
        Field {
            key: "subsets",
            kind: Kind::Map { key: &Kind::Subset, of: &Kind::Table(&SUBSET), max: 64 },
            default: Is("{}"),
            doc: "Instances that share labels, by names that routes use.",
            example: "{ rust: { language: rust } }",
        },
        Field {
            key: "routes",
            kind: Kind::List { of: &Kind::Table(&ROUTE), max: ROUTES_MAX },
            default: Is("[]"),
            doc: "Rules for some requests. The first that matches wins; what a route leaves out comes \
                  from above, key by key.",
            example: "[ { name: v2, match: { path_prefix: /v2 }, timeout: 5s } ]",
        },
        Field {
            key: "inbound",
            kind: Kind::Table(&INBOUND),
            default: Means("everything is accepted"),
            doc: "What the service accepts; read by the service itself.",
            example: "{ body_limit: 10MiB }",
        },
        Field {
            key: "telemetry",
            kind: Kind::Table(&TELEMETRY),
            default: Inside("1 % of traces, errors in the access log"),
            doc: "What the service's server side tells; read by the service itself.",
            example: "{ sample: 0.1 }",
        },
    ],
};

pub(super) const TIMEOUT: Field = Field {
    key: "timeout",
    kind: Kind::Either(&[Kind::NONE, Kind::Duration { min: 1, max: DAY }]),
    default: Is("15s"),
    doc: "Time for all tries and backoffs, to the end of the body; not started during an injected \
          delay. Streams obey `idle_timeout` instead.",
    example: "5s",
};

pub(super) const IDLE_TIMEOUT: Field = Field {
    key: "idle_timeout",
    kind: Kind::Either(&[Kind::NONE, Kind::Duration { min: 1, max: DAY }]),
    default: Is("5m"),
    doc: "Longest silence of a gRPC stream, an event stream or an upgraded connection.",
    example: "1h",
};

static TLS: Section = Section {
    name: "tls",
    doc: "How an instance is verified.",
    fields: &[
        Field {
            key: "ca",
            kind: Kind::Text { max: 4_096 },
            default: Means("the system's roots"),
            doc: "A file of root certificates, PEM, as seen by the process that calls. It is followed: \
                  what it holds counts for new connections within a second.",
            example: "/etc/outrigger/ca.pem",
        },
        Field {
            key: "sni",
            kind: Kind::Text { max: 253 },
            default: Means("the service's name"),
            doc: "The name sent in the handshake.",
            example: "inventory.internal",
        },
        Field {
            key: "san",
            kind: Kind::Either(&[
                Kind::Text { max: 1_024 },
                Kind::List { of: &Kind::Text { max: 1_024 }, max: 32 },
            ]),
            default: Means("the name sent"),
            doc: "A name, or several, of which the certificate must bear one: DNS names, addresses, or \
                  URIs such as spiffe://fleet/stock.",
            example: "[inventory.internal, inventory.example]",
        },
    ],
};

static MESH: Section = Section {
    name: "mesh",
    doc: "Where a mesh has the service.",
    fields: &[
        Field {
            key: "host",
            kind: Kind::Text { max: 253 },
            default: Means("the service's name"),
            doc: "The host name that the mesh knows.",
            example: "inventory.shop.svc.cluster.local",
        },
        Field {
            key: "port",
            kind: Kind::Int { min: 1, max: 65_535 },
            default: Is("80"),
            doc: "The port of the mesh's service.",
            example: "8080",
        },
    ],
};

static OUTBOUND_RATE: Section = Section {
    name: "rate_limits",
    doc: "A bucket of one caller's process.",
    fields: &[
        Field {
            key: "name",
            kind: Kind::RouteName,
            default: Means("`limit-1` and so on, by its place"),
            doc: "Its name in metrics.",
            example: "own-use",
        },
        RATE,
        BURST,
        MODE,
    ],
};

static BALANCE: Section = Section {
    name: "balance",
    doc: "How the endpoint of a try is chosen.",
    fields: &[
        Field {
            key: "algorithm",
            kind: Kind::Word(&[
                ("round_robin", "one after the other, by weight"),
                ("random", "by lot, by weight"),
                ("least_request", "the one of two with fewer requests in flight"),
                ("peak_ewma", "the one of two with the lower answer time times requests in flight"),
                ("ring_hash", "by `hash_on`, on a ring: few keys move when endpoints come or go"),
                ("maglev", "by `hash_on`, in a Maglev table: more even than a ring"),
            ]),
            default: Is("peak_ewma"),
            doc: "The algorithm.",
            example: "least_request",
        },
        HASH_ON_FIELD,
        Field {
            key: "slow_start",
            kind: Kind::Either(&[Kind::NONE, Kind::Table(&SLOW_START)]),
            default: Inside("30 s, a straight line from a tenth"),
            doc: "How a newcomer's share grows: weight × max(floor, (t / window)^(1 / aggression)).",
            example: "{ window: 1m }",
        },
        Field {
            key: "locality",
            kind: Kind::Either(&[Kind::NONE, Kind::Table(&LOCALITY)]),
            default: Inside("the caller's zone first"),
            doc: "Whether near endpoints are preferred.",
            example: "{ spill_below: 0.5 }",
        },
        Field {
            key: "failover",
            kind: Kind::List { of: &Kind::Datacenter, max: 16 },
            default: Is("[]"),
            doc: "Datacenters, in order, when no endpoint is usable before them.",
            example: "[dc2, dc3]",
        },
        Field {
            key: "aperture",
            kind: Kind::Either(&[Kind::NONE, Kind::Int { min: 1, max: 100_000 }]),
            default: Is("none"),
            doc: "How many endpoints one caller uses, chosen deterministically.",
            example: "12",
        },
        Field {
            key: "panic_below",
            kind: Kind::Ratio { above_zero: false },
            default: Is("0.5"),
            doc: "Share of usable endpoints under which ejection is ignored; 0 never ignores it.",
            example: "0.25",
        },
    ],
};

pub(super) const HASH_ON_FIELD: Field = Field {
    key: "hash_on",
    kind: Kind::Either(HASH_ON),
    default: Means("nothing; the hashing algorithms need it"),
    doc: "What `ring_hash` and `maglev` go by: `client_address`, or one of `header`, `cookie`, \
          `query`. A request without it goes to any endpoint.",
    example: "{ header: x-user-id }",
};

static SLOW_START: Section = Section {
    name: "slow_start",
    doc: "How a newcomer's share grows.",
    fields: &[
        Field {
            key: "window",
            kind: Kind::Duration { min: 1, max: HOUR },
            default: Is("30s"),
            doc: "Time until the full share.",
            example: "1m",
        },
        Field {
            key: "aggression",
            kind: Kind::Float { min: 0.1, max: 10.0 },
            default: Is("1.0"),
            doc: "1 is a straight line; more is quicker at first.",
            example: "2.0",
        },
        Field {
            key: "floor",
            kind: Kind::Ratio { above_zero: false },
            default: Is("0.1"),
            doc: "The smallest share of the weight.",
            example: "0.05",
        },
    ],
};

static LOCALITY: Section = Section {
    name: "locality",
    doc: "Whether near endpoints are preferred.",
    fields: &[
        Field {
            key: "prefer",
            kind: Kind::Word(&[("zone", "endpoints of the caller's zone")]),
            default: Is("zone"),
            doc: "What counts as near.",
            example: "zone",
        },
        Field {
            key: "spill_below",
            kind: Kind::Ratio { above_zero: false },
            default: Is("0.7"),
            doc: "Usable share of the near ones below which traffic spills over, in proportion to what \
                  is missing.",
            example: "0.5",
        },
    ],
};

static EJECT: Section = Section {
    name: "eject",
    doc: "When an endpoint is taken out, and when it comes back.",
    fields: &[
        Field {
            key: "consecutive_errors",
            kind: Kind::Int { min: 1, max: 1_000_000 },
            default: Is("5"),
            doc: "Errors in a row, at the last of which the endpoint is ejected at once.",
            example: "3",
        },
        Field {
            key: "errors",
            kind: Kind::Word(&[
                ("server", "any 5xx, timeout, reset, refusal"),
                ("gateway", "502, 503, 504, and what the wire did"),
            ]),
            default: Is("server"),
            doc: "What counts as an error; 429 and our own refusals never do.",
            example: "gateway",
        },
        Field {
            key: "interval",
            kind: Kind::Duration { min: 1, max: HOUR },
            default: Is("10s"),
            doc: "Time between the sweeps that let endpoints return and judge `success_ratio_below`.",
            example: "5s",
        },
        Field {
            key: "base_time",
            kind: Kind::Duration { min: 1, max: DAY },
            default: Is("30s"),
            doc: "The shortest ejection; the n-th in a row lasts n times as long.",
            example: "10s",
        },
        Field {
            key: "max_time",
            kind: Kind::Duration { min: 1, max: DAY },
            default: Is("300s"),
            doc: "The longest ejection, at least `base_time`.",
            example: "10m",
        },
        Field {
            key: "max_ejected",
            kind: Kind::Ratio { above_zero: false },
            default: Is("0.5"),
            doc: "Largest share of all endpoints that is ejected at once.",
            example: "0.34",
        },
        Field {
            key: "success_ratio_below",
            kind: Kind::Ratio { above_zero: true },
            default: Means("off"),
            doc: "Share of successes in an interval below which an endpoint is ejected.",
            example: "0.8",
        },
        Field {
            key: "min_requests",
            kind: Kind::Int { min: 1, max: 1_000_000 },
            default: Is("5"),
            doc: "Answers an interval must hold before `success_ratio_below` is looked at.",
            example: "20",
        },
    ],
};

static CAPACITY: Section = Section {
    name: "capacity",
    doc: "How much may be in flight from one process.",
    fields: &[
        Field {
            key: "max_requests",
            kind: Kind::Int { min: 1, max: 1_048_576 },
            default: Is("1024"),
            doc: "Requests in flight; one more is 503 at once, without a queue.",
            example: "200",
        },
        Field {
            key: "max_connections",
            kind: Kind::Int { min: 1, max: 65_536 },
            default: Is("256"),
            doc: "Connections to one endpoint.",
            example: "32",
        },
        Field {
            key: "max_pending",
            kind: Kind::Int { min: 0, max: 1_048_576 },
            default: Is("256"),
            doc: "Requests that wait for a connection to one endpoint; one more is 503.",
            example: "64",
        },
        Field {
            key: "adaptive",
            kind: Kind::Either(ADAPTIVE),
            default: Is("none"),
            doc: "A limit that follows the answer times, at most `max_requests`.",
            example: "gradient2",
        },
    ],
};

static SUBSET: Section = Section {
    name: "subsets",
    doc: "Instances that share labels; everything that is given must apply.",
    fields: &[
        Field {
            key: "language",
            kind: Kind::Language,
            default: Means("any"),
            doc: "Written in this language, as its registration tells.",
            example: "rust",
        },
        Field {
            key: "version",
            kind: Kind::VersionRange,
            default: Means("any"),
            doc: "Of a version in this range: `>=2`, `1.4`, `>=1.2, <2`. `1.4` means `^1.4`.",
            example: "\">=2\"",
        },
        Field {
            key: "tag",
            kind: Kind::Text { max: 512 },
            default: Means("any"),
            doc: "With this tag, to the letter.",
            example: "canary",
        },
        Field {
            key: "meta",
            kind: Kind::Map {
                key: &Kind::Text { max: 128 },
                of: &Kind::Text { max: 512 },
                max: 64,
            },
            default: Means("any"),
            doc: "With these metadata, to the letter.",
            example: "{ tier: gold }",
        },
    ],
};
