//! What can be typed after `outrigger render`.

use std::path::PathBuf;

use clap::Args;
use outrigger_mesh::Target;

use super::policy::RegistryArgs;

pub(crate) const HELP: &str = "Examples:\n  \
    outrigger render --target istio --out mesh/istio policies\n  \
    outrigger render --target istio --out mesh/istio --check policies\n  \
    outrigger render --target envoy --out envoy --from-consul --strict inventory.yaml\n\n\
    Files that are written or would be are named on stdout. A file of ours that is not rendered any \
    more is named and left: whoever applies the folder removes it.\n\n\
    Exit codes: 0 done, or with --check nothing to do; 1 what was looked at does not hold: --check \
    found another text, --strict a field that is not exact; 2 usage, or a policy that is of no use, \
    with its place; 3 the registry cannot be reached or denies it.";

/// Flags of `render`.
#[derive(Debug, Args)]
pub(crate) struct RenderArgs {
    /// Policies, folders of them, or `-` for stdin.
    #[arg(required = true, value_name = "FILES")]
    pub(crate) files: Vec<String>,
    /// Who enforces the rules: istio or envoy.
    #[arg(long, env = "OUTRIGGER_TARGET", value_name = "istio|envoy")]
    pub(crate) target: Target,
    /// The folder of the files; made when it is not there.
    #[arg(long, env = "OUTRIGGER_OUT", value_name = "DIR")]
    pub(crate) out: PathBuf,
    /// Refuse what the policies say and the target does not do exactly.
    #[arg(long, env = "OUTRIGGER_STRICT", value_parser = super::flag())]
    pub(crate) strict: bool,
    /// Write nothing, and tell whether the folder holds what would be written.
    #[arg(long, env = "OUTRIGGER_CHECK", value_parser = super::flag())]
    pub(crate) check: bool,
    /// The namespace that Istio's resources name; none when left out.
    #[arg(long, env = "OUTRIGGER_NAMESPACE", value_name = "NAME")]
    pub(crate) namespace: Option<String>,
    /// Take the services' instances from the registry: entries for Istio, endpoints for Envoy.
    #[arg(long, env = "OUTRIGGER_FROM_CONSUL", value_parser = super::flag())]
    pub(crate) from_consul: bool,
    #[command(flatten)]
    pub(crate) registry: RegistryArgs,
}
