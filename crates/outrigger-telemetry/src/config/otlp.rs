//! How the collector is reached.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use http::{HeaderName, HeaderValue, Uri};

use crate::BuildError;
use crate::metrics::Signal;

/// How messages to the collector are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum OtlpProtocol {
    /// Protobuf over HTTP/1.1.
    #[default]
    HttpProtobuf,
    /// gRPC, for spans; needs the feature `grpc`. Metrics and logs stay with HTTP.
    Grpc,
}

/// How messages to the collector are packed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Compression {
    /// Not at all.
    #[default]
    None,
    /// gzip; needs the feature `gzip`.
    Gzip,
}

/// How the collector is reached.
///
/// Header values may be secrets: `Debug` shows their names only.
#[derive(Clone)]
#[non_exhaustive]
pub struct OtlpConfig {
    /// Base address; without one, and without a signal's own, nothing is exported.
    pub endpoint: Option<Uri>,
    /// Whole addresses, which win over `endpoint`.
    pub signals: PerSignal<Option<Uri>>,
    /// Headers of every message.
    pub headers: PerSignal<Vec<(HeaderName, HeaderValue)>>,
    /// For one message. Default 10 s.
    pub timeout: PerSignal<Duration>,
    /// Default none.
    pub compression: Compression,
    /// Default `http/protobuf`.
    pub protocol: OtlpProtocol,
    /// Whom to trust behind `https://`, and who we are; needs the feature `tls`.
    pub tls: OtlpTls,
}

/// Files in PEM that are read once, when the handle is made.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct OtlpTls {
    /// Certificates that sign the collector's. Default: those of the system.
    pub certificate: Option<PathBuf>,
    /// Our certificate chain; goes with `client_key`.
    pub client_certificate: Option<PathBuf>,
    /// Our private key.
    pub client_key: Option<PathBuf>,
}

/// One of each for traces, metrics and logs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "OTLP has these three signals")]
pub struct PerSignal<T> {
    /// For spans.
    pub traces: T,
    /// For metrics.
    pub metrics: T,
    /// For logs.
    pub logs: T,
}

impl<T> PerSignal<T> {
    pub(crate) const fn of(&self, signal: Signal) -> &T {
        match signal {
            Signal::Traces => &self.traces,
            Signal::Metrics => &self.metrics,
            Signal::Logs => &self.logs,
        }
    }
}

impl Default for OtlpConfig {
    fn default() -> Self {
        let ten = Duration::from_secs(10);
        Self {
            endpoint: None,
            signals: PerSignal::default(),
            headers: PerSignal::default(),
            timeout: PerSignal { traces: ten, metrics: ten, logs: ten },
            compression: Compression::None,
            protocol: OtlpProtocol::HttpProtobuf,
            tls: OtlpTls::default(),
        }
    }
}

impl OtlpConfig {
    /// The whole address for a signal.
    pub(crate) fn address(&self, signal: Signal) -> Option<Uri> {
        if let Some(own) = self.signals.of(signal) {
            return Some(own.clone());
        }
        let base = self.endpoint.as_ref()?;
        let path = match signal {
            Signal::Traces => "v1/traces",
            Signal::Metrics => "v1/metrics",
            Signal::Logs => "v1/logs",
        };
        let root = base.path().trim_end_matches('/');
        let mut parts = base.clone().into_parts();
        parts.path_and_query = format!("{root}/{path}").parse().ok();
        Uri::from_parts(parts).ok()
    }

    pub(crate) fn set_endpoint(&mut self, endpoint: &str) -> Result<(), BuildError> {
        let uri = super::env::endpoint(endpoint).ok_or_else(|| {
            BuildError::Exporter(format!("{endpoint:?} is no http or https address").into())
        })?;
        self.endpoint = Some(uri);
        self.signals = PerSignal::default();
        Ok(())
    }
}

impl fmt::Debug for OtlpConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = |headers: &Vec<(HeaderName, HeaderValue)>| {
            headers.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>()
        };
        f.debug_struct("OtlpConfig")
            .field("endpoint", &self.endpoint)
            .field("signals", &self.signals)
            .field("headers", &names(&self.headers.traces))
            .field("timeout", &self.timeout)
            .field("compression", &self.compression)
            .field("protocol", &self.protocol)
            .field("tls", &self.tls)
            .finish()
    }
}
