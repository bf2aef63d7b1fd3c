//! Out of the process: batches, messages, connections; never in the way of a request.

mod client;
mod encode;
mod metrics;
mod spans;

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::runtime::Handle;

use crate::BuildError;
use crate::config::{Compression, TelemetryConfig};
use crate::metrics::Metrics;
use crate::span::FinishedSpan;

use metrics::MetricsTask;
use spans::SpanPipe;

/// Everything that exports; by default nothing does.
#[derive(Default)]
pub(crate) struct Exporters {
    spans: Option<SpanPipe>,
    metrics: Option<MetricsTask>,
}

impl Exporters {
    pub(crate) fn start(
        config: &TelemetryConfig,
        runtime: &Handle,
        metrics: &Arc<Metrics>,
        now: SystemTime,
    ) -> Result<Self, BuildError> {
        if config.otlp.compression == Compression::Gzip && !cfg!(feature = "gzip") {
            return Err(BuildError::NotBuilt {
                key: "OTEL_EXPORTER_OTLP_COMPRESSION",
                wanted: "gzip",
                feature: "gzip",
            });
        }
        Ok(Self {
            spans: SpanPipe::start(config, runtime, metrics)?,
            metrics: MetricsTask::start(config, runtime, metrics, now)?,
        })
    }

    pub(crate) const fn takes_spans(&self) -> bool {
        self.spans.is_some()
    }

    pub(crate) fn span(&self, span: &FinishedSpan) {
        if let Some(pipe) = &self.spans {
            pipe.push(span);
        }
    }

    pub(crate) async fn flush(&self, limit: Duration) {
        let spans = async {
            if let Some(spans) = &self.spans {
                spans.flush(limit).await;
            }
        };
        let metrics = async {
            if let Some(metrics) = &self.metrics {
                metrics.flush(limit).await;
            }
        };
        tokio::join!(spans, metrics);
    }

    pub(crate) async fn shutdown(&self, limit: Duration) {
        let spans = async {
            if let Some(spans) = &self.spans {
                spans.shutdown(limit).await;
            }
        };
        let metrics = async {
            if let Some(metrics) = &self.metrics {
                metrics.flush(limit).await;
                metrics.stop();
            }
        };
        tokio::join!(spans, metrics);
    }
}

impl fmt::Debug for Exporters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Exporters")
            .field("spans", &self.spans.is_some())
            .field("metrics", &self.metrics.is_some())
            .finish()
    }
}
