//! What a fleet is made with: its registry and its telemetry.

use std::sync::Arc;

use outrigger_consul::{AgentAddress, Consul, ConsulConfig};
use outrigger_core::{Clock, Observers, Ratio, ServiceName};
use outrigger_discovery::{KeyWatcher, Registrar, Resolver};
use outrigger_telemetry::{SpanSink, Telemetry};

use super::JoinError;

/// The registry's ports, and where it is when it is Consul.
#[derive(Default)]
pub(super) struct Registry {
    pub(super) resolver: Option<Arc<dyn Resolver>>,
    pub(super) registrar: Option<Arc<dyn Registrar>>,
    pub(super) keys: Option<Arc<dyn KeyWatcher>>,
    pub(super) at: Option<AgentAddress>,
}

/// What is made of Consul, where it is the registry.
pub(super) fn consul(
    url: Option<&str>,
    clock: &Arc<dyn Clock>,
    observers: &Observers,
) -> Result<Registry, JoinError> {
    let mut config = match url {
        Some("none") => return Ok(Registry::default()),
        // What else the environment says of Consul (token, certificates) holds for this URL too.
        Some(url) => ConsulConfig::from_lookup(|variable| match variable {
            "CONSUL_HTTP_ADDR" => Some(url.to_owned()),
            other => std::env::var(other).ok(),
        })?,
        None => ConsulConfig::from_env()?,
    };
    config = config.with_clock(Arc::clone(clock)).with_observers(observers.clone());
    let at = Some(config.address.clone());
    let consul = Arc::new(Consul::new(config)?);
    Ok(Registry {
        resolver: Some(Arc::clone(&consul) as _),
        registrar: Some(Arc::clone(&consul) as _),
        keys: Some(consul as _),
        at,
    })
}

/// A telemetry as the environment says.
pub(super) fn telemetry(
    service: &ServiceName,
    version: Option<&str>,
    sample: Option<Ratio>,
    sinks: Vec<Arc<dyn SpanSink>>,
    clock: &Arc<dyn Clock>,
    runtime: &tokio::runtime::Handle,
) -> Result<Telemetry, JoinError> {
    let mut builder = Telemetry::builder()
        .service(service.as_str())
        .with_clock(Arc::clone(clock))
        .from_env()
        .map_err(|error| JoinError::Telemetry(error.into()))?;
    if let Some(version) = version {
        builder = builder.version(version);
    }
    if let Some(ratio) = sample {
        builder = builder.with_sample_ratio(ratio);
    }
    for sink in sinks {
        builder = builder.with_span_sink(sink);
    }
    builder.build(runtime).map_err(|error| JoinError::Telemetry(error.into()))
}
