//! Every metric there is: what `docs/metrics.md` explains, row by row.

/// What kind of number a metric is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum MetricKind {
    /// Only rises.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Counts by size.
    Histogram,
}

impl MetricKind {
    /// The word in Prometheus' text format.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

/// A metric, as it is listed in `docs/metrics.md`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct MetricInfo {
    /// OpenTelemetry's name where it has one, else `outrigger.…`.
    pub name: &'static str,
    /// A UCUM unit; `s` or an annotation such as `{try}`.
    pub unit: &'static str,
    /// What kind of number it is.
    pub kind: MetricKind,
    /// The names of its labels, in order.
    pub labels: &'static [&'static str],
    /// One sentence, without the full stop.
    pub help: &'static str,
}

impl MetricInfo {
    const fn new(
        name: &'static str,
        unit: &'static str,
        kind: MetricKind,
        labels: &'static [&'static str],
        help: &'static str,
    ) -> Self {
        Self { name, unit, kind, labels, help }
    }

    /// The name in Prometheus' form, without the `_total` of a counter.
    #[must_use]
    pub fn prometheus_name(&self) -> String {
        let unit = if self.unit == "s" { "_seconds" } else { "" };
        self.name.replace('.', "_") + unit
    }
}

/// The service that is called.
pub(super) const SERVICE: &str = "outrigger.service";
const ROUTE: &str = "outrigger.route";
const METHOD: &str = "http.request.method";
const STATUS: &str = "http.response.status_code";

macro_rules! catalogue {
    ($($id:ident = $name:literal, $unit:literal, $kind:ident, [$($label:expr),*], $help:literal;)*) => {
        $(pub(super) const $id: MetricInfo =
            MetricInfo::new($name, $unit, MetricKind::$kind, &[$($label),*], $help);)*

        /// Every metric, in the order in which it is shown.
        pub const CATALOGUE: &[MetricInfo] = &[$($id),*];
    };
}

catalogue! {
    CLIENT_DURATION = "http.client.request.duration", "s", Histogram,
        [METHOD, "server.address", ROUTE, STATUS, "outrigger.outcome"],
        "Calls with all their tries, from the start to the response's head";
    SERVER_DURATION = "http.server.request.duration", "s", Histogram,
        [METHOD, STATUS, "error.type"],
        "Requests served, from arrival to the end of the response's body";
    SERVER_ACTIVE = "http.server.active_requests", "{request}", Gauge, [],
        "Requests being served";
    TRY_DURATION = "outrigger.try.duration", "s", Histogram, [SERVICE, "outrigger.outcome"],
        "Single tries, from the pick to the response's head";
    TRIES = "outrigger.tries", "{try}", Counter, [SERVICE, "outrigger.endpoint", "outrigger.result"],
        "Tries by endpoint and what came of them";
    REJECTIONS = "outrigger.rejections", "{request}", Counter, [SERVICE, ROUTE, "outrigger.reason"],
        "Requests refused by us before any endpoint saw them";
    RETRIES = "outrigger.retries", "{try}", Counter, [SERVICE, "outrigger.kind"],
        "Tries after the first";
    RETRIES_FORBIDDEN = "outrigger.retries.forbidden", "{try}", Counter, [SERVICE, "outrigger.why"],
        "Tries that would have been right and were not made";
    SPARED = "outrigger.spared", "{request}", Counter, [SERVICE, "outrigger.rule", "outrigger.reason"],
        "Requests that rules would have refused, were they not only observed";
    FAULTS = "outrigger.faults", "{fault}", Counter, [SERVICE, ROUTE, "outrigger.kind"],
        "Faults injected on purpose";
    FALLBACKS = "outrigger.fallbacks", "{request}", Counter, [SERVICE, ROUTE, "outrigger.kind"],
        "Requests answered in another way while a circuit was open";
    MIRRORS = "outrigger.mirrors", "{request}", Counter, [SERVICE, ROUTE, "outrigger.result"],
        "Copies of requests, and what became of them";
    SHEDDING = "outrigger.shedding", "{state}", Gauge, [SERVICE],
        "1 while requests are turned away for want of CPU";
    CIRCUIT_STATE = "outrigger.circuit.state", "{state}", Gauge, [SERVICE, ROUTE],
        "0 closed, 1 half-open, 2 open";
    CIRCUIT_TRANSITIONS = "outrigger.circuit.transitions", "{transition}", Counter,
        [SERVICE, ROUTE, "outrigger.to"],
        "Circuits that changed their state, by the state they came to";
    EJECTIONS = "outrigger.ejections", "{endpoint}", Counter, [SERVICE, "outrigger.cause"],
        "Endpoints taken out because of their errors";
    RETURNS = "outrigger.returns", "{endpoint}", Counter, [SERVICE],
        "Ejected endpoints that came back";
    PANICS = "outrigger.panics", "{transition}", Counter, [SERVICE],
        "Times that too few endpoints were usable and ejection was ignored";
    PANICKING = "outrigger.panicking", "{state}", Gauge, [SERVICE],
        "1 while ejection is ignored because too few endpoints are usable";
    SET_INSTANCES = "outrigger.set.instances", "{instance}", Gauge, [SERVICE],
        "Instances in the snapshot in use";
    SET_USABLE = "outrigger.set.usable", "{endpoint}", Gauge, [SERVICE],
        "Endpoints that may be picked";
    SET_VERSION = "outrigger.set.version", "{version}", Gauge, [SERVICE],
        "Version of the snapshot in use";
    SET_CHANGES = "outrigger.set.changes", "{snapshot}", Counter, [SERVICE],
        "Snapshots taken into use";
    SET_STALE = "outrigger.set.stale", "{state}", Gauge, [SERVICE],
        "1 while the snapshot in use is held, stale or from a file";
    HOLDS = "outrigger.holds", "{transition}", Counter, [SERVICE],
        "Empty answers of the registry that were not believed at once";
    HOLDING = "outrigger.holding", "{state}", Gauge, [SERVICE],
        "1 while an empty answer of the registry is not believed";
    REGISTRY_CONNECTED = "outrigger.registry.connected", "{state}", Gauge, [],
        "1 while the registry answers";
    REGISTRY_ERRORS = "outrigger.registry.errors", "{error}", Counter, ["outrigger.class"],
        "Times that the registry could not be reached or understood";
    POLICY_VERSION = "outrigger.policy.version", "{version}", Gauge, [SERVICE],
        "The policy in force: its 12 hex digits as a number, 0 for none";
    POLICY_CHANGES = "outrigger.policy.changes", "{change}", Counter, [SERVICE, "outrigger.source"],
        "Policies that came into force, by where they came from";
    POLICY_TROUBLES = "outrigger.policy.troubles", "{trouble}", Counter, [SERVICE, "outrigger.class"],
        "Policies that were refused, vanished or could not be asked for";
    POLICY_HELD = "outrigger.policy.held", "{state}", Gauge, [SERVICE],
        "1 while what is in force is not what the policy's place says, or cannot be compared with it";
    REGISTRATIONS = "outrigger.registration.events", "{event}", Counter,
        [SERVICE, "outrigger.state"],
        "What became of our own registrations";
    SPANS = "outrigger.telemetry.spans", "{span}", Counter, ["outrigger.result"],
        "Finished spans: exported, dropped because the queue was full, or refused by the collector";
    SPAN_QUEUE = "outrigger.telemetry.queue", "{span}", Gauge, [],
        "Finished spans that wait for the collector";
    LOGS = "outrigger.telemetry.logs", "{record}", Counter, ["outrigger.result"],
        "Logs: exported, dropped because the queue was full, or refused by the collector";
    ACCESS_LOG = "outrigger.access_log.lines", "{line}", Counter, ["outrigger.result"],
        "Lines of the access log: written, dropped because the queue was full, or not to be written";
    EXPORTS = "outrigger.telemetry.exports", "{export}", Counter, ["outrigger.signal", "outrigger.result"],
        "Messages to the collector";
    OVERFLOW = "outrigger.telemetry.overflow", "{series}", Counter, ["outrigger.metric"],
        "Samples counted under `_other` because their metric has no room for another series";
}
