//! `outrigger policy check`: what is wrong with policies.

use std::io::stdout;

use outrigger_policy::{Report, Rule};
use serde_json::Value;

use super::Ended;
use super::input::{Input, expand};
use crate::cli::policy::{CheckArgs, RuleChoice, StrictArgs};
use crate::paint::Paint;
use crate::{Exit, print};

/// Checks every file, and prints what was found.
pub(super) fn run(arguments: &CheckArgs) -> Result<Exit, Ended> {
    let files = expand(&arguments.files)?;
    let (mut reports, mut exit) = (Vec::new(), Exit::Done);
    for file in &files {
        match Input::read(file) {
            Ok(input) => reports.push(checked(&input, &arguments.strict)),
            Err(ended) => {
                // The others are worth a look all the same.
                exit = ended.say();
            }
        }
    }
    if arguments.json {
        let all: Vec<Value> =
            reports.iter().flat_map(Report::findings).map(|finding| finding.to_json()).collect();
        print::result(&super::pretty(&Value::Array(all)));
    } else {
        let paint = Paint::of(&stdout());
        let shown: Vec<String> = reports
            .iter()
            .filter(|report| !report.is_empty())
            .map(|report| paint.report(&report.to_string()))
            .collect();
        if !shown.is_empty() {
            print::result(shown.join("\n").trim_end());
        }
    }
    let refused = reports.iter().filter(|report| report.is_refused()).count();
    if exit == Exit::Done && refused > 0 {
        exit = Exit::DoesNotHold;
    }
    let found: usize = reports.iter().map(|report| report.findings().len()).sum();
    if files.len() > 1 || found == 0 {
        // A report of several findings counts its own.
        print::note(&summary(&reports, files.len() - reports.len()));
    }
    Ok(exit)
}

/// What a file's report says under `--deny` and `--allow`.
pub(super) fn checked(input: &Input, strict: &StrictArgs) -> Report {
    let mut report = match input.parse() {
        Ok(parsed) => parsed.report().clone(),
        Err(report) => report,
    };
    apply(&mut report, strict);
    report
}

/// Leaves out what is allowed and makes errors of what is denied.
pub(super) fn apply(report: &mut Report, strict: &StrictArgs) {
    let only = |choices: &[RuleChoice]| -> Option<Vec<Rule>> {
        choices
            .iter()
            .map(|choice| match choice {
                RuleChoice::Warnings => None,
                RuleChoice::One(rule) => Some(*rule),
            })
            .collect()
    };
    if !strict.allow.is_empty() {
        report.allow(only(&strict.allow).as_deref());
    }
    if !strict.deny.is_empty() {
        report.deny(only(&strict.deny).as_deref());
    }
}

fn summary(reports: &[Report], unread: usize) -> String {
    let errors: usize = reports.iter().map(|report| report.errors().count()).sum();
    let warnings: usize = reports.iter().map(|report| report.warnings().count()).sum();
    let mut found = Vec::new();
    for (count, word) in [(errors, "error"), (warnings, "warning"), (unread, "unreadable file")] {
        if count > 0 {
            found.push(super::many(count, word));
        }
    }
    let found = if found.is_empty() { "no mistake".to_owned() } else { found.join(", ") };
    format!("{} checked: {found}", super::many(reports.len(), "file"))
}
