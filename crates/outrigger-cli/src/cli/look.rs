//! What can be typed after `outrigger services` and `outrigger resolve`.

use clap::Args;
use outrigger::core::{Language, ServiceName};

use super::policy::RegistryArgs;

/// Flags of `services`.
#[derive(Debug, Args)]
pub(crate) struct ServicesArgs {
    /// Only these services, instance by instance.
    #[arg(value_name = "NAME")]
    pub(crate) names: Vec<ServiceName>,
    /// Only instances in this language.
    #[arg(long, env = "OUTRIGGER_LANGUAGE", value_name = "LANGUAGE", value_parser = language)]
    pub(crate) language: Option<Language>,
    /// Go on, and print again whenever something changes.
    #[arg(long, env = "OUTRIGGER_WATCH", value_parser = super::flag())]
    pub(crate) watch: bool,
    /// Print one JSON document on stdout: an array of instances.
    #[arg(long, env = "OUTRIGGER_JSON", value_parser = super::flag())]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) registry: RegistryArgs,
}

/// Flags of `resolve`.
#[derive(Debug, Args)]
pub(crate) struct ResolveArgs {
    /// The service.
    #[arg(value_name = "NAME")]
    pub(crate) name: ServiceName,
    /// The caller's zone; its own is preferred.
    #[arg(long, env = "OUTRIGGER_ZONE", value_name = "ZONE")]
    pub(crate) zone: Option<String>,
    /// Print one JSON document on stdout: an array of endpoints.
    #[arg(long, env = "OUTRIGGER_JSON", value_parser = super::flag())]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) registry: RegistryArgs,
}

fn language(text: &str) -> Result<Language, String> {
    Language::named(text).ok_or_else(|| "a language such as rust, go, java, python or node".into())
}
