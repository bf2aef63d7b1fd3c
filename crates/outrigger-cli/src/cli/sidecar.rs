//! What can be typed after `outrigger run` and `outrigger sidecar`.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::parser::ValueSource;
use clap::{Arg, ArgAction, ArgMatches, Args, Command, FromArgMatches};
use outrigger_sidecar::KEYS;

/// What helps with `run`.
pub(super) const RUN_HELP: &str = "Examples:
  outrigger run -- python app.py
  outrigger run --service billing --port 8080 -- java -jar billing.jar
  outrigger run --upstream inventory=127.0.0.1:15901 -- node server.js
  outrigger run --check -- node server.js

The program finds PORT, HTTP_PROXY and OTEL_* in its environment, is registered once it
listens, and is taken back in order when it ends. Flags go before variables of the environment,
those before --config, and that before what package.json, pom.xml, build.gradle, pyproject.toml,
go.mod or Cargo.toml tell. docs/run.md says what is set for which language.

Exit codes: that of the program, 128 + the signal's number if it was killed; before it started
2 bad input, 3 something needed cannot be reached or is taken.";

/// What helps with `sidecar`.
pub(super) const SIDECAR_HELP: &str = "Examples:
  outrigger sidecar --service orders --port 8080
  outrigger sidecar --upstream db=tcp://127.0.0.1:15432
  outrigger sidecar --config sidecar.toml --check
  outrigger sidecar --stop

Flags go before variables of the environment, and those before --config. With neither --service
nor --port it serves outbound traffic only. A repeatable flag takes several values in its variable,
separated by `;`.

Exit codes: 0 ended as it was told, 2 bad input, 3 something needed cannot be reached or is taken,
130 interrupted.";

/// Flags of `run`.
#[derive(Debug, Args)]
pub(crate) struct RunArgs {
    #[command(flatten)]
    pub(crate) settings: SettingsArgs,
    /// The program and its arguments.
    #[arg(last = true, value_name = "COMMAND")]
    pub(crate) command: Vec<OsString>,
}

/// Flags of `sidecar`.
#[derive(Debug, Args)]
pub(crate) struct SidecarArgs {
    #[command(flatten)]
    pub(crate) settings: SettingsArgs,
    /// Inside a sidecar's container: tell the sidecar, its first process, to end in order.
    // Without a variable: one that stands in a container would end its sidecar at the start.
    #[arg(long)]
    pub(crate) stop: bool,
}

/// Flags of `sidecar`, and of `run` beside its command.
#[derive(Debug, Args)]
pub(crate) struct SettingsArgs {
    #[command(flatten)]
    pub(crate) flags: Flags,
    /// Read what is not said by flag or variable from this file, TOML or YAML.
    #[arg(long, env = "OUTRIGGER_CONFIG", value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Print every setting with its origin, and start nothing.
    #[arg(long, env = "OUTRIGGER_CHECK", value_parser = super::flag())]
    pub(crate) check: bool,
    /// With --check: print one JSON document on stdout.
    #[arg(long, env = "OUTRIGGER_JSON", value_parser = super::flag())]
    pub(crate) json: bool,
}

/// Whatever was typed of the table of settings, as it was typed: what a value may be, and what the
/// environment says, is judged with the configuration file.
#[derive(Clone, Debug, Default)]
pub(crate) struct Flags(pub(crate) Vec<(String, Vec<String>)>);

impl Args for Flags {
    fn augment_args(command: Command) -> Command {
        KEYS.iter().fold(command, |command, key| {
            let arg = Arg::new(key.flag).long(key.flag).env(key.variable).help(key.doc);
            let arg = match (key.is_switch(), key.is_repeatable()) {
                (true, _) => arg.action(ArgAction::SetTrue).value_parser(super::flag()),
                (false, true) => arg.action(ArgAction::Append).value_name(key.value),
                (false, false) => arg.action(ArgAction::Set).value_name(key.value),
            };
            command.arg(arg)
        })
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for Flags {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let mut flags = Self::default();
        flags.update_from_arg_matches(matches)?;
        Ok(flags)
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        let typed = |flag: &str| matches.value_source(flag) == Some(ValueSource::CommandLine);
        self.0 = KEYS
            .iter()
            .filter(|key| typed(key.flag))
            .map(|key| {
                let values = match key.is_switch() {
                    true => vec![matches.get_flag(key.flag).to_string()],
                    false => matches
                        .get_many::<String>(key.flag)
                        .map(|values| values.cloned().collect())
                        .unwrap_or_default(),
                };
                (key.flag.to_owned(), values)
            })
            .collect();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use crate::cli::{Cli, Command};

    fn run(words: &[&str]) -> super::RunArgs {
        let words = ["outrigger", "run"].iter().chain(words);
        match Cli::try_parse_from(words).expect("can be typed").command {
            Command::Run(arguments) => arguments,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_is_typed_is_taken_as_it_is_and_the_command_is_left_alone() {
        let typed = run(&[
            "--service",
            "a",
            "--policy",
            "x",
            "--policy",
            "y;z",
            "--no-register",
            "--",
            "python",
            "--service",
            "b",
        ]);
        let flags = typed.settings.flags.0;
        let of = |flag: &str| flags.iter().find(|(f, _)| f == flag).map(|(_, v)| v.join("|"));
        assert_eq!(of("service").as_deref(), Some("a"));
        assert_eq!(of("policy").as_deref(), Some("x|y;z"));
        assert_eq!(of("no-register").as_deref(), Some("true"));
        assert_eq!(of("port"), None);
        assert_eq!(typed.command, ["python", "--service", "b"]);
    }
}
