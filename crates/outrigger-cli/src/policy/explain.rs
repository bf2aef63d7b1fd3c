//! `outrigger policy explain`: what holds, where it comes from, and what becomes of one request.

use std::io::stdout;

use anyhow::anyhow;
use outrigger_mesh::{Judged, Target, judge};
use outrigger_policy::{Origin, Parsed, RequestSample, SampleError};
use serde_json::{Value, json};

use super::Ended;
use super::input::Input;
use crate::cli::policy::ExplainArgs;
use crate::paint::Paint;
use crate::{Exit, print};

/// Explains a policy, or what it does with one request.
pub(super) fn run(arguments: &ExplainArgs) -> Result<Exit, Ended> {
    let parsed = Input::read(&arguments.file)?.parsed()?;
    if arguments.targets {
        targets(&parsed, arguments.json);
        return Ok(Exit::Done);
    }
    let Some(line) = &arguments.request else {
        let explanation = parsed.explain();
        print::raw(&match arguments.json {
            true => format!("{}\n", super::pretty(&json!(explanation))),
            false => Paint::of(&stdout()).headings(&explanation.to_string()),
        });
        return Ok(Exit::Done);
    };
    let wrong = |flag: &str, error: SampleError| Ended::usage(anyhow!("{flag}: {error}"));
    let mut sample: RequestSample = line.parse().map_err(|error| wrong("--request", error))?;
    for header in headers(&arguments.header) {
        sample = sample.with_header(header).map_err(|error| wrong("--header", error))?;
    }
    if let Some(caller) = &arguments.caller {
        sample = sample.with_caller(caller.clone());
    }
    let explanation = parsed.explain_request(&sample).map_err(|error| wrong("--request", error))?;
    print::raw(&match arguments.json {
        true => format!("{}\n", super::pretty(&json!(explanation))),
        false => explanation.to_string(),
    });
    Ok(Exit::Done)
}

/// What becomes of each value at each target.
fn targets(parsed: &Parsed, as_json: bool) {
    let judged: Vec<(Target, Vec<Judged>)> =
        Target::ALL.into_iter().map(|target| (target, judge(parsed, target))).collect();
    if as_json {
        let one = |target: &Target, one: &Judged| {
            json!({
                "target": target.as_str(), "route": one.route, "key": one.key, "value": one.value,
                "place": one.origin, "written": one.is_written(),
                "verdict": one.told.verdict.as_str(), "why": one.told.why,
            })
        };
        let all: Vec<Value> = judged
            .iter()
            .flat_map(|(target, values)| values.iter().map(move |value| one(target, value)))
            .collect();
        print::result(&super::pretty(&Value::Array(all)));
        return;
    }
    let mut out = format!("{} at the targets\n", parsed.name());
    for (target, values) in &judged {
        out.push_str(&format!("\n{target}\n"));
        for one in values {
            let route = one.route.as_ref().map(|name| format!("{name}: ")).unwrap_or_default();
            let default = if one.origin == Origin::Default { ", by default" } else { "" };
            out.push_str(&format!("  {route}{} {}{default}: {}\n", one.key, one.value, one.told));
        }
    }
    print::raw(&Paint::of(&stdout()).headings(&out));
}

/// The headers one by one. Those of the variable are separated by `;`, which on the command line
/// may stand in a header, as it does in every other cookie.
fn headers(given: &[String]) -> Vec<&str> {
    let variable = std::env::var("OUTRIGGER_HEADER").ok();
    match given {
        [all] if Some(all) == variable.as_ref() => {
            all.split(';').map(str::trim).filter(|header| !header.is_empty()).collect()
        }
        given => given.iter().map(String::as_str).collect(),
    }
}
