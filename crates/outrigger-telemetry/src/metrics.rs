//! What is counted, and how it is shown.

mod catalogue;
mod family;
mod histogram;
mod observe;
mod otlp;
mod recent;
mod text;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

pub use catalogue::{CATALOGUE, MetricInfo, MetricKind};
use family::{Family, Label};
use histogram::{Buckets, Counter, Gauge, Histogram};

/// Bytes that all metrics together take in the text format, at most.
pub const MAX_PAGE: usize = 1024 * 1024;

/// The metrics of one service: told by [`Observe`](outrigger_core::Observe), read as Prometheus
/// text, OpenMetrics, or OTLP.
///
/// Shape: series are bounded by the size of the page they make ([`MAX_PAGE`]); what there is no
/// room for is counted under `_other`, and `outrigger.telemetry.overflow` says so.
///
/// Cost: an event is one or two look-ups, mostly among the last ones of the thread, and atomic
/// additions; it allocates for the first sample
/// of a series only, and takes no lock.
pub struct Metrics {
    /// No other of this process has it.
    id: u64,
    pub(crate) resource: Vec<(String, String)>,
    client_duration: Family<Histogram>,
    server_duration: Family<Histogram>,
    server_active: Gauge,
    try_duration: Family<Histogram>,
    tries: Family<Counter>,
    rejections: Family<Counter>,
    retries: Family<Counter>,
    retries_forbidden: Family<Counter>,
    spared: Family<Counter>,
    faults: Family<Counter>,
    fallbacks: Family<Counter>,
    mirrors: Family<Counter>,
    shedding: Family<Gauge>,
    circuit_state: Family<Gauge>,
    circuit_transitions: Family<Counter>,
    ejections: Family<Counter>,
    returns: Family<Counter>,
    panics: Family<Counter>,
    panicking: Family<Gauge>,
    set_instances: Family<Gauge>,
    set_usable: Family<Gauge>,
    set_version: Family<Gauge>,
    set_changes: Family<Counter>,
    set_stale: Family<Gauge>,
    holds: Family<Counter>,
    holding: Family<Gauge>,
    registry_connected: Gauge,
    registry_errors: Family<Counter>,
    policy_version: Family<Gauge>,
    policy_changes: Family<Counter>,
    policy_troubles: Family<Counter>,
    policy_held: Family<Gauge>,
    registrations: Family<Counter>,
    pub(crate) export: ExportCounts,
}

/// What the exporters count; read by them too.
#[derive(Debug, Default)]
pub(crate) struct ExportCounts {
    spans_exported: Counter,
    spans_dropped: Counter,
    spans_failed: Counter,
    span_queue: Gauge,
    logs_exported: Counter,
    logs_dropped: Counter,
    logs_failed: Counter,
    lines_written: Counter,
    lines_dropped: Counter,
    lines_failed: Counter,
    exports: [[Counter; 2]; 3],
}

/// What is exported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Signal {
    Traces,
    Metrics,
    Logs,
}

impl ExportCounts {
    /// Takes a place in the queue of at most `bound`, or counts the span as dropped.
    pub(crate) fn try_enqueue(&self, bound: usize) -> bool {
        self.span_queue.add(1);
        // Two that race for the last place may both be refused: the bound holds.
        if self.span_queue.get() > i64::try_from(bound).unwrap_or(i64::MAX) {
            self.span_queue.add(-1);
            self.spans_dropped.add(1);
            return false;
        }
        true
    }

    /// A batch left the queue.
    pub(crate) fn dequeued(&self, spans: usize) {
        self.span_queue.add(-i64::try_from(spans).unwrap_or(i64::MAX));
    }

    /// What became of a batch.
    pub(crate) fn spans_sent(&self, spans: usize, accepted: bool) {
        let counter = if accepted { &self.spans_exported } else { &self.spans_failed };
        counter.add(spans as u64);
    }

    #[cfg(feature = "logs")]
    pub(crate) fn log_dropped(&self) {
        self.logs_dropped.add(1);
    }

    #[cfg(feature = "logs")]
    pub(crate) fn logs_sent(&self, logs: usize, accepted: bool) {
        let counter = if accepted { &self.logs_exported } else { &self.logs_failed };
        counter.add(logs as u64);
    }

    /// A line of the access log found no room in the queue.
    pub(crate) fn line_dropped(&self) {
        self.lines_dropped.add(1);
    }

    /// What became of lines of the access log.
    pub(crate) fn lines_written(&self, lines: u64, is_written: bool) {
        let counter = if is_written { &self.lines_written } else { &self.lines_failed };
        counter.add(lines);
    }

    /// What became of a message.
    pub(crate) fn sent(&self, signal: Signal, accepted: bool) {
        self.exports[signal as usize][usize::from(!accepted)].add(1);
    }

    pub(crate) fn stats(&self) -> crate::ExportStats {
        crate::ExportStats {
            exported: self.spans_exported.get(),
            dropped: self.spans_dropped.get(),
            failed: self.spans_failed.get(),
            queued: u64::try_from(self.span_queue.get()).unwrap_or(0),
        }
    }
}

/// A number of a series at one moment.
#[derive(Clone, Debug, PartialEq)]
enum Sample {
    Counter(u64),
    Gauge(i64),
    Histogram(Box<Buckets>),
}

/// A metric that can be read.
trait Readable {
    fn sample(&self) -> Sample;
}

impl Readable for Counter {
    fn sample(&self) -> Sample {
        Sample::Counter(self.get())
    }
}

impl Readable for Gauge {
    fn sample(&self) -> Sample {
        Sample::Gauge(self.get())
    }
}

impl Readable for Histogram {
    fn sample(&self) -> Sample {
        Sample::Histogram(Box::new(self.read()))
    }
}

/// The series of one metric at one moment, in order of their labels.
type Series = Vec<(Vec<String>, Sample)>;

impl Default for Metrics {
    fn default() -> Self {
        Self::new(Vec::new())
    }
}

impl Metrics {
    /// No sample yet; `resource` names who measures, as attributes of OpenTelemetry.
    #[must_use]
    pub fn new(resource: Vec<(String, String)>) -> Self {
        use catalogue as c;
        const KIB: usize = 1024;
        static NEXT: AtomicU64 = AtomicU64::new(1);
        // Together 984 KiB; the rest is for help lines and what has no labels.
        Self {
            id: NEXT.fetch_add(1, Ordering::Relaxed),
            resource,
            client_duration: Family::new(&c::CLIENT_DURATION, 2, 400 * KIB),
            server_duration: Family::new(&c::SERVER_DURATION, 1, 96 * KIB),
            server_active: Gauge::default(),
            try_duration: Family::new(&c::TRY_DURATION, 1, 120 * KIB),
            tries: Family::new(&c::TRIES, 1, 144 * KIB),
            rejections: Family::new(&c::REJECTIONS, 1, 16 * KIB),
            retries: Family::new(&c::RETRIES, 1, 8 * KIB),
            retries_forbidden: Family::new(&c::RETRIES_FORBIDDEN, 1, 8 * KIB),
            spared: Family::new(&c::SPARED, 1, 8 * KIB),
            faults: Family::new(&c::FAULTS, 1, 8 * KIB),
            fallbacks: Family::new(&c::FALLBACKS, 1, 8 * KIB),
            mirrors: Family::new(&c::MIRRORS, 1, 16 * KIB),
            shedding: Family::new(&c::SHEDDING, 0, 4 * KIB),
            circuit_state: Family::new(&c::CIRCUIT_STATE, 1, 16 * KIB),
            circuit_transitions: Family::new(&c::CIRCUIT_TRANSITIONS, 1, 16 * KIB),
            ejections: Family::new(&c::EJECTIONS, 1, 8 * KIB),
            returns: Family::new(&c::RETURNS, 0, 8 * KIB),
            panics: Family::new(&c::PANICS, 0, 8 * KIB),
            panicking: Family::new(&c::PANICKING, 0, 8 * KIB),
            set_instances: Family::new(&c::SET_INSTANCES, 0, 8 * KIB),
            set_usable: Family::new(&c::SET_USABLE, 0, 8 * KIB),
            set_version: Family::new(&c::SET_VERSION, 0, 8 * KIB),
            set_changes: Family::new(&c::SET_CHANGES, 0, 8 * KIB),
            set_stale: Family::new(&c::SET_STALE, 0, 8 * KIB),
            holds: Family::new(&c::HOLDS, 0, 8 * KIB),
            holding: Family::new(&c::HOLDING, 0, 8 * KIB),
            registry_connected: Gauge::default(),
            registry_errors: Family::new(&c::REGISTRY_ERRORS, 0, 4 * KIB),
            policy_version: Family::new(&c::POLICY_VERSION, 0, 8 * KIB),
            policy_changes: Family::new(&c::POLICY_CHANGES, 1, 8 * KIB),
            policy_troubles: Family::new(&c::POLICY_TROUBLES, 1, 8 * KIB),
            policy_held: Family::new(&c::POLICY_HELD, 0, 8 * KIB),
            registrations: Family::new(&c::REGISTRATIONS, 1, 8 * KIB),
            export: ExportCounts::default(),
        }
    }

    pub(crate) fn server_began(&self) {
        self.server_active.add(1);
    }

    pub(crate) fn server_ended(
        &self,
        method: &'static str,
        status: Option<u16>,
        error: &'static str,
        elapsed: Duration,
    ) {
        self.server_active.add(-1);
        let status = status.map_or(Label::Text(""), Label::Number);
        let labels = [Label::Text(method), status, Label::Text(error)];
        self.server_duration.with(&labels, |histogram| histogram.record(elapsed));
    }

    /// Shows every metric with its series, in the order of [`CATALOGUE`]; metrics without a series
    /// are shown too.
    fn visit(&self, mut show: impl FnMut(&'static MetricInfo, Series)) {
        use catalogue as c;
        let export = &self.export;
        let mut overflow = Vec::new();
        let mut family = |info: &'static MetricInfo, (series, overflowed): (Series, u64)| {
            if overflowed > 0 {
                overflow.push((vec![info.name.to_owned()], Sample::Counter(overflowed)));
            }
            show(info, series);
        };
        let one = |sample| (vec![(Vec::new(), sample)], 0);
        let by_result = |pairs: &[(&str, &Counter)]| {
            let read =
                |(word, counter): &(&str, &Counter)| (vec![(*word).to_owned()], counter.sample());
            (pairs.iter().map(read).collect::<Series>(), 0)
        };
        family(&c::CLIENT_DURATION, read(&self.client_duration));
        family(&c::SERVER_DURATION, read(&self.server_duration));
        family(&c::SERVER_ACTIVE, one(self.server_active.sample()));
        family(&c::TRY_DURATION, read(&self.try_duration));
        family(&c::TRIES, read(&self.tries));
        family(&c::REJECTIONS, read(&self.rejections));
        family(&c::RETRIES, read(&self.retries));
        family(&c::RETRIES_FORBIDDEN, read(&self.retries_forbidden));
        family(&c::SPARED, read(&self.spared));
        family(&c::FAULTS, read(&self.faults));
        family(&c::FALLBACKS, read(&self.fallbacks));
        family(&c::MIRRORS, read(&self.mirrors));
        family(&c::SHEDDING, read(&self.shedding));
        family(&c::CIRCUIT_STATE, read(&self.circuit_state));
        family(&c::CIRCUIT_TRANSITIONS, read(&self.circuit_transitions));
        family(&c::EJECTIONS, read(&self.ejections));
        family(&c::RETURNS, read(&self.returns));
        family(&c::PANICS, read(&self.panics));
        family(&c::PANICKING, read(&self.panicking));
        family(&c::SET_INSTANCES, read(&self.set_instances));
        family(&c::SET_USABLE, read(&self.set_usable));
        family(&c::SET_VERSION, read(&self.set_version));
        family(&c::SET_CHANGES, read(&self.set_changes));
        family(&c::SET_STALE, read(&self.set_stale));
        family(&c::HOLDS, read(&self.holds));
        family(&c::HOLDING, read(&self.holding));
        family(&c::REGISTRY_CONNECTED, one(self.registry_connected.sample()));
        family(&c::REGISTRY_ERRORS, read(&self.registry_errors));
        family(&c::POLICY_VERSION, read(&self.policy_version));
        family(&c::POLICY_CHANGES, read(&self.policy_changes));
        family(&c::POLICY_TROUBLES, read(&self.policy_troubles));
        family(&c::POLICY_HELD, read(&self.policy_held));
        family(&c::REGISTRATIONS, read(&self.registrations));
        let spans = [
            ("dropped", &export.spans_dropped),
            ("exported", &export.spans_exported),
            ("failed", &export.spans_failed),
        ];
        family(&c::SPANS, by_result(&spans));
        family(&c::SPAN_QUEUE, one(export.span_queue.sample()));
        let logs = [
            ("dropped", &export.logs_dropped),
            ("exported", &export.logs_exported),
            ("failed", &export.logs_failed),
        ];
        family(&c::LOGS, by_result(&logs));
        let lines = [
            ("dropped", &export.lines_dropped),
            ("failed", &export.lines_failed),
            ("written", &export.lines_written),
        ];
        family(&c::ACCESS_LOG, by_result(&lines));
        let exports = ["traces", "metrics", "logs"].iter().zip(&export.exports);
        let exports = exports.flat_map(|(signal, results)| {
            ["ok", "failed"].iter().zip(results).map(|(result, counter)| {
                (vec![(*signal).to_owned(), (*result).to_owned()], counter.sample())
            })
        });
        family(&c::EXPORTS, (exports.collect(), 0));
        show(&c::OVERFLOW, overflow);
    }
}

fn read<M: Default + Readable>(family: &Family<M>) -> (Series, u64) {
    let mut series = Series::new();
    family.for_each(|labels, metric| {
        series.push((labels.iter().map(ToString::to_string).collect(), metric.sample()));
    });
    series.sort_by(|(a, _), (b, _)| a.cmp(b));
    debug_assert!(series.is_empty() || !family.info().labels.is_empty(), "a family has labels");
    (series, family.overflowed())
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").field("resource", &self.resource).finish_non_exhaustive()
    }
}

/// Shared by all who count.
pub(crate) type SharedMetrics = Arc<Metrics>;

#[cfg(test)]
mod tests;
