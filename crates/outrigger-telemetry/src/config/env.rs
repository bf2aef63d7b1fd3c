//! Reading the environment, once.

use std::time::Duration;

use http::{HeaderName, HeaderValue, Uri};
use outrigger_core::Ratio;

use super::{Compression, OtlpProtocol, TelemetryConfig, TracesExporter};
use crate::Sampler;
use crate::propagation::{Formats, Propagators};

/// A variable that cannot be understood.
///
/// The value is shown except where it may be a secret.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{key} is {value:?}; allowed: {allowed}")]
#[non_exhaustive]
pub struct EnvError {
    /// The variable.
    pub key: String,
    /// Its value, or `…` for headers.
    pub value: String,
    /// What it may be.
    pub allowed: &'static str,
}

const MILLIS: &str = "milliseconds, 1 to 3600000";
const COUNT: &str = "a number, 1 to 1000000";
const ENDPOINT: &str = "an address such as http://collector:4318";

type Result<T> = std::result::Result<T, EnvError>;

/// Looks variables up; an empty one counts as absent, as the specification has it.
struct Env<'l>(&'l dyn Fn(&str) -> Option<String>);

impl Env<'_> {
    fn get(&self, key: &str) -> Option<String> {
        (self.0)(key).map(|v| v.trim().to_owned()).filter(|v| !v.is_empty())
    }

    fn parsed<T>(
        &self,
        key: &str,
        allowed: &'static str,
        read: impl FnOnce(&str) -> Option<T>,
    ) -> Result<Option<T>> {
        let Some(value) = self.get(key) else { return Ok(None) };
        match read(&value) {
            Some(parsed) => Ok(Some(parsed)),
            None => {
                // What stands before an `@` in an address is a password.
                let secret = allowed == ENDPOINT && value.contains('@');
                let value = if secret { "…".to_owned() } else { value };
                Err(EnvError { key: key.to_owned(), value, allowed })
            }
        }
    }

    fn millis(&self, key: &str, into: &mut Duration) -> Result<()> {
        let read = |v: &str| v.parse().ok().filter(|ms| (1..=3_600_000).contains(ms));
        if let Some(ms) = self.parsed(key, MILLIS, read)? {
            *into = Duration::from_millis(ms);
        }
        Ok(())
    }

    fn count(&self, key: &str, into: &mut usize) -> Result<()> {
        let read = |v: &str| v.parse().ok().filter(|n| (1..=1_000_000).contains(n));
        if let Some(count) = self.parsed(key, COUNT, read)? {
            *into = count;
        }
        Ok(())
    }
}

impl TelemetryConfig {
    /// Reads the process's environment.
    ///
    /// # Errors
    /// [`EnvError`] names the variable, its value and what is allowed.
    pub fn from_env() -> Result<Self> {
        Self::from_lookup(|key| std::env::var(key).ok())
    }

    /// Reads whatever `lookup` says is the environment.
    ///
    /// # Errors
    /// [`EnvError`] names the variable, its value and what is allowed.
    pub fn from_lookup(lookup: impl Fn(&str) -> Option<String>) -> Result<Self> {
        let env = Env(&lookup);
        let mut config = Self::default();
        let flag = |v: &str| match v.to_ascii_lowercase().as_str() {
            "true" => Some(true),
            "false" => Some(false),
            _ => None,
        };
        config.disabled = env.parsed("OTEL_SDK_DISABLED", "true, false", flag)?.unwrap_or_default();
        config.service = env.get("OTEL_SERVICE_NAME");
        config.resource = env
            .parsed("OTEL_RESOURCE_ATTRIBUTES", "key=value, separated by commas", pairs)?
            .unwrap_or_default();
        config.propagators = env.parsed(
            "OTEL_PROPAGATORS",
            "tracecontext, baggage, b3, b3multi, separated by commas, or none",
            propagators,
        )?;
        config.sampler = sampler(&env)?;
        exporters(&env, &mut config)?;
        otlp(&env, &mut config)?;
        batches(&env, &mut config)?;
        Ok(config)
    }
}

fn exporters(env: &Env<'_>, config: &mut TelemetryConfig) -> Result<()> {
    let traces = |v: &str| match v {
        "otlp" => Some(TracesExporter::Otlp),
        "zipkin" => Some(TracesExporter::Zipkin),
        "none" => Some(TracesExporter::None),
        _ => None,
    };
    config.traces =
        env.parsed("OTEL_TRACES_EXPORTER", "otlp, zipkin, none", traces)?.unwrap_or_default();
    let off = |v: &str| match v {
        "otlp" => Some(false),
        "prometheus" | "none" => Some(true),
        _ => None,
    };
    config.metrics_off =
        env.parsed("OTEL_METRICS_EXPORTER", "otlp, prometheus, none", off)?.unwrap_or_default();
    let off = |v: &str| match v {
        "otlp" => Some(false),
        "none" => Some(true),
        _ => None,
    };
    config.logs_off = env.parsed("OTEL_LOGS_EXPORTER", "otlp, none", off)?.unwrap_or_default();
    let zipkin = &mut config.zipkin;
    if let Some(uri) = env.parsed("OTEL_EXPORTER_ZIPKIN_ENDPOINT", ENDPOINT, endpoint)? {
        zipkin.endpoint = uri;
    }
    env.millis("OTEL_EXPORTER_ZIPKIN_TIMEOUT", &mut zipkin.timeout)
}

fn otlp(env: &Env<'_>, config: &mut TelemetryConfig) -> Result<()> {
    let otlp = &mut config.otlp;
    otlp.endpoint = env.parsed("OTEL_EXPORTER_OTLP_ENDPOINT", ENDPOINT, endpoint)?;
    let general = headers(env, "OTEL_EXPORTER_OTLP_HEADERS")?;
    let mut timeout = otlp.timeout.traces;
    env.millis("OTEL_EXPORTER_OTLP_TIMEOUT", &mut timeout)?;
    let (signals, all_headers, timeouts) =
        (&mut otlp.signals, &mut otlp.headers, &mut otlp.timeout);
    for (signal, own, headers_of, timeout_of) in [
        ("TRACES", &mut signals.traces, &mut all_headers.traces, &mut timeouts.traces),
        ("METRICS", &mut signals.metrics, &mut all_headers.metrics, &mut timeouts.metrics),
        ("LOGS", &mut signals.logs, &mut all_headers.logs, &mut timeouts.logs),
    ] {
        let key = |what: &str| format!("OTEL_EXPORTER_OTLP_{signal}_{what}");
        *own = env.parsed(&key("ENDPOINT"), ENDPOINT, endpoint)?;
        *headers_of =
            headers(env, &key("HEADERS"))?.or_else(|| general.clone()).unwrap_or_default();
        *timeout_of = timeout;
        env.millis(&key("TIMEOUT"), timeout_of)?;
    }
    let compression = |v: &str| match v {
        "none" => Some(Compression::None),
        "gzip" => Some(Compression::Gzip),
        _ => None,
    };
    otlp.compression = env
        .parsed("OTEL_EXPORTER_OTLP_COMPRESSION", "none, gzip", compression)?
        .unwrap_or_default();
    let file = |what: &str| env.get(&format!("OTEL_EXPORTER_OTLP_{what}")).map(Into::into);
    otlp.tls.certificate = file("CERTIFICATE");
    otlp.tls.client_certificate = file("CLIENT_CERTIFICATE");
    otlp.tls.client_key = file("CLIENT_KEY");
    let protocol = |v: &str| match v {
        "http/protobuf" => Some(OtlpProtocol::HttpProtobuf),
        "grpc" => Some(OtlpProtocol::Grpc),
        _ => None,
    };
    otlp.protocol = env
        .parsed("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf, grpc", protocol)?
        .unwrap_or_default();
    Ok(())
}

fn batches(env: &Env<'_>, config: &mut TelemetryConfig) -> Result<()> {
    let spans = &mut config.spans;
    env.millis("OTEL_BSP_SCHEDULE_DELAY", &mut spans.delay)?;
    env.count("OTEL_BSP_MAX_QUEUE_SIZE", &mut spans.max_queue)?;
    env.count("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", &mut spans.max_batch)?;
    spans.max_batch = spans.max_batch.min(spans.max_queue);
    let logs = &mut config.logs;
    env.millis("OTEL_BLRP_SCHEDULE_DELAY", &mut logs.delay)?;
    env.count("OTEL_BLRP_MAX_QUEUE_SIZE", &mut logs.max_queue)?;
    env.count("OTEL_BLRP_MAX_EXPORT_BATCH_SIZE", &mut logs.max_batch)?;
    logs.max_batch = logs.max_batch.min(logs.max_queue);
    env.millis("OTEL_METRIC_EXPORT_INTERVAL", &mut config.metrics.interval)?;
    env.millis("OTEL_METRIC_EXPORT_TIMEOUT", &mut config.metrics.timeout)
}

fn sampler(env: &Env<'_>) -> Result<Option<Sampler>> {
    const KEY: &str = "OTEL_TRACES_SAMPLER";
    let ratio = env.parsed("OTEL_TRACES_SAMPLER_ARG", "a number, 0 to 1", |v| {
        v.parse().ok().and_then(|n| Ratio::new(n).ok())
    })?;
    let allowed = "always_on, always_off, traceidratio, parentbased_always_on, \
                   parentbased_always_off, parentbased_traceidratio";
    let named = env.parsed(KEY, allowed, |v| {
        let (parent_based, root) = match v.strip_prefix("parentbased_") {
            Some(root) => (true, root),
            None => (false, v),
        };
        let ratio = match root {
            "always_on" => Ratio::ONE,
            "always_off" => Ratio::ZERO,
            // The specification's default for a ratio that is not given.
            "traceidratio" => ratio.unwrap_or(Ratio::ONE),
            _ => return None,
        };
        Some(Sampler { ratio, parent_based })
    })?;
    Ok(named.or_else(|| ratio.map(Sampler::parent_based)))
}

fn propagators(list: &str) -> Option<Propagators> {
    let mut formats = Formats::default();
    for word in list.split(',').map(str::trim).filter(|w| !w.is_empty()) {
        match word {
            "tracecontext" => formats.w3c = true,
            "baggage" => formats.baggage = true,
            "b3" => formats.b3 = true,
            "b3multi" => formats.b3_multi = true,
            "none" => {}
            _ => return None,
        }
    }
    Some(Propagators::both(formats))
}

/// An address over http or https, with a host.
pub(super) fn endpoint(text: &str) -> Option<Uri> {
    let uri: Uri = text.parse().ok()?;
    let known = matches!(uri.scheme_str(), Some("http" | "https"));
    // User information would end up in logs; a header is the place for it.
    let plain = uri.authority().is_some_and(|a| !a.host().is_empty() && !a.as_str().contains('@'));
    (known && plain).then_some(uri)
}

fn headers(env: &Env<'_>, key: &str) -> Result<Option<Vec<(HeaderName, HeaderValue)>>> {
    let Some(text) = env.get(key) else { return Ok(None) };
    let read = || {
        let mut headers = Vec::new();
        for (name, value) in pairs(&text)? {
            let mut value = HeaderValue::from_str(&value).ok()?;
            value.set_sensitive(true);
            headers.push((name.parse().ok()?, value));
        }
        Some(headers)
    };
    let allowed = "name=value, separated by commas, values percent-encoded";
    match read() {
        Some(headers) => Ok(Some(headers)),
        None => Err(EnvError { key: key.to_owned(), value: "…".to_owned(), allowed }),
    }
}

/// `key=value,…` with percent-encoded values, as in baggage.
fn pairs(text: &str) -> Option<Vec<(String, String)>> {
    text.split(',')
        .map(str::trim)
        .filter(|pair| !pair.is_empty())
        .map(|pair| {
            let (key, value) = pair.split_once('=')?;
            let key = key.trim();
            (!key.is_empty()).then_some(())?;
            Some((key.to_owned(), decode(value.trim())?))
        })
        .collect()
}

fn decode(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        let byte = if byte == b'%' {
            let mut digit = || char::from(rest.next()?).to_digit(16);
            // Two hex digits always fit.
            (digit()? * 16 + digit()?) as u8
        } else {
            byte
        };
        bytes.push(byte);
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests;
