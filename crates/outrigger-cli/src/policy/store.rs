//! Policies in the registry: what is in force, what was, and how one replaces the other.
//!
//! `outrigger/policy/<service>` holds the text as written, `outrigger/history/<service>/<n>` a line
//! that says who wrote it and when, and then the same text. A write goes in this order, so that
//! nothing is lost wherever it ends:
//!
//! 1. what is about to be overwritten gets its place in the history, unless it has one (its writer
//!    ended half-way, or was another program);
//! 2. the text is written by compare-and-set on the index that was read;
//! 3. it gets its own place in the history;
//! 4. all but the last ten places are deleted.
//!
//! One transaction would be shorter, and Consul bounds the whole of one to the size of a single
//! value: a policy of more than 190 KiB would not fit beside its history.

use std::time::Duration;

use anyhow::anyhow;
use outrigger::consul::{Kv, KvEntry};
use outrigger::core::PolicyVersion;
use outrigger_policy::{is_tombstone, version_of};
use serde::{Deserialize, Serialize};
use tokio::task::JoinSet;

use super::Ended;
use crate::cli::policy::{RegistryArgs, Target};
use crate::registry::{self, Named};

/// How many versions are kept.
pub(super) const KEPT: usize = 10;

/// Most bytes of a policy that fit below a key together with who wrote it.
pub(super) const TEXT_MAX: usize = outrigger::consul::MAX_VALUE - 1_024;

const MARK: &str = "# outrigger history: ";

/// What is in force.
#[derive(Clone, Debug)]
pub(super) struct Current {
    /// The text as written.
    pub(super) text: String,
    /// Its version.
    pub(super) version: PolicyVersion,
    /// What a compare-and-set compares.
    index: u64,
}

impl Current {
    /// Whether it says that there is no policy.
    pub(super) fn is_removed(&self) -> bool {
        is_tombstone(&self.text)
    }
}

/// Who wrote a version, and when.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Author {
    /// When, as RFC 3339.
    pub(super) at: String,
    /// Who.
    pub(super) by: String,
}

/// A place in the history.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    /// Its number; later ones are larger.
    pub(super) number: u64,
    /// Who wrote it; `None` when it was found and not pushed.
    pub(super) author: Option<Author>,
    /// The text as written.
    pub(super) text: String,
    /// Its version.
    pub(super) version: PolicyVersion,
}

impl Entry {
    fn read(number: u64, value: &[u8]) -> Self {
        let value = String::from_utf8_lossy(value);
        let split = value.strip_prefix(MARK).and_then(|rest| rest.split_once('\n'));
        // Foreign places are texts without a line of ours.
        let (author, text) = match split {
            Some((line, text)) => (serde_json::from_str(line).ok(), text),
            None => (None, &*value),
        };
        Self { number, author, text: text.to_owned(), version: version_of(text) }
    }

    /// Whether it says that there is no policy.
    pub(super) fn is_removed(&self) -> bool {
        is_tombstone(&self.text)
    }
}

/// A key whose text is still what was read.
#[derive(Debug)]
pub(super) struct Read {
    /// What is in force; `None` when there is no key.
    pub(super) current: Option<Current>,
    /// The history, the newest last.
    pub(super) history: Vec<Entry>,
}

impl Read {
    /// The version in force; `None` when there is no policy, or it was removed.
    pub(super) fn in_force(&self) -> Option<&Current> {
        self.current.as_ref().filter(|current| !current.is_removed())
    }

    /// The newest place of the history; 0 when there is none.
    fn newest(&self) -> u64 {
        self.history.last().map_or(0, |entry| entry.number)
    }

    /// Who wrote what is in force, when that is known.
    pub(super) fn author(&self) -> Option<&Author> {
        let version = self.current.as_ref()?.version;
        let last = self.history.iter().rev().find(|entry| entry.version == version)?;
        last.author.as_ref()
    }
}

/// Somebody else wrote first; what stands there now.
#[derive(Debug)]
pub(super) struct Overtaken(pub(super) Read);

/// The policies of one registry.
#[derive(Debug)]
pub(super) struct Store {
    kv: Kv,
    /// Its address, for messages.
    pub(super) registry: String,
}

impl Store {
    /// The registry that flags and environment name; nothing is sent yet.
    pub(super) fn open(arguments: &RegistryArgs) -> Result<Self, Ended> {
        let Named { consul, address: registry } = registry::named(arguments)?;
        Ok(Self { kv: consul.kv(), registry })
    }

    /// Reads what is in force, and what was.
    pub(super) async fn read(&self, target: &Target) -> Result<Read, Ended> {
        // First the history: what is written between the two is in force and not in it, as when
        // its writer ended half-way.
        let history = self.history(target).await?;
        Ok(Read { current: self.current(target).await?, history })
    }

    /// Replaces what was read; the number of its place in the history.
    ///
    /// The outer error is of the registry; the inner one says that somebody else was faster.
    pub(super) async fn write(
        &self,
        target: &Target,
        text: &str,
        author: &Author,
        read: &Read,
    ) -> Result<Result<u64, Overtaken>, Ended> {
        if let Some(current) = &read.current
            && read.history.last().is_none_or(|last| last.version != current.version)
        {
            self.remember(target, &current.text, None, read.newest()).await?;
        }
        let index = read.current.as_ref().map_or(0, |current| current.index);
        let written = self.kv.put_if(&key(target), text.to_owned(), index).await;
        let written = written.map_err(|error| {
            let ended = Ended::from(error);
            match ended.exit {
                crate::Exit::Unreachable => ended.with_help(format!(
                    "whether it was written is not known; `outrigger policy history {target}` \
                     tells, and the same push again does no harm"
                )),
                _ => ended,
            }
        })?;
        // A lost answer that was asked for again reads like somebody else's write of the same text.
        if !written && self.current(target).await?.is_none_or(|now| now.text != text) {
            return Ok(Err(Overtaken(self.read_with_author(target).await?)));
        }
        let number =
            self.remember(target, text, Some(author), read.newest()).await.map_err(|ended| {
                ended.context(format!("{target} is in force, and not in its history yet"))
            })?;
        self.forget_old(target).await?;
        Ok(Ok(number))
    }

    async fn current(&self, target: &Target) -> Result<Option<Current>, Ended> {
        let entry = self.kv.get(&key(target)).await?;
        Ok(entry.map(|KvEntry { value, modify_index, .. }| {
            let text = String::from_utf8_lossy(&value).into_owned();
            Current { version: version_of(&text), text, index: modify_index }
        }))
    }

    async fn history(&self, target: &Target) -> Result<Vec<Entry>, Ended> {
        let mut reading = JoinSet::new();
        for number in self.numbers(target).await? {
            let (kv, key) = (self.kv.clone(), place(target, number));
            reading.spawn(async move { kv.get(&key).await.map(|entry| (number, entry)) });
        }
        let mut entries = Vec::new();
        while let Some(read) = reading.join_next().await {
            let (number, entry) = read.map_err(|error| Ended::unreachable(error.into()))??;
            // One that is gone meanwhile was the oldest of somebody else's push.
            entries.extend(entry.map(|entry| Entry::read(number, &entry.value)));
        }
        entries.sort_by_key(|entry| entry.number);
        Ok(entries)
    }

    /// The history's numbers, ascending.
    async fn numbers(&self, target: &Target) -> Result<Vec<u64>, Ended> {
        let prefix = format!("outrigger/history/{target}/");
        let keys = self.kv.keys(&prefix).await?;
        let number = |key: &String| key.strip_prefix(&prefix).and_then(|rest| rest.parse().ok());
        let mut numbers: Vec<u64> = keys.iter().filter_map(number).collect();
        numbers.sort_unstable();
        Ok(numbers)
    }

    /// Gives a text the next place in the history, unless it got one after the place `since`.
    async fn remember(
        &self,
        target: &Target,
        text: &str,
        author: Option<&Author>,
        since: u64,
    ) -> Result<u64, Ended> {
        let line = author.map(serde_json::to_string).transpose();
        let line = line.map_err(|error| Ended::usage(error.into()))?;
        let value = format!("{MARK}{}\n{text}", line.as_deref().unwrap_or("null"));
        for _ in 0..100 {
            let numbers = self.numbers(target).await?;
            for &number in numbers.iter().rev().take_while(|number| **number > since) {
                let Some(entry) = self.kv.get(&place(target, number)).await? else { continue };
                let found = Entry::read(number, &entry.value);
                if found.text != text {
                    continue;
                }
                // Somebody who found it in force before us could not know who wrote it.
                if found.author.is_none() && author.is_some() {
                    let index = entry.modify_index;
                    self.kv.put_if(&place(target, number), value.clone(), index).await?;
                }
                return Ok(number);
            }
            let number = numbers.last().map_or(1, |last| last.saturating_add(1));
            if self.kv.put_if(&place(target, number), value.clone(), 0).await? {
                return Ok(number);
            }
            // Somebody else took it: look again.
        }
        Err(Ended::unreachable(anyhow!("the history of {target} is written to without a pause")))
    }

    /// Gives what is in force its place in the history, if its writer ended before that.
    pub(super) async fn complete(
        &self,
        target: &Target,
        read: &Read,
        author: &Author,
    ) -> Result<(), Ended> {
        let Some(current) = &read.current else { return Ok(()) };
        if read.history.last().is_none_or(|last| last.version != current.version) {
            self.remember(target, &current.text, Some(author), read.newest()).await?;
            self.forget_old(target).await?;
        }
        Ok(())
    }

    async fn forget_old(&self, target: &Target) -> Result<(), Ended> {
        let numbers = self.numbers(target).await?;
        for number in numbers.iter().rev().skip(KEPT) {
            self.kv.delete(&place(target, *number)).await?;
        }
        Ok(())
    }

    /// As [`Store::read`], and waits a moment for whoever has just written to sign it.
    pub(super) async fn read_with_author(&self, target: &Target) -> Result<Read, Ended> {
        for _ in 0..10 {
            let read = self.read(target).await?;
            if read.author().is_some() || read.current.is_none() {
                return Ok(read);
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        self.read(target).await
    }
}

fn key(target: &Target) -> String {
    format!("outrigger/policy/{target}")
}

fn place(target: &Target, number: u64) -> String {
    format!("outrigger/history/{target}/{number}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_in_the_history_says_who_and_holds_the_text_as_written() {
        let value =
            "# outrigger history: {\"at\":\"2026-01-02T03:04:05Z\",\"by\":\"ann\"}\n# hm\na: 1";
        let entry = Entry::read(3, value.as_bytes());
        assert_eq!(entry.author.as_ref().map(|author| &*author.by), Some("ann"));
        assert_eq!(entry.text, "# hm\na: 1", "not a byte is added or lost");
        assert_eq!(entry.version, version_of("# hm\na: 1"));
    }

    #[test]
    fn a_place_that_somebody_else_wrote_is_a_text_without_an_author() {
        for foreign in ["version: 1\n", "# outrigger history: null\nversion: 1\n"] {
            let entry = Entry::read(1, foreign.as_bytes());
            assert_eq!((entry.author, &*entry.text), (None, "version: 1\n"), "{foreign:?}");
        }
    }
}
