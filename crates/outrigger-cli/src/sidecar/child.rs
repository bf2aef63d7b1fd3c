//! `outrigger run`: a program with its sidecar.

use std::path::Path;

use anyhow::{Error, anyhow};
use outrigger_sidecar::{Mode, Run, RunError};

use super::given::{self, Read};
use crate::Exit;
use crate::cli::sidecar::RunArgs;
use crate::policy::Ended;

/// Runs the program to its end, and ends as it did.
pub(crate) async fn run(arguments: RunArgs) -> Exit {
    let ended = match given::read(Mode::Run, &arguments.settings, &arguments.command) {
        Ok(Read::Checked(exit)) => return exit,
        Ok(Read::Settings(given)) => supervise(*given, arguments).await,
        Err(ended) => Err(ended),
    };
    ended.unwrap_or_else(|ended| ended.say())
}

async fn supervise(given: given::Settled, arguments: RunArgs) -> Result<Exit, Ended> {
    if arguments.command.is_empty() {
        let error = anyhow!("no command is given");
        return Err(Ended::usage(error).with_help("outrigger run [FLAGS] -- COMMAND…"));
    }
    let mut run = Run::new(given.settings, arguments.command);
    run.rules = given.rules;
    run.directory = directory();
    run.say = super::say();
    match run.to_the_end().await {
        Ok(ended) => Ok(Exit::Program(ended.code())),
        Err(error) => Err(failed(error)),
    }
}

fn failed(error: RunError) -> Ended {
    let is_usage = error.is_usage();
    let error = match error {
        RunError::Sidecar(error) => return super::ended(error),
        other => Error::new(other),
    };
    if is_usage { Ended::usage(error) } else { Ended::unreachable(error) }
}

/// The working directory, for what a project says.
pub(super) fn directory() -> std::path::PathBuf {
    std::env::current_dir().unwrap_or_else(|_| Path::new(".").to_owned())
}
