//! `outrigger policy test`: what an owner expects of a policy, held against it.

use std::io::{stderr, stdout};
use std::path::Path;

use anyhow::anyhow;
use outrigger_policy::{Report, TestReport};
use serde_json::{Value, json};

use super::input::{ENDINGS, Input, folder, has_tests, is_tests};
use super::{Ended, many};
use crate::cli::policy::TestArgs;
use crate::paint::Paint;
use crate::{Exit, print};

/// Runs the tests of every policy.
pub(super) fn run(arguments: &TestArgs) -> Result<Exit, Ended> {
    let mut pairs = Vec::new();
    if let Some(tests) = &arguments.tests {
        let [policy] = &*arguments.files else {
            let files = arguments.files.len();
            return Err(Ended::usage(anyhow!("--tests is for one policy, and there are {files}")));
        };
        if policy == "-" && tests == "-" {
            return Err(Ended::usage(anyhow!("only one of the two can come from stdin")));
        }
        pairs.push((policy.clone(), tests.clone()));
    } else {
        for name in &arguments.files {
            pairs.extend(beside(name)?);
        }
    }
    let mut reports = Vec::new();
    for (policy, tests) in &pairs {
        let parsed = Input::read(policy)?.parsed()?;
        let input = Input::read(tests)?;
        let run = parsed.run_tests(&input.name, &input.text, input.format());
        reports.push((policy, run.map_err(|report| refused(&input.name, &report))?));
    }
    tell(&reports, arguments.json);
    let holds = reports.iter().all(|(_, report)| report.holds());
    Ok(if holds { Exit::Done } else { Exit::DoesNotHold })
}

/// The policies and tests that a name stands for: `inventory.yaml` has its tests in
/// `inventory.test.yaml` beside it, and either names both.
fn beside(name: &str) -> Result<Vec<(String, String)>, Ended> {
    if name == "-" {
        return Err(Ended::usage(anyhow!("nothing lies beside stdin"))
            .with_help("--tests FILE names the expectations"));
    }
    if Path::new(name).is_dir() {
        let all = folder(Path::new(name), is_tests).map_err(|error| {
            Ended::usage(anyhow!(error).context(format!("{name} cannot be read")))
        })?;
        if all.is_empty() {
            return Err(Ended::usage(anyhow!("{name}: there are no tests in it"))
                .with_help("the tests of `inventory.yaml` are `inventory.test.yaml`"));
        }
        return all.into_iter().map(|tests| Ok((policy_of(&tests)?, tests))).collect();
    }
    if has_tests(name) {
        return Ok(vec![(policy_of(name)?, name.to_owned())]);
    }
    let bare = format!("{}.test", stem(name));
    let tests = sibling(name, &bare).ok_or_else(|| {
        Ended::usage(anyhow!("{name}: there is no test beside it"))
            .with_help(format!("it would be `{bare}.yaml`; --tests FILE names another"))
    })?;
    Ok(vec![(name.to_owned(), tests)])
}

/// The policy of a test file: the one that it names, else the one that it is named after.
fn policy_of(tests: &str) -> Result<String, Ended> {
    let input = Input::read(tests)?;
    if let Some(named) = TestReport::policy_in(&input.name, &input.text, input.format()) {
        return Ok(Path::new(tests).with_file_name(named).to_string_lossy().into_owned());
    }
    let bare = stem(tests).trim_end_matches(".test").to_owned();
    sibling(tests, &bare).ok_or_else(|| {
        Ended::usage(anyhow!("{tests}: there is no policy beside it")).with_help(format!(
            "it would be `{bare}.yaml`; `policy: FILE` in the tests names another"
        ))
    })
}

fn stem(name: &str) -> String {
    Path::new(name).file_stem().unwrap_or_default().to_string_lossy().into_owned()
}

/// A file beside this one, with one of the endings; its own first.
fn sibling(name: &str, bare: &str) -> Option<String> {
    let path = |ending: &str| Path::new(name).with_file_name(format!("{bare}.{ending}"));
    let own = Path::new(name).extension().map(|ending| ending.to_string_lossy().into_owned());
    let endings = own.iter().map(String::as_str).chain(ENDINGS);
    let found = endings.map(path).find(|path| path.is_file())?;
    Some(found.to_string_lossy().into_owned())
}

fn refused(name: &str, report: &Report) -> Ended {
    print::note(Paint::of(&stderr()).report(&report.to_string()).trim_end());
    Ended::usage(anyhow!("{name} is no test file that can be run"))
}

fn tell(reports: &[(&String, TestReport)], json: bool) {
    if json {
        let all = reports.iter().flat_map(|(policy, report)| {
            report.tests.iter().map(move |test| {
                json!({
                    "policy": policy,
                    "test": test.name,
                    "place": test.place.to_string(),
                    "failures": test.failures,
                })
            })
        });
        print::result(&super::pretty(&Value::Array(all.collect())));
        return;
    }
    let paint = Paint::of(&stdout());
    let (mut ran, mut failed) = (0, 0);
    for (policy, report) in reports {
        print::result(&paint.strong(policy));
        for test in &report.tests {
            ran += 1;
            if test.failures.is_empty() {
                print::result(&format!("  {}      {}", paint.good("ok"), test.name));
                continue;
            }
            failed += 1;
            let place = paint.faint(&format!("({})", test.place));
            print::result(&format!("  {}  {} {place}", paint.bad("FAILED"), test.name));
            for failure in &test.failures {
                print::result(&format!("          {failure}"));
            }
        }
    }
    print::result(&format!("{}, {failed} failed", many(ran, "test")));
}
