//! What the environment says.

mod env;
mod otlp;

use std::time::Duration;

pub use env::EnvError;
pub use otlp::{Compression, OtlpConfig, OtlpProtocol, OtlpTls, PerSignal};

use crate::Sampler;
use crate::propagation::Propagators;

/// Where finished spans go, beside the sinks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum TracesExporter {
    /// To a collector, if an endpoint is known; else nowhere.
    #[default]
    Otlp,
    /// To Zipkin, as v2 JSON; needs the feature `zipkin`.
    Zipkin,
    /// Nowhere.
    None,
}

/// Everything that is read from the environment.
///
/// Default: as stated below, which is what an empty environment gives. A value that cannot be
/// understood is an error that names the variable, where the specification would warn and go on:
/// a misspelt endpoint is found at the start, not when a trace is missed.
///
/// | variable | meaning | default |
/// | --- | --- | --- |
/// | `OTEL_SDK_DISABLED` | `true`: record and export nothing, still pass traces on | `false` |
/// | `OTEL_SERVICE_NAME` | the service's name, where the code gives none | |
/// | `OTEL_RESOURCE_ATTRIBUTES` | `key=value,…`, percent-encoded | |
/// | `OTEL_PROPAGATORS` | of `tracecontext`, `baggage`, `b3`, `b3multi`, or `none` | read all, write the first two |
/// | `OTEL_TRACES_SAMPLER` | `always_on`, `always_off`, `traceidratio`, `parentbased_…` of these | `parentbased_traceidratio` |
/// | `OTEL_TRACES_SAMPLER_ARG` | 0 to 1 | 1 when a ratio sampler is named, else 0.01 |
/// | `OTEL_TRACES_EXPORTER` | `otlp`, `zipkin`, `none` | `otlp` |
/// | `OTEL_METRICS_EXPORTER` | `otlp`, `prometheus` (the text page, always there), `none` | `otlp` |
/// | `OTEL_LOGS_EXPORTER` | `otlp`, `none`; needs the feature `logs` | `otlp` |
/// | `OTEL_EXPORTER_OTLP_ENDPOINT` | base address; `/v1/traces` and so on are appended | none: nothing is exported |
/// | `OTEL_EXPORTER_OTLP_{TRACES,METRICS,LOGS}_ENDPOINT` | whole address for one signal | |
/// | `OTEL_EXPORTER_OTLP_HEADERS`, `…_{TRACES,METRICS,LOGS}_HEADERS` | `key=value,…`, percent-encoded | |
/// | `OTEL_EXPORTER_OTLP_TIMEOUT`, `…_{TRACES,METRICS,LOGS}_TIMEOUT` | milliseconds for one message | 10,000 |
/// | `OTEL_EXPORTER_OTLP_COMPRESSION` | `none`, `gzip` (feature `gzip`) | `none` |
/// | `OTEL_EXPORTER_OTLP_PROTOCOL` | `http/protobuf`, `grpc` (feature `grpc`, spans only) | `http/protobuf` |
/// | `OTEL_EXPORTER_OTLP_CERTIFICATE`, `…_CLIENT_CERTIFICATE`, `…_CLIENT_KEY` | PEM files (feature `tls`) | the system's roots |
/// | `OTEL_EXPORTER_ZIPKIN_ENDPOINT`, `…_TIMEOUT` | address and milliseconds | `http://localhost:9411/api/v2/spans`, 10,000 |
/// | `OTEL_BSP_SCHEDULE_DELAY` | milliseconds between two batches | 5,000 |
/// | `OTEL_BSP_MAX_QUEUE_SIZE` | most spans that wait | 2,048 |
/// | `OTEL_BSP_MAX_EXPORT_BATCH_SIZE` | most spans in a batch; not above the queue's size | 512 |
/// | `OTEL_BLRP_SCHEDULE_DELAY`, `…_MAX_QUEUE_SIZE`, `…_MAX_EXPORT_BATCH_SIZE` | the same for logs | 1,000, 2,048, 512 |
/// | `OTEL_METRIC_EXPORT_INTERVAL` | milliseconds between two exports | 60,000 |
/// | `OTEL_METRIC_EXPORT_TIMEOUT` | milliseconds for one | 30,000 |
///
/// Unlike the specification's default, nothing is sent to `localhost:4318` unless an endpoint is
/// named: a fleet without a collector should not knock on a port every five seconds.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct TelemetryConfig {
    /// Record and export nothing.
    pub disabled: bool,
    /// The service's name, where the code gives none.
    pub service: Option<String>,
    /// Attributes of whoever measures.
    pub resource: Vec<(String, String)>,
    /// Which headers are read and written.
    pub propagators: Option<Propagators>,
    /// Which traces are kept.
    pub sampler: Option<Sampler>,
    /// Where spans go.
    pub traces: TracesExporter,
    /// Whether metrics are sent to the collector.
    pub metrics_off: bool,
    /// Whether logs are sent to the collector.
    pub logs_off: bool,
    /// How the collector is reached.
    pub otlp: OtlpConfig,
    /// How Zipkin is reached.
    pub zipkin: ZipkinConfig,
    /// How spans are batched.
    pub spans: BatchConfig,
    /// How logs are batched.
    pub logs: LogBatchConfig,
    /// When metrics are sent.
    pub metrics: PeriodicConfig,
}

/// How Zipkin is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ZipkinConfig {
    /// Default `http://localhost:9411/api/v2/spans`.
    pub endpoint: http::Uri,
    /// For one message. Default 10 s.
    pub timeout: Duration,
}

impl Default for ZipkinConfig {
    fn default() -> Self {
        Self {
            endpoint: http::Uri::from_static("http://localhost:9411/api/v2/spans"),
            timeout: Duration::from_secs(10),
        }
    }
}

/// How spans are batched.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct BatchConfig {
    /// Between two batches. Default 5 s.
    pub delay: Duration,
    /// Most that wait; more are dropped and counted. Default 2,048.
    pub max_queue: usize,
    /// Most in one message. Default 512.
    pub max_batch: usize,
}

impl Default for BatchConfig {
    fn default() -> Self {
        Self { delay: Duration::from_secs(5), max_queue: 2048, max_batch: 512 }
    }
}

/// How logs are batched.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LogBatchConfig {
    /// Between two batches. Default 1 s.
    pub delay: Duration,
    /// Most that wait; more are dropped and counted. Default 2,048.
    pub max_queue: usize,
    /// Most in one message. Default 512.
    pub max_batch: usize,
}

impl Default for LogBatchConfig {
    fn default() -> Self {
        Self { delay: Duration::from_secs(1), max_queue: 2048, max_batch: 512 }
    }
}

/// When metrics are sent.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PeriodicConfig {
    /// Between two exports. Default 60 s.
    pub interval: Duration,
    /// For one export. Default 30 s.
    pub timeout: Duration,
}

impl Default for PeriodicConfig {
    fn default() -> Self {
        Self { interval: Duration::from_secs(60), timeout: Duration::from_secs(30) }
    }
}
