//! `outrigger policy pull`, `history` and `rollback`: what is in force, what was, and the way back.

use std::io::{stderr, stdout};

use anyhow::anyhow;
use outrigger_policy::{Format, Policy, nearest};
use serde_json::{Value, json};

use super::Ended;
use super::kept::{Entry, Read};
use super::store::Store;
use super::write::{Write, shown};
use crate::cli::policy::{HistoryArgs, PullArgs, RollbackArgs, Target, VersionPrefix};
use crate::paint::Paint;
use crate::{Exit, print};

/// Prints a policy as it was written.
pub(super) async fn pull(arguments: &PullArgs) -> Result<Exit, Ended> {
    let (store, target) = (Store::open(&arguments.registry)?, &arguments.service);
    let read = store.read(target).await?;
    if let Some(version) = &arguments.version {
        let entry = find(target, &read, version)?;
        print::note(&format!("{target}: {}", shown(entry.kept.version, entry.author.as_ref())));
        warn(target, entry.kept.trouble(target));
        print::raw(&entry.kept.text);
        return Ok(Exit::Done);
    }
    let Some(current) = read.in_force() else {
        return Err(none(target, &read, &store).await);
    };
    let trouble = current.kept.trouble(target);
    if !current.kept.is_text() {
        let why = format!("{target}: what stands in its key is no policy");
        let what = anyhow!(trouble.unwrap_or_default()).context(why);
        return Err(Ended::does_not_hold(what).with_help(format!(
            "whoever obeyed a policy keeps the last good one; `outrigger policy history {target}` \
             lists what was, and `rollback` puts it in force again"
        )));
    }
    print::note(&format!("{target}: {}", shown(current.kept.version, read.author())));
    warn(target, trouble);
    print::raw(&current.kept.text);
    Ok(Exit::Done)
}

/// Lists the versions, the newest first.
pub(super) async fn list(arguments: &HistoryArgs) -> Result<Exit, Ended> {
    let (store, target) = (Store::open(&arguments.registry)?, &arguments.service);
    let read = store.read(target).await?;
    if read.history.is_empty() && read.current.is_none() {
        return Err(none(target, &read, &store).await);
    }
    let rows = rows(target, &read);
    if arguments.json {
        let all: Vec<Value> = rows.iter().map(Row::json).collect();
        print::result(&super::pretty(&Value::Array(all)));
        return Ok(Exit::Done);
    }
    let paint = Paint::of(&stdout());
    let wide = |of: fn(&Row) -> &str, least: usize| {
        rows.iter().map(|row| of(row).chars().count()).max().unwrap_or(0).max(least)
    };
    let (numbers, names) = (wide(|row| &row.number, 2), wide(|row| &row.by, 3));
    let head =
        format!("  {:>numbers$}  {:<12}  {:<20}  {:<names$}", "no", "version", "when", "who");
    print::result(&paint.faint(head.trim_end()));
    for row in &rows {
        let mark = if row.is_in_force { "*" } else { " " };
        let what = match (row.is_removed, row.is_in_force, &row.error) {
            (true, ..) => "  removed",
            (false, true, None) => "  in force",
            (false, true, Some(_)) => "  in its key, and does not hold",
            (false, false, None) => "",
            (false, false, Some(_)) => "  does not hold",
        };
        let line = format!(
            "{mark} {:>numbers$}  {:<12}  {:<20}  {:<names$}{what}",
            row.number, row.version, row.at, row.by
        );
        let line = line.trim_end();
        print::result(&match (row.is_in_force, &row.error) {
            (true, None) => paint.good(line),
            (true, Some(_)) => paint.bad(line),
            (false, _) => line.to_owned(),
        });
    }
    warn(target, read.current.as_ref().and_then(|current| current.kept.trouble(target)));
    Ok(Exit::Done)
}

/// Says that a text is obeyed by nobody, and why.
fn warn(target: &Target, trouble: Option<String>) {
    let Some(trouble) = trouble else { return };
    let word = Paint::of(&stderr()).strong("warning");
    print::note(&format!(
        "{word}: {target}: this does not hold, and whoever obeyed a policy keeps the last good one\n  \
         because: {trouble}"
    ));
}

/// Puts an earlier version in force.
pub(super) async fn roll_back(arguments: &RollbackArgs) -> Result<Exit, Ended> {
    let (store, target) = (Store::open(&arguments.write.registry)?, &arguments.service);
    let read = store.read(target).await?;
    if read.history.is_empty() && read.current.is_none() {
        return Err(none(target, &read, &store).await);
    }
    let entry = match &arguments.version {
        Some(version) => find(target, &read, version)?,
        None => last_good(target, &read)?,
    };
    // A newer version of the program may find wrong what an older one pushed.
    if let Some(trouble) = entry.kept.trouble(target) {
        let name = format!("{target}@{}", entry.kept.version);
        if let Err(report) =
            Policy::parse(&name, &entry.kept.text, Format::of_text(&entry.kept.text))
        {
            print::note(Paint::of(&stderr()).report(&report.to_string()).trim_end());
        } else {
            print::note(&trouble);
        }
        let why = format!("{target}: {} does not hold; nothing was written", entry.kept.version);
        return Err(Ended::does_not_hold(anyhow!(why)));
    }
    let write = Write { target, text: &entry.kept.text, base: None };
    write.run(&store, &read, &arguments.write).await?;
    Ok(Exit::Done)
}

/// The newest version before the one in force that holds; says which ones were passed over.
fn last_good<'a>(target: &Target, read: &'a Read) -> Result<&'a Entry, Ended> {
    for entry in read.earlier().filter(|entry| !entry.kept.is_removed()) {
        match entry.kept.trouble(target) {
            None => return Ok(entry),
            Some(trouble) => print::note(&format!(
                "{target}: {} is passed over: it does not hold\n  because: {trouble}",
                entry.kept.version
            )),
        }
    }
    let why = format!("{target}: there is no earlier version to go back to");
    Err(Ended::does_not_hold(anyhow!(why)))
}

/// The newest place in the history that a version means.
fn find<'a>(target: &Target, read: &'a Read, wanted: &VersionPrefix) -> Result<&'a Entry, Ended> {
    let mut fitting = read.history.iter().rev().filter(|entry| wanted.means(entry.kept.version));
    let Some(found) = fitting.next() else {
        let why =
            format!("{target}: there is no version {wanted} among the last {}", super::store::KEPT);
        return Err(Ended::does_not_hold(anyhow!(why))
            .with_help(format!("`outrigger policy history {target}` lists them")));
    };
    match fitting.find(|other| other.kept.version != found.kept.version) {
        Some(other) => Err(Ended::usage(anyhow!(
            "{target}: {wanted} may be {} or {}; write more of it",
            found.kept.version,
            other.kept.version
        ))),
        None => Ok(found),
    }
}

async fn none(target: &Target, read: &Read, store: &Store) -> Ended {
    let why = match (&read.current, read.author()) {
        (Some(_), Some(author)) => {
            format!("the policy of {target} was removed ({}, {})", author.by, author.at)
        }
        (Some(_), None) => format!("the policy of {target} was removed"),
        (None, _) => format!("the registry at {} has no policy of {target}", store.registry),
    };
    let ended = Ended::does_not_hold(anyhow!(why));
    match read.history.is_empty() {
        true => {
            let others = store.targets().await;
            match nearest(target.as_str(), others.iter().map(String::as_str)) {
                Some(near) => ended.with_help(format!("did you mean `{near}`?")),
                None => ended,
            }
        }
        false => ended.with_help(format!(
            "`outrigger policy history {target}` lists what was; `rollback` puts it in force again"
        )),
    }
}

/// A line of the list.
struct Row {
    number: String,
    version: String,
    at: String,
    by: String,
    is_removed: bool,
    is_in_force: bool,
    error: Option<String>,
}

fn rows(target: &Target, read: &Read) -> Vec<Row> {
    let mut in_force = read.current.as_ref().map(|current| current.kept.version);
    let mut rows = Vec::new();
    for entry in read.history.iter().rev() {
        // Of two places of one version, the later one put it in force.
        let is_in_force = in_force.take_if(|version| *version == entry.kept.version).is_some();
        let author = entry.author.as_ref();
        rows.push(Row {
            number: entry.number.to_string(),
            version: entry.kept.version.to_string(),
            at: author.map_or("-", |author| &author.at).to_owned(),
            by: author.map_or("-", |author| &author.by).to_owned(),
            is_removed: entry.kept.is_removed(),
            is_in_force,
            error: entry.kept.trouble(target),
        });
    }
    if let (Some(version), Some(current)) = (in_force, &read.current) {
        // Written by another program, or by a push that ended half-way.
        let unknown = || "-".to_owned();
        let is_removed = current.kept.is_removed();
        let (number, version) = (unknown(), version.to_string());
        let (at, by, error) = (unknown(), unknown(), current.kept.trouble(target));
        rows.insert(0, Row { number, version, at, by, is_removed, is_in_force: true, error });
    }
    rows
}

impl Row {
    fn json(&self) -> Value {
        let known = |text: &str| (text != "-").then(|| text.to_owned());
        json!({
            "number": self.number.parse::<u64>().ok(),
            "version": self.version,
            "at": known(&self.at),
            "by": known(&self.by),
            "removed": self.is_removed,
            "in_force": self.is_in_force,
            "error": self.error,
        })
    }
}
