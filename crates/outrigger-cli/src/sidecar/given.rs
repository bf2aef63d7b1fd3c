//! Everything that was said, read and checked; `--check`.

use std::ffi::OsString;
use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use anyhow::{Context as _, anyhow};
use outrigger_policy::{Format, Written};
use outrigger_sidecar::{Given, Guess, Mode, Settings, SettingsError, look, rules};

use crate::cli::sidecar::SettingsArgs;
use crate::policy::{Ended, hold};
use crate::{Exit, print};

/// Most bytes of a configuration file.
const MOST: u64 = 512 << 10;

/// What came of reading.
pub(super) enum Read {
    /// It was only to be checked, and that is done.
    Checked(Exit),
    /// What is to be obeyed; boxed, since it is large.
    Settings(Box<Settled>),
}

/// What is to be obeyed.
pub(super) struct Settled {
    pub(super) settings: Settings,
    /// Rules that are said without a policy.
    pub(super) rules: outrigger::Settings,
}

/// Reads flags, environment, file and project.
pub(super) fn read(
    mode: Mode,
    arguments: &SettingsArgs,
    command: &[OsString],
) -> Result<Read, Ended> {
    let variables: Vec<(String, String)> = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect();
    let settings = match settings(mode, arguments, command, &variables) {
        Ok(settings) => settings,
        Err(Wrong::Ended(ended)) => return Err(ended),
        Err(Wrong::Settings(error)) => {
            if arguments.check && arguments.json {
                print::result(&format!("{:#}", error.to_json()));
            } else {
                print::note(&error.to_string());
            }
            return Ok(Read::Checked(Exit::Usage));
        }
    };
    let rules = rules(&super::child::directory(), &variables)
        .map_err(|error| Ended::usage(anyhow::Error::new(error)))?;
    if arguments.check {
        return Ok(Read::Checked(tell(&settings, arguments.json)));
    }
    if let Some(line) = settings.guessed() {
        print::note(&line);
    }
    Ok(Read::Settings(Box::new(Settled { settings, rules })))
}

enum Wrong {
    Ended(Ended),
    Settings(SettingsError),
}

fn settings(
    mode: Mode,
    arguments: &SettingsArgs,
    command: &[OsString],
    variables: &[(String, String)],
) -> Result<Settings, Wrong> {
    let path = arguments.config.as_deref().filter(|path| !path.as_os_str().is_empty());
    let file = match path {
        Some(path) => {
            let name = path.display().to_string();
            let text = text(path).map_err(Wrong::Ended)?;
            let written = Written::read(&name, &text, Format::of(&name, &text))
                .map_err(|report| Wrong::Settings(SettingsError::File(Box::new(report))))?;
            Some(written)
        }
        None => None,
    };
    let mut given = Given::new(mode);
    given.flags.clone_from(&arguments.flags.0);
    given.variables = variables.to_vec();
    given.file = file.as_ref();
    given.guess = match mode {
        Mode::Run => look(&super::child::directory(), command),
        Mode::Sidecar => Guess::NOTHING,
    };
    for warning in &given.guess.warnings {
        print::note(&format!("warning: {warning}"));
    }
    Settings::resolve(&given).map_err(Wrong::Settings)
}

fn text(path: &Path) -> Result<String, Ended> {
    let read = || {
        let mut text = String::new();
        File::open(path)?.take(MOST + 1).read_to_string(&mut text)?;
        Ok::<_, std::io::Error>(text)
    };
    let text = read()
        .with_context(|| format!("{} cannot be read", path.display()))
        .map_err(Ended::usage)?;
    if text.len() as u64 > MOST {
        let error = anyhow!("{} is longer than {} KiB", path.display(), MOST >> 10);
        return Err(Ended::usage(error));
    }
    Ok(text)
}

/// Prints what is in force, and whether the policies that are named hold.
fn tell(settings: &Settings, as_json: bool) -> Exit {
    if as_json {
        print::result(&format!("{:#}", settings.to_json()));
    } else {
        for told in settings.told() {
            print::result(&told.to_string());
        }
    }
    let names: Vec<String> =
        settings.policy.value.iter().map(|path| path.display().to_string()).collect();
    if hold(&names) { Exit::Done } else { Exit::Usage }
}
