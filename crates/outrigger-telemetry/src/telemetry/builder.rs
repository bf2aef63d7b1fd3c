//! How a handle is made.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::{Instant, SystemTime};

use outrigger_core::{Clock, Ratio};
use tokio::runtime::Handle;

use super::{Inner, Telemetry};
use crate::Sampler;
use crate::config::{EnvError, TelemetryConfig};
use crate::export::Exporters;
use crate::metrics::Metrics;
use crate::propagation::Propagators;
use crate::span::SpanSink;

/// Why a handle cannot be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// The exporter of spans cannot be made of what was configured.
    #[error("the exporter of spans refuses its configuration")]
    Exporter(#[source] outrigger_core::BoxError),
    /// A protocol was asked for whose feature is off.
    #[error("`{key}` asks for {wanted:?}, which needs the feature `{feature}`")]
    NotBuilt {
        /// The variable, or the setting of the same meaning.
        key: &'static str,
        /// What was asked for.
        wanted: &'static str,
        /// What must be switched on.
        feature: &'static str,
    },
}

/// Describes a [`Telemetry`].
///
/// What is said here in code wins over the environment, with one exception: `OTEL_TRACES_SAMPLER`
/// wins over [`with_sample_ratio`](Self::with_sample_ratio), which is the place for a policy's
/// ratio.
#[derive(Debug, Default)]
#[must_use]
pub struct TelemetryBuilder {
    service: Option<String>,
    version: Option<String>,
    instance: Option<String>,
    resource: Vec<(String, String)>,
    ratio: Option<Ratio>,
    propagators: Option<Propagators>,
    endpoint: Option<String>,
    sinks: Vec<Arc<dyn SpanSink>>,
    clock: Option<Arc<dyn Clock>>,
    config: TelemetryConfig,
}

impl TelemetryBuilder {
    /// Names the service. Default: `OTEL_SERVICE_NAME`, then `service.name` of
    /// `OTEL_RESOURCE_ATTRIBUTES`, then `unknown_service`.
    pub fn service(mut self, name: impl Into<String>) -> Self {
        self.service = Some(name.into());
        self
    }

    /// Tells its version.
    pub fn version(mut self, version: impl Into<String>) -> Self {
        self.version = Some(version.into());
        self
    }

    /// Tells which instance of the service this is.
    pub fn instance_id(mut self, id: impl Into<String>) -> Self {
        self.instance = Some(id.into());
        self
    }

    /// Adds an attribute of whoever measures.
    pub fn with_resource(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.resource.push((key.into(), value.into()));
        self
    }

    /// Keeps this share of the traces that start here, unless `OTEL_TRACES_SAMPLER` is set.
    pub const fn with_sample_ratio(mut self, ratio: Ratio) -> Self {
        self.ratio = Some(ratio);
        self
    }

    /// Says which headers are read and written.
    pub const fn with_propagators(mut self, propagators: Propagators) -> Self {
        self.propagators = Some(propagators);
        self
    }

    /// Exports over OTLP to `http://host:port`, with the signal's path appended.
    pub fn with_otlp_endpoint(mut self, endpoint: impl Into<String>) -> Self {
        self.endpoint = Some(endpoint.into());
        self
    }

    /// Hands finished spans to one more sink.
    pub fn with_span_sink(mut self, sink: Arc<dyn SpanSink>) -> Self {
        self.sinks.push(sink);
        self
    }

    /// Takes time from `clock`. Default: tokio's clock and the system's time of day.
    pub fn with_clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = Some(clock);
        self
    }

    /// Uses a whole configuration, for example one that a test made.
    pub fn with_config(mut self, config: TelemetryConfig) -> Self {
        self.config = config;
        self
    }

    /// Reads the `OTEL_*` variables listed at [`TelemetryConfig`].
    ///
    /// # Errors
    /// [`EnvError`] names the variable, its value and what is allowed.
    pub fn from_env(mut self) -> Result<Self, EnvError> {
        self.config = TelemetryConfig::from_env()?;
        Ok(self)
    }

    /// Makes the handle; exporters run on `runtime` and on one thread of their own.
    ///
    /// # Errors
    /// [`BuildError`], for an export that cannot work.
    pub fn build(self, runtime: &Handle) -> Result<Telemetry, BuildError> {
        let mut config = self.config;
        if let Some(endpoint) = self.endpoint {
            config.otlp.set_endpoint(&endpoint)?;
        }
        let resource = resource(
            &config,
            [
                ("service.name", self.service),
                ("service.version", self.version),
                ("service.instance.id", self.instance),
            ],
            self.resource,
        );
        let service = resource[0].1.as_str().into();
        let sampler = match (config.sampler, self.ratio) {
            (Some(sampler), _) => sampler,
            (None, Some(ratio)) => Sampler::parent_based(ratio),
            (None, None) => Sampler::default(),
        };
        let metrics = Arc::new(Metrics::new(resource));
        let clock = self.clock.unwrap_or_else(|| Arc::new(TokioClock));
        let exporters = if config.disabled {
            Exporters::default()
        } else {
            Exporters::start(&config, runtime, &metrics, clock.wall())?
        };
        Ok(Telemetry(Arc::new(Inner {
            service,
            clock,
            sampler,
            served: AtomicU64::new(u64::MAX),
            is_told: config.sampler.is_some() || self.ratio.is_some(),
            propagators: self.propagators.or(config.propagators).unwrap_or_default(),
            sinks: self.sinks.into(),
            exporters,
            metrics,
            enabled: !config.disabled,
        })))
    }
}

/// Attributes of whoever measures, the service's name first; code wins over the environment.
fn resource(
    config: &TelemetryConfig,
    named: [(&str, Option<String>); 3],
    said: Vec<(String, String)>,
) -> Vec<(String, String)> {
    let mut all: Vec<(String, String)> = Vec::new();
    let mut set = |key: &str, value: String| {
        if !all.iter().any(|(known, _)| known == key) {
            all.push((key.to_owned(), value));
        }
    };
    let from_env = |key: &str| config.resource.iter().find(|(k, _)| k == key).map(|(_, v)| v);
    for (key, value) in named {
        let mut value = value;
        if key == "service.name" {
            value = value.or_else(|| config.service.clone());
        }
        let value = value.or_else(|| from_env(key).cloned());
        match value {
            Some(value) => set(key, value),
            None if key == "service.name" => set(key, "unknown_service".to_owned()),
            None => {}
        }
    }
    for (key, value) in said.into_iter().chain(config.resource.iter().cloned()) {
        set(&key, value);
    }
    set("telemetry.sdk.language", "rust".to_owned());
    set("telemetry.sdk.name", "outrigger".to_owned());
    set("telemetry.sdk.version", env!("CARGO_PKG_VERSION").to_owned());
    all
}

pub(super) fn disabled(service: &str) -> Telemetry {
    let config = TelemetryConfig::default();
    let resource = resource(
        &config,
        [("service.name", Some(service.to_owned())), ("", None), ("", None)],
        Vec::new(),
    );
    Telemetry(Arc::new(Inner {
        service: service.into(),
        clock: Arc::new(TokioClock),
        sampler: Sampler::default(),
        served: AtomicU64::new(u64::MAX),
        is_told: false,
        propagators: Propagators::default(),
        sinks: Box::default(),
        exporters: Exporters::default(),
        metrics: Arc::new(Metrics::new(resource)),
        enabled: false,
    }))
}

/// tokio's clock, which a test can stop, and the system's time of day.
#[derive(Debug)]
struct TokioClock;

impl Clock for TokioClock {
    #[expect(
        clippy::disallowed_methods,
        reason = "the edge: whoever starts things may hand down another clock"
    )]
    fn now(&self) -> Instant {
        tokio::time::Instant::now().into_std()
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "the edge: whoever starts things may hand down another clock"
    )]
    fn wall(&self) -> SystemTime {
        SystemTime::now()
    }
}
