//! `outrigger policy test`: what an owner expects of a policy, held against it.

use std::io::{stderr, stdout};
use std::path::Path;

use anyhow::anyhow;
use outrigger_policy::{Report, TestReport};
use serde_json::{Value, json};

use super::input::{ENDINGS, Input, expand};
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
        let pairs: Vec<_> = expand(&[name.to_owned()])?
            .into_iter()
            .filter_map(|policy| Some((policy.clone(), sibling(&policy, false)?)))
            .collect();
        if pairs.is_empty() {
            return Err(Ended::usage(anyhow!("{name}: no policy in it has tests beside it"))
                .with_help("the tests of `inventory.yaml` are `inventory.test.yaml`"));
        }
        return Ok(pairs);
    }
    let is_tests = stem(name).is_some_and(|stem| stem.ends_with(".test"));
    let Some(other) = sibling(name, is_tests) else {
        let (what, bare) = match is_tests {
            true => ("policy", stem(name).unwrap_or_default().trim_end_matches(".test").to_owned()),
            false => ("test", format!("{}.test", stem(name).unwrap_or_default())),
        };
        return Err(Ended::usage(anyhow!("{name}: there is no {what} beside it"))
            .with_help(format!("it would be `{bare}.yaml`; --tests FILE names another")));
    };
    Ok(vec![if is_tests { (other, name.to_owned()) } else { (name.to_owned(), other) }])
}

fn stem(name: &str) -> Option<String> {
    Some(Path::new(name).file_stem()?.to_string_lossy().into_owned())
}

/// The file beside this one: the policy of tests, or the tests of a policy.
fn sibling(name: &str, is_tests: bool) -> Option<String> {
    let stem = stem(name)?;
    let bare = match is_tests {
        true => stem.trim_end_matches(".test").to_owned(),
        false => format!("{stem}.test"),
    };
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
