//! `outrigger policy fmt`: policies in their one form, comments and all.

use std::io::stderr;
use std::path::Path;

use anyhow::{Context as _, anyhow};
use outrigger_policy::{FormatError, format};

use super::input::{Input, expand, has_tests, replace};
use super::{Ended, many};
use crate::cli::policy::FmtArgs;
use crate::paint::Paint;
use crate::{Exit, print};

/// Rewrites the files that are not in their one form, or names them.
pub(super) fn run(arguments: &FmtArgs) -> Result<Exit, Ended> {
    let files = expand(&arguments.files)?;
    let (mut others, mut exit) = (0, Exit::Done);
    for file in &files {
        match one(file, arguments.check) {
            Ok(is_same) => others += usize::from(!is_same),
            Err(ended) => {
                // The others are worth their form all the same.
                ended.say();
                exit = ended.exit;
            }
        }
    }
    let of = many(files.len(), "file");
    if arguments.check && others > 0 {
        print::note(&format!("{others} of {of} would be rewritten"));
        if exit == Exit::Done {
            exit = Exit::DoesNotHold;
        }
    } else if !arguments.check && files.iter().any(|file| file != "-") {
        print::note(&format!("{others} of {of} rewritten"));
    }
    Ok(exit)
}

/// Formats one; whether it had its form already.
fn one(file: &str, check: bool) -> Result<bool, Ended> {
    if has_tests(file) {
        return Err(Ended::usage(anyhow!(
            "{file}: it holds tests, and there is a form of policies only"
        )));
    }
    let input = Input::read(file)?;
    let text = format(&input.name, &input.text, input.format()).map_err(|error| match error {
        FormatError::Unreadable(report) => {
            print::note(Paint::of(&stderr()).report(&report.to_string()).trim_end());
            Ended::usage(anyhow!("{} is left as it is", input.name))
        }
        other => Ended::usage(anyhow!(other)),
    })?;
    let is_same = text == input.text;
    match (file, check) {
        (_, true) if is_same => {}
        (_, true) => print::result(&input.name),
        ("-", false) => print::raw(&text),
        (_, false) if is_same => {}
        (_, false) => {
            replace(Path::new(file), &text)
                .with_context(|| format!("{file} cannot be written"))
                .map_err(Ended::usage)?;
            print::result(file);
        }
    }
    Ok(is_same)
}
