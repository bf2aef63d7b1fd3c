//! What can be typed.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::demo::Role;

pub(crate) mod look;
pub(crate) mod policy;
pub(crate) mod render;
pub(crate) mod sidecar;

const LOOKING: &str = "Exit codes: 0 there is something to show; 1 there is nothing; 2 usage; \
                       3 the registry cannot be reached or denies it; 130 interrupted.";

/// Where the page is served unless somebody says otherwise.
pub(crate) const DEFAULT_PAGE: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 15_990);

/// One set of rules for every service of a fleet.
#[derive(Debug, Parser)]
#[command(name = "outrigger", version, arg_required_else_help = true, max_term_width = 100)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Show a small fleet under trouble, and report which promises were kept.
    #[command(after_help = "Examples:\n  outrigger demo\n  outrigger demo --for 20s --json\n  \
        outrigger demo --registry http://127.0.0.1:8500\n\nExit codes: 0 every promise was kept, \
        1 one was not, 2 bad input, 3 something needed cannot be reached, 130 interrupted.")]
    Demo(DemoArgs),
    /// Run a Consul-compatible agent for development, in this one process.
    #[command(after_help = "Examples:\n  outrigger dev\n  outrigger dev --listen 127.0.0.1:0 \
        --state dev.json\n\nIt is for laptops and tests: one process, no replication, no gossip.")]
    Dev(DevArgs),
    /// Run a program of any language with its sidecar, and end as it does.
    #[command(after_help = sidecar::RUN_HELP)]
    Run(sidecar::RunArgs),
    /// Run a sidecar without a program of its own: the second container.
    #[command(after_help = sidecar::SIDECAR_HELP)]
    Sidecar(sidecar::SidecarArgs),
    /// Show what the registry knows: every service with its instances.
    #[command(after_help = format!("Examples:\n  outrigger services\n  \
        outrigger services inventory --json\n  outrigger services --watch --language java\n\n\
        --json prints an array of instances; with --watch, one such line for each change. {LOOKING}"))]
    Services(look::ServicesArgs),
    /// Tell which instances of a service a caller would get, and why it would not get the others.
    #[command(after_help = format!("Examples:\n  outrigger resolve inventory\n  \
        outrigger resolve inventory --zone eu-west-1a --json\n\n\
        What callers measure (ejection, load) is theirs: see their admin page. A policy's subsets \
        and splits are told by `outrigger policy explain`. {LOOKING}"))]
    Resolve(look::ResolveArgs),
    /// Check policies, look into them, and put them in force.
    #[command(subcommand, arg_required_else_help = true)]
    Policy(policy::PolicyCommand),
    /// Render policies for others to enforce: Istio, a plain Envoy.
    #[command(after_help = render::HELP)]
    Render(render::RenderArgs),
}

/// The values of a flag's variable: `1` and `true` count, `0`, `false`, `no` and nothing do not.
fn flag() -> clap::builder::FalseyValueParser {
    clap::builder::FalseyValueParser::new()
}

/// Flags of `demo`.
#[derive(Debug, Args)]
pub(crate) struct DemoArgs {
    /// How long it takes in all.
    #[arg(long = "for", env = "OUTRIGGER_FOR", default_value = "60s", value_parser = duration,
          value_name = "TIME")]
    pub(crate) span: Duration,
    /// Print one JSON document on stdout, and everything else on stderr.
    #[arg(long, env = "OUTRIGGER_JSON")]
    pub(crate) json: bool,
    /// Use this registry (Consul's URL) instead of an own development agent.
    #[arg(long, env = "OUTRIGGER_REGISTRY", value_name = "URL")]
    pub(crate) registry: Option<String>,
    /// Which fleet to show.
    #[arg(long, env = "OUTRIGGER_FLEET", default_value = "rust")]
    pub(crate) fleet: FleetKind,
    /// Where the page is served, or `off`.
    #[arg(
        long,
        env = "OUTRIGGER_PAGE",
        default_value = "127.0.0.1:15990",
        value_name = "ADDR|off"
    )]
    pub(crate) page: PageAddress,
    /// Requests a second.
    #[arg(long, env = "OUTRIGGER_RATE", default_value_t = 300,
          value_parser = clap::value_parser!(u32).range(1..=5_000))]
    pub(crate) rate: u32,
    /// Be one service of the demo fleet and nothing else; for containers.
    #[arg(long, env = "OUTRIGGER_ROLE", hide = true)]
    pub(crate) role: Option<Role>,
    /// Send requests to a fleet that runs elsewhere, and report; for containers and tests.
    #[arg(long, env = "OUTRIGGER_VISIT", hide = true, conflicts_with = "role")]
    pub(crate) visit: bool,
    /// Ask the service of this container (`PORT`) whether it is healthy; for health checks.
    #[arg(long, env = "OUTRIGGER_PROBE", hide = true, conflicts_with_all = ["role", "visit"])]
    pub(crate) probe: bool,
}

/// Flags of `dev`.
#[derive(Debug, Args)]
pub(crate) struct DevArgs {
    /// Where to listen.
    #[arg(long, env = "OUTRIGGER_LISTEN", default_value = "127.0.0.1:8500", value_name = "ADDR")]
    pub(crate) listen: SocketAddr,
    /// Keep the state in this file.
    #[arg(long, env = "OUTRIGGER_STATE", value_name = "FILE")]
    pub(crate) state: Option<PathBuf>,
    /// Refuse what no token allows.
    #[arg(long, env = "OUTRIGGER_ACL")]
    pub(crate) acl: bool,
    /// Tokens and their rules, as JSON.
    #[arg(long, env = "OUTRIGGER_TOKEN_FILE", value_name = "FILE")]
    pub(crate) token_file: Option<PathBuf>,
}

/// Which services the demo consists of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum FleetKind {
    /// Rust services only.
    Rust,
    /// Five languages and a shell, from the examples of the checkout; what cannot run here is left out.
    Polyglot,
}

/// Where the page is served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PageAddress {
    /// Nowhere.
    Off,
    /// Here.
    At(SocketAddr),
}

impl std::str::FromStr for PageAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "off" {
            return Ok(Self::Off);
        }
        let address: SocketAddr =
            text.parse().map_err(|_| "an address such as 127.0.0.1:15990, or `off`".to_owned())?;
        if address.ip().is_loopback() {
            Ok(Self::At(address))
        } else {
            Err("the page is served on loopback only".to_owned())
        }
    }
}

/// A time such as `20s`, `2m` or `500ms`.
fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || "a time such as 20s, 2m or 500ms".to_owned();
    let digits = text.bytes().take_while(|b| b.is_ascii_digit()).count();
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().map_err(|_| wrong())?;
    let ms = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return Err(wrong()),
    };
    number.checked_mul(ms).map(Duration::from_millis).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_grammar_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn times_are_read_and_nonsense_is_refused() {
        assert_eq!(duration("20s"), Ok(Duration::from_secs(20)));
        assert_eq!(duration("1500ms"), Ok(Duration::from_millis(1_500)));
        for bad in ["", "s", "20", "-1s", "1e30s", "99999999999999999h"] {
            assert!(duration(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn every_flag_has_its_environment_variable() {
        let mut commands: Vec<_> = Cli::command().get_subcommands().cloned().collect();
        while let Some(command) = commands.pop() {
            commands.extend(command.get_subcommands().cloned());
            for flag in command.get_arguments().filter(|a| a.get_long().is_some()) {
                let long = flag.get_long().unwrap_or_default();
                // An order to another process is no setting: set in a container, `OUTRIGGER_STOP` would end
                // its sidecar at the start.
                if ["help", "version", "stop"].contains(&long) {
                    continue;
                }
                let wanted = format!("OUTRIGGER_{}", long.replace('-', "_").to_uppercase());
                assert_eq!(
                    flag.get_env().and_then(|name| name.to_str()),
                    Some(wanted.as_str()),
                    "--{long} of {}",
                    command.get_name()
                );
            }
        }
    }
}
