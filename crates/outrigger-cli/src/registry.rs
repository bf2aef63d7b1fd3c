//! The registry that flags and environment name.

use anyhow::anyhow;
use outrigger::consul::{ConfigError, Consul, ConsulConfig};

use crate::cli::policy::RegistryArgs;
use crate::policy::Ended;

/// A registry, and its address for messages.
#[derive(Debug)]
pub(crate) struct Named {
    pub(crate) consul: Consul,
    pub(crate) address: String,
}

/// The registry that flags and environment name; nothing is sent yet.
pub(crate) fn named(arguments: &RegistryArgs) -> Result<Named, Ended> {
    let given = arguments.consul.as_deref().filter(|url| !url.is_empty());
    if given == Some("none") {
        return Err(Ended::usage(anyhow!("--consul none: this command needs a registry")));
    }
    let config = ConsulConfig::from_lookup(|variable| match (variable, given) {
        ("CONSUL_HTTP_ADDR", Some(url)) => Some(url.to_owned()),
        _ => std::env::var(variable).ok(),
    });
    let config = config.map_err(|error| match (&error, given) {
        // The flag stands in for the variable, whose name nobody typed.
        (ConfigError::Value { key, value, allowed }, Some(_)) if &**key == "CONSUL_HTTP_ADDR" => {
            Ended::usage(anyhow!("--consul is {value:?}; allowed: {allowed}"))
        }
        _ => Ended::from(error),
    })?;
    let address = config.address.to_string();
    let consul = Consul::new(config).map_err(Ended::from)?;
    Ok(Named { consul, address })
}
