//! One policy put in force, for `push` and `rollback`: compared, written, told.

use std::io::stdout;

use anyhow::anyhow;
use outrigger::core::PolicyVersion;
use outrigger_policy::{is_tombstone, version_of};

use super::Ended;
use super::diff::sentences;
use super::kept::{Author, Read};
use super::store::{Overtaken, Store};
use crate::cli::policy::{Base, Target, WriteArgs};
use crate::paint::Paint;
use crate::{clock, print};

/// One policy to be put in force.
#[derive(Debug)]
pub(super) struct Write<'a> {
    /// Whose.
    pub(super) target: &'a Target,
    /// The text as written.
    pub(super) text: &'a str,
    /// What is expected to be in force.
    pub(super) base: Option<&'a Base>,
}

impl Write<'_> {
    /// Writes it over what was read, unless that changed, and says so.
    pub(super) async fn run(
        &self,
        store: &Store,
        read: &Read,
        arguments: &WriteArgs,
    ) -> Result<(), Ended> {
        let (target, version) = (self.target, version_of(self.text));
        if let Some(base) = self.base
            && !holds(base, read)
        {
            let why = match base {
                Base::None => format!("{target}: --base none, and there is a policy"),
                Base::Version(_) => format!("{target}: the base {base} is stale"),
            };
            // Whoever was faster may be about to sign.
            let now = store.read_with_author(target).await?;
            return Err(overtaken(target, &why, base_text(base, read), &now));
        }
        let before = read.in_force();
        let removes = is_tombstone(self.text);
        let is_same = read.current.as_ref().is_some_and(|current| current.kept.text == self.text);
        let paint = Paint::of(&stdout());
        // Whoever obeys a policy whose key has vanished goes on with it until there is a tombstone.
        let vanished = read.current.is_none() && !read.history.is_empty();
        if is_same || (removes && before.is_none() && !vanished) {
            let what = if removes {
                "there is no policy in force".to_owned()
            } else {
                format!("{version} is in force already")
            };
            if is_same && !arguments.dry_run {
                store.complete(target, read, &author(arguments)).await?;
            }
            print::result(&format!(
                "{}: {what}; nothing was written",
                paint.strong(target.as_str())
            ));
            return Ok(());
        }
        if !arguments.dry_run {
            let written = store.write(target, self.text, &author(arguments), read).await?;
            if let Err(Overtaken(now)) = written {
                let why = format!("{target}: somebody else was faster");
                let was = before.map(|current| current.kept.text.as_str());
                return Err(overtaken(target, &why, was, &now));
            }
        }
        let replaced = before.map(|current| shown(current.kept.version, read.author()));
        let line = match (removes, arguments.dry_run, replaced) {
            (true, false, Some(old)) => format!("removed; {old} is no longer in force"),
            (true, true, Some(old)) => format!("would be removed; {old} stays in force"),
            (true, false, None) => "removed; its key was gone already, and now there is a \
                                    tombstone: whoever still obeyed it goes on without"
                .to_owned(),
            (true, true, None) => {
                "would be removed: its key is gone, and whoever obeyed it still does".to_owned()
            }
            (false, false, Some(old)) => format!("{version} is in force; it replaces {old}"),
            (false, true, Some(old)) => format!("{version} would replace {old}"),
            (false, false, None) => format!("{version} is in force; there was none before"),
            (false, true, None) => format!("{version} would be put in force; there is none now"),
        };
        print::result(&format!("{}: {line}", paint.strong(target.as_str())));
        if let Some(before) = before.filter(|_| !removes) {
            for sentence in sentences(&before.kept.text, self.text) {
                print::result(&format!("  {sentence}"));
            }
        }
        Ok(())
    }
}

fn holds(base: &Base, read: &Read) -> bool {
    match (base, read.in_force()) {
        (Base::None, in_force) => in_force.is_none(),
        (Base::Version(version), Some(current)) => version.means(current.kept.version),
        (Base::Version(_), None) => false,
    }
}

/// The text that was taken for the one in force.
fn base_text<'a>(base: &Base, read: &'a Read) -> Option<&'a str> {
    let Base::Version(version) = base else { return None };
    let entry = read.history.iter().rev().find(|entry| version.means(entry.kept.version))?;
    Some(&entry.kept.text)
}

/// Why it was not written: what stands there, who wrote it, and what it changed.
fn overtaken(target: &Target, why: &str, was: Option<&str>, now: &Read) -> Ended {
    let was = was.map(|was| (version_of(was), was));
    let (what, help) = match now.in_force() {
        Some(current) => {
            let version = current.kept.version;
            let mut what = format!("{why}: {} is in force", shown(version, now.author()));
            if let Some((old, was)) = was {
                what.push_str(&format!("\n  what changed since {old}:"));
                for sentence in sentences(was, &current.kept.text) {
                    what.push_str(&format!("\n    {sentence}"));
                }
            }
            let help = format!(
                "nothing was written; `outrigger policy pull {target}` prints what is in force: \
                 take it over, then push with --base {version}"
            );
            (what, help)
        }
        None => {
            let by = now.author().map(|author| format!(" ({}, {})", author.by, author.at));
            let what = match &now.current {
                Some(_) => format!("{why}: the policy was removed{}", by.unwrap_or_default()),
                None => format!("{why}: there is no policy in the registry"),
            };
            (what, "nothing was written; --base none pushes where there is no policy".to_owned())
        }
    };
    Ended::does_not_hold(anyhow!(what)).with_help(help)
}

/// A version and who wrote it.
pub(super) fn shown(version: PolicyVersion, author: Option<&Author>) -> String {
    match author {
        Some(author) => format!("{version} ({}, {})", author.by, author.at),
        None => format!("{version} (its writer left no name)"),
    }
}

/// Who writes, and when.
pub(super) fn author(arguments: &WriteArgs) -> Author {
    let by = arguments.by.clone().filter(|by| !by.is_empty()).unwrap_or_else(who);
    Author::new(&humantime::format_rfc3339_seconds(clock::wall()).to_string(), &by)
}

/// `user@machine`, as far as the environment tells.
fn who() -> String {
    let first = |names: &[&str]| {
        let value =
            names.iter().find_map(|name| std::env::var(name).ok().filter(|v| !v.is_empty()));
        value.unwrap_or_else(|| "unknown".to_owned())
    };
    let machine = std::fs::read_to_string("/proc/sys/kernel/hostname")
        .or_else(|_| std::fs::read_to_string("/etc/hostname"))
        .map(|name| name.trim().to_owned())
        .ok()
        .filter(|name| !name.is_empty())
        .unwrap_or_else(|| first(&["HOSTNAME", "COMPUTERNAME"]));
    format!("{}@{machine}", first(&["USER", "LOGNAME", "USERNAME"]))
}
