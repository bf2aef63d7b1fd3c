//! From what was typed to how it ended.

use std::ffi::OsString;

use clap::Parser;

use crate::cli::{Cli, Command};
use crate::{Exit, demo, dev, logs, policy, print, render, resolve, services, sidecar};

/// Runs the command line and says how it ended. Prints to stdout what is the result, and
/// everything else to stderr.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> Exit {
    let cli = match Cli::try_parse_from(arguments) {
        Ok(cli) => cli,
        Err(error) => {
            let is_help = !error.use_stderr();
            // Nothing can be done about a closed terminal.
            let _ = error.print();
            return if is_help { Exit::Done } else { Exit::Usage };
        }
    };
    logs::start();
    let mut builder = match &cli.command {
        // Its requests run on threads of their own; the rest is little.
        Command::Run(_) | Command::Sidecar(_) => tokio::runtime::Builder::new_current_thread(),
        _ => tokio::runtime::Builder::new_multi_thread(),
    };
    let runtime = match builder.enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            print::error(&anyhow::Error::new(error).context("no runtime can be started"));
            return Exit::Unreachable;
        }
    };
    let ended = runtime.block_on(async {
        match cli.command {
            Command::Demo(arguments) => demo::run(arguments).await,
            Command::Dev(arguments) => dev::run(arguments).await,
            Command::Run(arguments) => Ok(sidecar::run_program(arguments).await),
            Command::Sidecar(arguments) => Ok(sidecar::run(arguments).await),
            Command::Services(arguments) => Ok(services::run(arguments).await),
            Command::Resolve(arguments) => Ok(resolve::run(arguments).await),
            Command::Policy(command) => Ok(policy::run(command).await),
            Command::Render(arguments) => Ok(render::run(arguments).await),
        }
    });
    // What still runs are tasks of connections; nobody waits for them.
    runtime.shutdown_background();
    ended.unwrap_or_else(|error| {
        print::error(&error);
        Exit::Unreachable
    })
}
