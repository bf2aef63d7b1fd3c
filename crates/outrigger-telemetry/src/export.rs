//! Out of the process: batches, messages, connections; never in the way of a request.

mod client;
mod encode;
mod metrics;
mod spans;
#[cfg(feature = "zipkin")]
mod zipkin;

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::HeaderValue;
use outrigger_core::BoxError;
use tokio::runtime::Handle;

use crate::BuildError;
use crate::config::{Compression, TelemetryConfig, TracesExporter};
#[cfg(feature = "logs")]
use crate::events::LogPipe;
use crate::metrics::{Metrics, Signal};
use crate::span::FinishedSpan;

use client::Tls;
#[cfg(feature = "logs")]
pub(crate) use client::{ExportClient, ExportError};
use metrics::MetricsTask;
use spans::SpanPipe;

/// Everything that exports; by default nothing does.
#[derive(Default)]
pub(crate) struct Exporters {
    spans: Option<SpanPipe>,
    metrics: Option<MetricsTask>,
    #[cfg(feature = "logs")]
    logs: Option<LogPipe>,
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
        let tls = load_tls(config).map_err(BuildError::Exporter)?;
        Ok(Self {
            spans: SpanPipe::start(config, runtime, metrics, &tls)?,
            metrics: MetricsTask::start(config, runtime, metrics, &tls, now),
            #[cfg(feature = "logs")]
            logs: start_logs(config, runtime, metrics, &tls),
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

    #[cfg(feature = "logs")]
    pub(crate) const fn logs(&self) -> Option<&LogPipe> {
        self.logs.as_ref()
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
        tokio::join!(spans, metrics, self.flush_logs(limit));
    }

    #[cfg(feature = "logs")]
    async fn flush_logs(&self, limit: Duration) {
        if let Some(logs) = &self.logs {
            let _ = tokio::time::timeout(limit, logs.flush()).await;
        }
    }

    #[cfg(not(feature = "logs"))]
    async fn flush_logs(&self, _limit: Duration) {}

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
        tokio::join!(spans, metrics, self.flush_logs(limit));
    }
}

fn load_tls(config: &TelemetryConfig) -> Result<Tls, BoxError> {
    let signals = [Signal::Traces, Signal::Metrics, Signal::Logs];
    let addresses: Vec<_> = signals.iter().filter_map(|s| config.otlp.address(*s)).collect();
    let mut addresses: Vec<_> = addresses.iter().collect();
    if config.traces == TracesExporter::Zipkin {
        addresses.push(&config.zipkin.endpoint);
    }
    Tls::load(&config.otlp.tls, &addresses)
}

/// One body for the wire, packed if that is asked for.
pub(crate) fn pack(
    message: Vec<u8>,
    compression: Compression,
) -> Result<(Bytes, Option<HeaderValue>), BoxError> {
    match compression {
        #[cfg(feature = "gzip")]
        Compression::Gzip => {
            use std::io::Write;
            let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            packer.write_all(&message)?;
            Ok((packer.finish()?.into(), Some(HeaderValue::from_static("gzip"))))
        }
        _ => Ok((message.into(), None)),
    }
}

#[cfg(feature = "logs")]
fn start_logs(
    config: &TelemetryConfig,
    runtime: &Handle,
    metrics: &Arc<Metrics>,
    tls: &Tls,
) -> Option<LogPipe> {
    let address = config.otlp.address(Signal::Logs).filter(|_| !config.logs_off)?;
    let client = ExportClient::new(runtime, *config.otlp.timeout.of(Signal::Logs), tls.clone());
    let headers = config.otlp.headers.of(Signal::Logs).clone();
    Some(LogPipe::start(client, address, headers, config.otlp.compression, &config.logs, metrics))
}

impl fmt::Debug for Exporters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Exporters")
            .field("spans", &self.spans.is_some())
            .field("metrics", &self.metrics.is_some())
            .finish()
    }
}
