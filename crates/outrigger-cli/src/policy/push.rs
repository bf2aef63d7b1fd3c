//! `outrigger policy push`: policies into the registry.

use std::collections::HashMap;
use std::io::stderr;

use anyhow::anyhow;
use outrigger_policy::{Format, Parsed, Policy, TOMBSTONE, is_tombstone};

use super::check::apply;
use super::input::{Input, expand};
use super::store::{Store, TEXT_MAX};
use super::write::Write;
use super::{Ended, many};
use crate::cli::policy::{PushArgs, Target};
use crate::paint::Paint;
use crate::{Exit, print};

/// Pushes every file, or none when one of them does not hold.
pub(super) async fn run(arguments: &PushArgs) -> Result<Exit, Ended> {
    if let Some(target) = &arguments.remove {
        let store = Store::open(&arguments.write.registry)?;
        let read = store.read(target).await?;
        let write = Write { target, text: TOMBSTONE, base: arguments.base.as_ref() };
        write.run(&store, &read, &arguments.write).await?;
        return Ok(Exit::Done);
    }
    let files = expand(&arguments.files)?;
    if files.len() > 1 && arguments.base.is_some() {
        return Err(Ended::usage(anyhow!(
            "--base is the version of one policy, not of {}",
            files.len()
        )));
    }
    let pushed = gather(&files, arguments)?;
    let store = Store::open(&arguments.write.registry)?;
    for (at, (target, input)) in pushed.iter().enumerate() {
        let one = async {
            let read = store.read(target).await?;
            let write = Write { target, text: &input.text, base: arguments.base.as_ref() };
            write.run(&store, &read, &arguments.write).await
        };
        if let Err(mut ended) = one.await {
            let rest: Vec<_> = pushed.iter().skip(at + 1).map(|(name, _)| name.as_str()).collect();
            if !rest.is_empty() {
                ended = ended.and_help(format!("not pushed either: {}", rest.join(", ")));
            }
            return Err(ended);
        }
    }
    Ok(Exit::Done)
}

/// Reads and checks every file; prints what is wrong with any.
fn gather(files: &[String], arguments: &PushArgs) -> Result<Vec<(Target, Input)>, Ended> {
    let paint = Paint::of(&stderr());
    let (mut good, mut refused) = (Vec::<(Target, Input)>::new(), 0);
    let mut seen = HashMap::new();
    for file in files {
        let input = Input::read(file)?;
        if is_tombstone(&input.text) {
            return Err(Ended::usage(anyhow!("{}: it removes a policy", input.name))
                .with_help("`outrigger policy push --remove SERVICE` says whose"));
        }
        let (mut report, parsed) = match input.parse() {
            Ok(parsed) => (parsed.report().clone(), Some(parsed)),
            Err(report) => (report, None),
        };
        apply(&mut report, &arguments.strict);
        if !report.is_empty() {
            print::note(paint.report(&report.to_string()).trim_end());
        }
        let Some(parsed) = parsed.filter(|_| !report.is_refused()) else {
            refused += 1;
            continue;
        };
        let target = target(&input, &parsed, arguments.default)?;
        fits(&input, &parsed)?;
        if let Some(other) = seen.insert(target.clone(), input.name.clone()) {
            let text = format!("{other} and {} are both the policy of {target}", input.name);
            return Err(Ended::usage(anyhow!(text)));
        }
        good.push((target, input));
    }
    if refused > 0 {
        let (of, verb) = (many(files.len(), "file"), if refused == 1 { "does" } else { "do" });
        return Err(Ended::does_not_hold(anyhow!(
            "{refused} of {of} {verb} not hold; nothing was pushed"
        )));
    }
    Ok(good)
}

/// Whose policy it is.
fn target(input: &Input, parsed: &Parsed, default: bool) -> Result<Target, Ended> {
    let name = &input.name;
    match &parsed.policy.service {
        Some(service) if input.is_default() => Err(Ended::usage(anyhow!(
            "{name}: a `_default` policy names no service, and it names {service}"
        ))),
        Some(service) => service.as_str().parse().map_err(|why: String| Ended::usage(anyhow!(why))),
        None if default || input.is_default() => Ok(Target::Default),
        None => Err(Ended::usage(anyhow!("{name}: it names no service")).with_help(
            "add `service: NAME`; the fleet's default is a file named `_default.yaml`, or is \
             pushed with --default",
        )),
    }
}

/// Whether the registry can keep it, and its readers will read the same.
fn fits(input: &Input, parsed: &Parsed) -> Result<(), Ended> {
    let (name, len) = (&input.name, input.text.len());
    if len > TEXT_MAX {
        return Err(Ended::usage(anyhow!(
            "{name}: it has {len} bytes; the registry keeps at most {TEXT_MAX} beside its history"
        )));
    }
    // A key has no ending that tells the format: readers go by the first sign.
    let format = Format::of_text(&input.text);
    let is_same = format == input.format()
        || Policy::parse(name, &input.text, format)
            .is_ok_and(|other| other.policy == parsed.policy);
    if is_same {
        return Ok(());
    }
    Err(Ended::usage(anyhow!(
        "{name}: below a key it would be taken for {format:?}, by its first line"
    ))
    .with_help("begin the file with `version: 1` on a line of its own"))
}
