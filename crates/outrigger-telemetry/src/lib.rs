//! Spans, propagation, metrics and export for Outrigger, without a global anywhere.
//!
//! A [`Telemetry`] belongs to one service of the process: it decides what is sampled, hands
//! finished spans to its [`SpanSink`]s and to a collector, and counts in its [`Metrics`]. Three
//! layers put it to work: [`ClientTraceLayer`] around the whole call, [`TryTraceLayer`] around
//! each try, [`ServerTraceLayer`] around a server. An unsampled request allocates nothing here:
//! `traceparent` is read and written by hand, and a span exists only when it will be kept.
//!
//! ```
//! use outrigger_core::Ratio;
//! use outrigger_telemetry::Telemetry;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let telemetry = Telemetry::builder()
//!     .service("orders")
//!     .version("1.4.0")
//!     .with_sample_ratio(Ratio::from_percent(5))
//!     .from_env()?
//!     .build(&tokio::runtime::Handle::current())?;
//!
//! let trace = telemetry.root();
//! assert!(trace.is_valid());
//!
//! let mut page = String::new();
//! telemetry.metrics().encode(&mut page);
//! assert!(page.contains("outrigger_tries_total"));
//! telemetry.shutdown(std::time::Duration::from_secs(2)).await;
//! # Ok(())
//! # }
//! ```
//!
//! Where to look next: [`propagation`] for the headers, `docs/metrics.md` for what each metric
//! means and what to do when it moves, [`TelemetryConfig`] for the environment.
//!
//! | feature | what it adds |
//! | --- | --- |
//! | `tls` (default) | collectors behind `https://` |
//! | `gzip` | packed messages |
//! | `grpc` | OTLP over gRPC for spans; metrics and logs stay with HTTP |
//! | `zipkin` | spans as Zipkin's v2 JSON |
//! | `tracing-events` | `tracing` events as events of the span that is being served |
//! | `logs` | `tracing` events as logs over OTLP, with the trace they belong to |

pub mod propagation;

mod access_log;
mod client_trace;
mod config;
#[cfg(any(feature = "logs", feature = "tracing-events"))]
mod events;
mod export;
mod inherited;
mod metrics;
mod request;
mod sampler;
mod server_trace;
mod span;
mod telemetry;
mod traced;
mod try_trace;

pub use access_log::{AccessLog, AccessLogError, AccessLogTo};
pub use client_trace::{ClientTrace, ClientTraceLayer};
pub use config::{
    BatchConfig, Compression, EnvError, LogBatchConfig, OtlpConfig, OtlpProtocol, OtlpTls,
    PerSignal, PeriodicConfig, TelemetryConfig, TracesExporter, ZipkinConfig,
};
#[cfg(feature = "logs")]
pub use events::LogLayer;
#[cfg(feature = "tracing-events")]
pub use events::SpanEventLayer;
pub use inherited::{Inherited, current, scope};
pub use metrics::{CATALOGUE, MAX_PAGE, MetricInfo, MetricKind, Metrics};
pub use request::HttpRequest;
pub use sampler::Sampler;
pub use server_trace::{ServerFuture, ServerTrace, ServerTraceLayer, Trust};
pub use span::{
    Attribute, FinishedSpan, SpanEvent, SpanKind, SpanLink, SpanSink, SpanStatus, Value,
};
pub use telemetry::{BuildError, ExportStats, Telemetry, TelemetryBuilder};
pub use traced::{TracedBody, TracedFuture};
pub use try_trace::{TryTrace, TryTraceLayer};
