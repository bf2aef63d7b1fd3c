//! Spans on their way to a collector, through the SDK's batch processor.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use opentelemetry::InstrumentationScope;
use opentelemetry_otlp::{Protocol, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{
    BatchConfigBuilder, BatchSpanProcessor, SpanData, SpanExporter, SpanProcessor,
};
use tokio::runtime::Handle;

use super::client::{ExportClient, Tls};
use super::encode;
use crate::BuildError;
use crate::config::{Compression, OtlpProtocol, TelemetryConfig, TracesExporter};
use crate::metrics::{Metrics, Signal};
use crate::span::FinishedSpan;

/// The queue and the thread behind it.
///
/// The bound is ours and lies before the SDK's, so that each drop is counted where it happens; the
/// SDK tells how many it dropped at its shutdown only.
pub(super) struct SpanPipe {
    processor: Arc<BatchSpanProcessor>,
    metrics: Arc<Metrics>,
    scope: InstrumentationScope,
    bound: usize,
    closed: AtomicBool,
}

impl SpanPipe {
    pub(super) fn start(
        config: &TelemetryConfig,
        runtime: &Handle,
        metrics: &Arc<Metrics>,
        tls: &Tls,
    ) -> Result<Option<Self>, BuildError> {
        let processor = match config.traces {
            TracesExporter::None => return Ok(None),
            TracesExporter::Otlp if config.otlp.address(Signal::Traces).is_none() => {
                return Ok(None);
            }
            TracesExporter::Otlp => match config.otlp.protocol {
                OtlpProtocol::HttpProtobuf => {
                    processor(otlp(config, runtime, tls)?, config, metrics)
                }
                OtlpProtocol::Grpc => grpc(config, runtime, metrics)?,
            },
            TracesExporter::Zipkin => zipkin(config, runtime, metrics, tls)?,
        };
        Ok(Some(Self {
            processor: Arc::new(processor),
            metrics: Arc::clone(metrics),
            scope: encode::scope(),
            bound: config.spans.max_queue,
            closed: AtomicBool::new(false),
        }))
    }

    /// Puts a span into the queue, or drops and counts it; never waits.
    pub(super) fn push(&self, span: &FinishedSpan) {
        if self.closed.load(Ordering::Acquire) || !self.metrics.export.try_enqueue(self.bound) {
            return;
        }
        self.processor.on_end(encode::span_data(span, &self.scope));
    }

    pub(super) async fn flush(&self, limit: Duration) {
        let processor = Arc::clone(&self.processor);
        // It waits for its thread: a blocking call, which must not hold up the runtime.
        let flushing = tokio::task::spawn_blocking(move || processor.force_flush());
        let _ = tokio::time::timeout(limit, flushing).await;
    }

    pub(super) async fn shutdown(&self, limit: Duration) {
        if self.closed.swap(true, Ordering::AcqRel) {
            return;
        }
        let processor = Arc::clone(&self.processor);
        let stopping = tokio::task::spawn_blocking(move || processor.shutdown_with_timeout(limit));
        let _ = tokio::time::timeout(limit, stopping).await;
    }
}

fn processor<E: SpanExporter + 'static>(
    exporter: E,
    config: &TelemetryConfig,
    metrics: &Arc<Metrics>,
) -> BatchSpanProcessor {
    let batches = BatchConfigBuilder::default()
        .with_max_queue_size(config.spans.max_queue)
        .with_max_export_batch_size(config.spans.max_batch)
        .with_scheduled_delay(config.spans.delay)
        .build();
    let exporter = Counting { exporter, metrics: Arc::clone(metrics) };
    let mut processor = BatchSpanProcessor::builder(exporter).with_batch_config(batches).build();
    processor.set_resource(&encode::resource(&metrics.resource));
    processor
}

fn otlp(
    config: &TelemetryConfig,
    runtime: &Handle,
    tls: &Tls,
) -> Result<opentelemetry_otlp::SpanExporter, BuildError> {
    let address = config.otlp.address(Signal::Traces).unwrap_or_default();
    let timeout = *config.otlp.timeout.of(Signal::Traces);
    let headers = config.otlp.headers.of(Signal::Traces);
    let headers: HashMap<_, _> = headers
        .iter()
        .filter_map(|(name, value)| Some((name.to_string(), value.to_str().ok()?.to_owned())))
        .collect();
    let exporter = opentelemetry_otlp::SpanExporter::builder()
        .with_http()
        .with_http_client(ExportClient::new(runtime, timeout, tls.clone()))
        .with_protocol(Protocol::HttpBinary)
        .with_endpoint(address.to_string())
        .with_headers(headers)
        .with_timeout(timeout);
    let exporter = match config.otlp.compression {
        Compression::Gzip => exporter.with_compression(opentelemetry_otlp::Compression::Gzip),
        Compression::None => exporter,
    };
    exporter.build().map_err(|e| BuildError::Exporter(e.into()))
}

#[cfg(feature = "grpc")]
fn grpc(
    config: &TelemetryConfig,
    runtime: &Handle,
    metrics: &Arc<Metrics>,
) -> Result<BatchSpanProcessor, BuildError> {
    use opentelemetry_otlp::WithTonicConfig;
    use opentelemetry_otlp::tonic_types::metadata::MetadataMap;

    let otlp = &config.otlp;
    // gRPC has one address for all signals, and its paths are its own.
    let address = otlp.signals.traces.as_ref().or(otlp.endpoint.as_ref());
    let headers = otlp.headers.of(Signal::Traces).iter().cloned().collect();
    // The channel is driven by tasks of this runtime, whatever thread asks for an export.
    let _inside = runtime.enter();
    let exporter = opentelemetry_otlp::SpanExporter::builder()
        .with_tonic()
        .with_endpoint(address.map(ToString::to_string).unwrap_or_default())
        .with_metadata(MetadataMap::from_headers(headers))
        .with_timeout(*otlp.timeout.of(Signal::Traces))
        .build()
        .map_err(|e| BuildError::Exporter(e.into()))?;
    Ok(processor(exporter, config, metrics))
}

#[cfg(not(feature = "grpc"))]
fn grpc(
    _config: &TelemetryConfig,
    _runtime: &Handle,
    _metrics: &Arc<Metrics>,
) -> Result<BatchSpanProcessor, BuildError> {
    let (key, wanted) = ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc");
    Err(BuildError::NotBuilt { key, wanted, feature: "grpc" })
}

#[cfg(feature = "zipkin")]
fn zipkin(
    config: &TelemetryConfig,
    runtime: &Handle,
    metrics: &Arc<Metrics>,
    tls: &Tls,
) -> Result<BatchSpanProcessor, BuildError> {
    let client = ExportClient::new(runtime, config.zipkin.timeout, tls.clone());
    let service = metrics.resource.first().map(|(_, name)| name.clone()).unwrap_or_default();
    let address = config.zipkin.endpoint.clone();
    Ok(processor(super::zipkin::ZipkinExporter::new(client, address, service), config, metrics))
}

#[cfg(not(feature = "zipkin"))]
fn zipkin(
    _config: &TelemetryConfig,
    _runtime: &Handle,
    _metrics: &Arc<Metrics>,
    _tls: &Tls,
) -> Result<BatchSpanProcessor, BuildError> {
    let (key, wanted) = ("OTEL_TRACES_EXPORTER", "zipkin");
    Err(BuildError::NotBuilt { key, wanted, feature: "zipkin" })
}

/// An exporter whose batches are counted.
struct Counting<E> {
    exporter: E,
    metrics: Arc<Metrics>,
}

impl<E: SpanExporter> SpanExporter for Counting<E> {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let spans = batch.len();
        self.metrics.export.dequeued(spans);
        let result = self.exporter.export(batch).await;
        self.metrics.export.spans_sent(spans, result.is_ok());
        self.metrics.export.sent(Signal::Traces, result.is_ok());
        result
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.exporter.shutdown_with_timeout(timeout)
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.exporter.force_flush()
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.exporter.set_resource(resource);
    }
}

impl<E> fmt::Debug for Counting<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Counting").finish_non_exhaustive()
    }
}
