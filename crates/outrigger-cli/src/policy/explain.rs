//! `outrigger policy explain`: what holds, where it comes from, and what becomes of one request.

use std::io::stdout;

use anyhow::anyhow;
use outrigger_policy::{RequestSample, SampleError};
use serde_json::json;

use super::Ended;
use super::input::Input;
use crate::cli::policy::ExplainArgs;
use crate::paint::Paint;
use crate::{Exit, print};

/// Explains a policy, or what it does with one request.
pub(super) fn run(arguments: &ExplainArgs) -> Result<Exit, Ended> {
    let parsed = Input::read(&arguments.file)?.parsed()?;
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
