//! `outrigger render`: the rules of policies, for others to enforce.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use anyhow::{Context as _, anyhow};
use outrigger::core::{Instance, Status};
use outrigger::discovery::{Query, Resolver};
use outrigger_mesh::{Document, Fleet, Judged, Options, RenderError, Verdict, judge, render};
use outrigger_policy::Parsed;
use tokio::time::timeout;

use crate::cli::render::RenderArgs;
use crate::policy::input::{Input, expand, folder, replace};
use crate::policy::{Ended, many};
use crate::registry::named;
use crate::services::{PATIENCE, silent};
use crate::{Exit, dev, print};

/// Renders policies.
pub(crate) async fn run(arguments: RenderArgs) -> Exit {
    let ended = tokio::select! {
        ended = rendered(&arguments) => ended,
        exit = dev::interrupted() => return exit,
    };
    ended.unwrap_or_else(|ended| ended.say())
}

async fn rendered(arguments: &RenderArgs) -> Result<Exit, Ended> {
    let mut policies: Vec<Parsed> = Vec::new();
    for file in expand(&arguments.files)? {
        let parsed = Input::read(&file)?.parsed()?;
        if parsed.policy.service.is_none() && arguments.files.iter().all(|named| *named != file) {
            // Of a folder it is one file among many; who names it gets the error.
            print::note(&format!("{file}: it names no service, and is left out"));
        } else {
            policies.push(parsed);
        }
    }
    let mut refused = 0;
    for parsed in &policies {
        refused += told(parsed, arguments);
    }
    if arguments.strict && refused > 0 {
        let fields = many(refused, "field");
        let target = arguments.target;
        return Err(Ended::does_not_hold(anyhow!("{fields} would not be exact at {target}"))
            .with_help("nothing was written; without --strict it is rendered as told above"));
    }
    let fleet = fleet(&policies, arguments).await?;
    let mut options = Options::default();
    options.namespace.clone_from(&arguments.namespace);
    let documents = render(arguments.target, &policies, &fleet, &options).map_err(refusal)?;
    if arguments.check { compared(&documents, arguments) } else { written(&documents, arguments) }
}

/// Why nothing is rendered, and what helps.
fn refusal(error: RenderError) -> Ended {
    let help = match &error {
        RenderError::NoInstances { .. } => Some(
            "--from-consul takes them from the registry; it must hold one that is not critical",
        ),
        RenderError::NoService { .. } => Some("its key `service` says whom it is for"),
        _ => None,
    };
    let ended = Ended::usage(error.into());
    match help {
        Some(help) => ended.with_help(help),
        None => ended,
    }
}

/// Tells what a target does not do exactly; how many of it the file says.
fn told(parsed: &Parsed, arguments: &RenderArgs) -> usize {
    let (target, name) = (arguments.target, parsed.name());
    let judged = judge(parsed, target);
    let is_other = |one: &&Judged| one.told.verdict != Verdict::Exact;
    let (written, defaults): (Vec<_>, Vec<_>) =
        judged.iter().filter(is_other).partition(|one| one.is_written());
    if arguments.strict {
        for one in &written {
            print::note(&format!("{}: `{}` at {target} is {}", one.origin, one.key, one.told));
        }
    } else if !(written.is_empty() && defaults.is_empty()) {
        let fields = many(written.len(), "field");
        print::note(&format!(
            "{name}: {fields} and {} would not be exact at {target}; see `outrigger policy explain \
             --targets`",
            many(defaults.len(), "default"),
        ));
    }
    written.len()
}

async fn fleet(policies: &[Parsed], arguments: &RenderArgs) -> Result<Fleet, Ended> {
    let mut fleet = Fleet::default();
    if !arguments.from_consul {
        return Ok(fleet);
    }
    let registry = named(&arguments.registry)?;
    for service in policies.iter().filter_map(|parsed| parsed.policy.service.clone()) {
        let mut stream = registry.consul.watch(&Query::new(service.clone()));
        let first = timeout(PATIENCE, stream.next()).await;
        let snapshot = first.ok().flatten().ok_or_else(|| silent(&registry))?;
        let instances: Vec<Instance> =
            snapshot.instances.iter().map(|instance| (**instance).clone()).collect();
        if instances.iter().all(|instance| instance.status == Status::Critical) {
            // A registry that denies reading answers with an empty set, too.
            let what = "the registry shows no instance that is not critical";
            print::note(&format!("{service}: {what}; it is rendered as one without instances"));
        }
        fleet = fleet.with(service, instances);
    }
    Ok(fleet)
}

fn written(documents: &[Document], arguments: &RenderArgs) -> Result<Exit, Ended> {
    let out = &arguments.out;
    let wrong = |error: std::io::Error, path: &Path| {
        Ended::usage(anyhow!(error).context(format!("{} cannot be written", path.display())))
    };
    fs::create_dir_all(out).map_err(|error| wrong(error, out))?;
    let mut changed = 0;
    for document in documents {
        let path = out.join(&document.path);
        if fs::read(&path).is_ok_and(|text| text == document.text.as_bytes()) {
            continue;
        }
        replace(&path, &document.text).map_err(|error| wrong(error, &path))?;
        print::result(&path.display().to_string());
        changed += 1;
    }
    print::note(&format!("{changed} of {} written", many(documents.len(), "file")));
    for name in left(documents, arguments)? {
        print::note(&format!("{name}: it is not rendered any more"));
    }
    Ok(Exit::Done)
}

fn compared(documents: &[Document], arguments: &RenderArgs) -> Result<Exit, Ended> {
    let is_other = |document: &&Document| {
        let found = fs::read(arguments.out.join(&document.path));
        !found.is_ok_and(|text| text == document.text.as_bytes())
    };
    let mut others: Vec<String> = documents
        .iter()
        .filter(is_other)
        .map(|document| arguments.out.join(&document.path).display().to_string())
        .collect();
    others.extend(left(documents, arguments)?);
    others.iter().for_each(|name| print::result(name));
    if others.is_empty() {
        return Ok(Exit::Done);
    }
    let out = arguments.out.display();
    Err(Ended::does_not_hold(anyhow!(
        "{out}: {} not what the policies say",
        if others.len() == 1 {
            "1 file is".to_owned()
        } else {
            format!("{} files are", others.len())
        }
    )))
}

/// Files of ours in the folder that are rendered no more.
fn left(documents: &[Document], arguments: &RenderArgs) -> Result<Vec<String>, Ended> {
    if !arguments.out.is_dir() {
        return Ok(Vec::new());
    }
    let known: BTreeSet<&str> = documents.iter().map(|document| document.path.as_str()).collect();
    let found = folder(&arguments.out, |name| name.ends_with(".yaml"))
        .with_context(|| format!("{} cannot be read", arguments.out.display()))
        .map_err(Ended::usage)?;
    let is_ours = |name: &String| {
        let path = Path::new(name);
        let file = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        !known.contains(&*file)
            && fs::read_to_string(path)
                .is_ok_and(|text| text.starts_with("# Rendered by `outrigger render`"))
    };
    Ok(found.into_iter().filter(is_ours).collect())
}
