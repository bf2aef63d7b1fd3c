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

use std::fmt;
use std::time::Duration;

use anyhow::anyhow;
use outrigger::consul::{Kv, KvEntry};
use tokio::task::JoinSet;

use super::Ended;
use super::kept::{Author, Current, Entry, Read, number_of, signed};
use crate::cli::policy::{RegistryArgs, Target};
use crate::registry::{self, Named};

/// How many versions are kept.
pub(super) const KEPT: usize = 10;

/// How many places of a history are read: more than [`KEPT`] only while another program writes
/// there, or a push ended before it deleted the oldest.
const READ_MAX: usize = 4 * KEPT;

/// Most bytes of a policy that fit below a key together with who wrote it.
pub(super) const TEXT_MAX: usize = outrigger::consul::MAX_VALUE - 1_024;

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
            && read.history.last().is_none_or(|last| last.kept.version != current.kept.version)
        {
            self.remember(target, &current.kept.text, None, read.newest()).await?;
        }
        let index = read.current.as_ref().map_or(0, |current| current.index);
        let written = self.kv.put_if(&key(target), text.to_owned(), index).await;
        let written = written.map_err(|error| {
            let is_known = error.is_denied();
            let ended = Ended::from(error);
            match ended.exit {
                crate::Exit::Unreachable if !is_known => ended.with_help(format!(
                    "whether it was written is not known; `outrigger policy history {target}` \
                     tells, and the same push again does no harm"
                )),
                _ => ended,
            }
        })?;
        // A lost answer that was asked for again reads like somebody else's write of the same text.
        if !written && self.current(target).await?.is_none_or(|now| now.kept.text != text) {
            return Ok(Err(Overtaken(self.read_with_author(target).await?)));
        }
        let number =
            self.remember(target, text, Some(author), read.newest()).await.map_err(|ended| {
                let why = format!("{target} is in force, and not in its history yet");
                ended.context(why).and_help("the same push again gives it its place")
            })?;
        self.forget_old(target).await?;
        Ok(Ok(number))
    }

    async fn current(&self, target: &Target) -> Result<Option<Current>, Ended> {
        let entry = self.kv.get(&key(target)).await?;
        Ok(entry.map(|KvEntry { value, modify_index, .. }| Current::new(&value, modify_index)))
    }

    async fn history(&self, target: &Target) -> Result<Vec<Entry>, Ended> {
        let mut reading = JoinSet::new();
        for number in self.numbers(target).await?.into_iter().rev().take(READ_MAX) {
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

    /// Whose policies there are, as far as the token may list them.
    pub(super) async fn targets(&self) -> Vec<String> {
        let prefix = key("");
        let keys = self.kv.keys(&prefix).await.unwrap_or_default();
        keys.iter().filter_map(|key| Some(key.strip_prefix(&prefix)?.to_owned())).collect()
    }

    /// The history's numbers, ascending.
    async fn numbers(&self, target: &Target) -> Result<Vec<u64>, Ended> {
        let prefix = format!("outrigger/history/{target}/");
        let keys = self.kv.keys(&prefix).await?;
        let mut numbers: Vec<u64> = keys.iter().filter_map(|key| number_of(&prefix, key)).collect();
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
        let value = signed(author, text).map_err(|error| Ended::usage(error.into()))?;
        for _ in 0..100 {
            let numbers = self.numbers(target).await?;
            for &number in numbers.iter().rev().take_while(|number| **number > since) {
                let Some(entry) = self.kv.get(&place(target, number)).await? else { continue };
                let found = Entry::read(number, &entry.value);
                if found.kept.text != text {
                    continue;
                }
                // Somebody who found it in force before us could not know who wrote it.
                if found.author.is_none() && author.is_some() {
                    let index = entry.modify_index;
                    self.kv.put_if(&place(target, number), value.clone(), index).await?;
                }
                return Ok(number);
            }
            let number = numbers.last().map_or(1, |last| last + 1);
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
        if read.history.last().is_none_or(|last| last.kept.version != current.kept.version) {
            self.remember(target, &current.kept.text, Some(author), read.newest()).await?;
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

fn key(target: impl fmt::Display) -> String {
    format!("outrigger/policy/{target}")
}

fn place(target: &Target, number: u64) -> String {
    format!("outrigger/history/{target}/{number}")
}
