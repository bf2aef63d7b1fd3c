//! The handle that everything else holds.

mod builder;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

pub use builder::{BuildError, TelemetryBuilder};
use outrigger_core::{Clock, Ratio, TraceContext};

use crate::export::Exporters;
use crate::metrics::{Metrics, SharedMetrics};
use crate::propagation::Propagators;
use crate::span::{FinishedSpan, SpanSink};
use crate::{ClientTraceLayer, Sampler, ServerTraceLayer, TryTraceLayer};

/// Spans, propagation and metrics of one service; cheap to clone.
///
/// It is no global: two services in one process have one each.
#[derive(Clone)]
pub struct Telemetry(Arc<Inner>);

struct Inner {
    service: Arc<str>,
    clock: Arc<dyn Clock>,
    sampler: Sampler,
    /// The share of the traces that start with a request that is served, as the bits of a number;
    /// all ones where nobody said it.
    served: AtomicU64,
    /// Whether the environment or the builder said what is sampled.
    is_told: bool,
    propagators: Propagators,
    sinks: Box<[Arc<dyn SpanSink>]>,
    exporters: Exporters,
    metrics: SharedMetrics,
    enabled: bool,
}

/// What became of the spans so far.
///
/// Shape: `exported + dropped + failed + queued` is the number of spans that ended, give or take
/// those that are on the wire.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ExportStats {
    /// Taken by the collector.
    pub exported: u64,
    /// Not taken into the queue, since it was full.
    pub dropped: u64,
    /// Sent in vain: the collector refused them, or could not be reached in time.
    pub failed: u64,
    /// Waiting.
    pub queued: u64,
}

impl Telemetry {
    /// Starts to describe one.
    pub fn builder() -> TelemetryBuilder {
        TelemetryBuilder::default()
    }

    /// One that records and exports nothing, and still passes traces on.
    #[must_use]
    pub fn disabled(service: &str) -> Self {
        builder::disabled(service)
    }

    /// The name under which its spans are recorded.
    #[must_use]
    pub fn service(&self) -> &str {
        &self.0.service
    }

    /// What it counts; an [`Observe`](outrigger_core::Observe) to be told of events.
    #[must_use]
    pub fn metrics(&self) -> &Arc<Metrics> {
        &self.0.metrics
    }

    /// Which headers are read and written.
    #[must_use]
    pub fn propagators(&self) -> Propagators {
        self.0.propagators
    }

    /// Which traces are kept.
    #[must_use]
    pub fn sampler(&self) -> Sampler {
        self.0.sampler
    }

    /// Which share of the traces is kept that start with a request that is served here: what the
    /// policy of the service says. `OTEL_TRACES_SAMPLER` and the builder win over it.
    pub fn set_served_ratio(&self, ratio: Option<Ratio>) {
        if !self.0.is_told {
            let bits = ratio.map_or(u64::MAX, |ratio| ratio.get().to_bits());
            self.0.served.store(bits, Ordering::Relaxed);
        }
    }

    /// Starts a trace: two random ids, and the decision whether it is kept.
    #[must_use]
    pub fn root(&self) -> TraceContext {
        self.place(TraceContext::NONE, None)
    }

    /// The layer around a whole call.
    #[must_use]
    pub fn client_layer(&self) -> ClientTraceLayer {
        ClientTraceLayer::new(self)
    }

    /// The layer around each try.
    #[must_use]
    pub fn try_layer(&self) -> TryTraceLayer {
        TryTraceLayer::new(self)
    }

    /// The layer around a server.
    #[must_use]
    pub fn server_layer(&self) -> ServerTraceLayer {
        ServerTraceLayer::new(self)
    }

    /// What became of the spans so far.
    #[must_use]
    pub fn export_stats(&self) -> ExportStats {
        self.0.metrics.export.stats()
    }

    /// Sends what waits, and comes back when it is sent or `limit` has passed.
    ///
    /// # Cancel safety
    /// Dropping the future leaves the sending under way.
    pub async fn flush(&self, limit: Duration) {
        self.0.exporters.flush(limit).await;
    }

    /// Sends what waits and stops exporting; comes back when that is done or `limit` has passed.
    ///
    /// Calling it twice does nothing more. Spans that end afterwards go to the sinks only.
    ///
    /// # Cancel safety
    /// Dropping the future leaves the shutdown under way.
    pub async fn shutdown(&self, limit: Duration) {
        self.0.exporters.shutdown(limit).await;
    }

    /// The same for a request that is served.
    pub(crate) fn place_served(&self, parent: TraceContext, sampled: Option<bool>) -> TraceContext {
        let mut sampler = self.0.sampler;
        if let Ok(ratio) = Ratio::new(f64::from_bits(self.0.served.load(Ordering::Relaxed))) {
            sampler.ratio = ratio;
        }
        self.place_by(&sampler, parent, sampled)
    }

    /// Where a request stands whose caller's span is `parent` and who decided `sampled`.
    pub(crate) fn place(&self, parent: TraceContext, sampled: Option<bool>) -> TraceContext {
        self.place_by(&self.0.sampler, parent, sampled)
    }

    fn place_by(
        &self,
        sampler: &Sampler,
        parent: TraceContext,
        sampled: Option<bool>,
    ) -> TraceContext {
        if !parent.is_valid() {
            let sampled = if self.0.enabled { sampled } else { Some(false) };
            return sampler.root(sampled);
        }
        let flags = match (self.0.enabled, sampled) {
            // Nothing is decided where nothing is recorded.
            (false, decided) => parent.flags & !1 | u8::from(decided == Some(true)),
            (true, decided) => sampler.flags(parent.trace_id, decided, parent.flags),
        };
        TraceContext { flags, ..parent }
    }

    /// Whether anybody takes spans.
    pub(crate) fn records(&self) -> bool {
        self.0.enabled && (!self.0.sinks.is_empty() || self.0.exporters.takes_spans())
    }

    pub(crate) fn now(&self) -> Instant {
        self.0.clock.now()
    }

    /// The time of day at `then`, a moment ago.
    pub(crate) fn wall_at(&self, then: Instant) -> SystemTime {
        let wall = self.0.clock.wall();
        wall.checked_sub(self.now().saturating_duration_since(then)).unwrap_or(wall)
    }

    pub(crate) fn wall(&self) -> SystemTime {
        self.0.clock.wall()
    }

    #[cfg(feature = "logs")]
    pub(crate) fn logs(&self) -> Option<&crate::events::LogPipe> {
        self.0.exporters.logs()
    }

    pub(crate) fn service_name(&self) -> Arc<str> {
        Arc::clone(&self.0.service)
    }

    pub(crate) fn finish(&self, span: &FinishedSpan) {
        for sink in &self.0.sinks {
            sink.finished(span);
        }
        self.0.exporters.span(span);
    }
}

impl fmt::Debug for Telemetry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Telemetry")
            .field("service", &self.0.service)
            .field("sampler", &self.0.sampler)
            .field("propagators", &self.0.propagators)
            .field("exporters", &self.0.exporters)
            .finish_non_exhaustive()
    }
}
