//! `outrigger policy diff`: what changes for a request, in sentences.

use std::io::stdout;

use anyhow::anyhow;
use outrigger_policy::{Difference, Format, Policy};
use serde_json::json;

use super::Ended;
use super::input::Input;
use crate::cli::policy::DiffArgs;
use crate::paint::Paint;
use crate::{Exit, print};

/// Tells what changes from one policy to another.
pub(super) fn run(arguments: &DiffArgs) -> Result<Exit, Ended> {
    if arguments.before == "-" && arguments.after == "-" {
        return Err(Ended::usage(anyhow!("only one of the two can come from stdin")));
    }
    let before = Input::read(&arguments.before)?.parsed()?;
    let after = Input::read(&arguments.after)?.parsed()?;
    let (old, new) = (&before.policy.service, &after.policy.service);
    if let (Some(old), Some(new)) = (old, new)
        && old != new
    {
        print::note(&format!("warning: these are policies of two services, {old} and {new}"));
    }
    let difference = Difference::between(&before, &after);
    if arguments.json {
        print::result(&super::pretty(&json!(difference)));
    } else {
        let text = difference.to_string();
        print::raw(&if difference.is_empty() { Paint::of(&stdout()).faint(&text) } else { text });
    }
    Ok(Exit::Done)
}

/// The sentences of a difference between two texts of the registry; none when one cannot be read.
pub(super) fn sentences(before: &str, after: &str) -> Vec<String> {
    let read = |text: &str| Policy::parse("", text, Format::of_text(text)).ok();
    let (Some(before), Some(after)) = (read(before), read(after)) else { return Vec::new() };
    Difference::between(&before, &after).to_string().lines().map(str::to_owned).collect()
}
