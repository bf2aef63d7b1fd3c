//! What the demo says at its end: for people, and as one JSON document.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use anyhow::Result;
use serde::Serialize;

use super::board::{Board, Transition};
use crate::{Exit, print};

/// The report; its JSON form is part of the product's outside.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    pub(crate) requests: u64,
    pub(crate) failed: u64,
    pub(crate) failed_by_class: BTreeMap<String, u64>,
    pub(crate) retries: u64,
    pub(crate) ejections: u64,
    pub(crate) transitions: Vec<Transition>,
    pub(crate) chapters: Vec<ChapterReport>,
    pub(crate) languages: Vec<String>,
    pub(crate) trace: Option<TraceReport>,
    pub(crate) degraded: u64,
    pub(crate) p50_ms: Option<f64>,
    pub(crate) p99_ms: Option<f64>,
    pub(crate) seconds: f64,
}

/// How one chapter went.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct ChapterReport {
    pub(crate) name: &'static str,
    pub(crate) promise: &'static str,
    pub(crate) kept: bool,
    pub(crate) requests: u64,
    pub(crate) failed: u64,
    pub(crate) degraded: u64,
    /// What was measured, in words.
    pub(crate) measured: String,
    /// The same as numbers, by name, where a chapter has some for scripts.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) figures: BTreeMap<&'static str, f64>,
    /// Why the promise was not kept; empty when it was.
    pub(crate) broken_because: Vec<String>,
}

/// The trace that was shown.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct TraceReport {
    pub(crate) id: String,
    pub(crate) services: Vec<String>,
    pub(crate) spans: usize,
}

impl Report {
    /// What the board counted in so many seconds, and how the chapters went.
    pub(crate) fn new(board: &Board, chapters: Vec<ChapterReport>, seconds: f64) -> Self {
        let figures = board.figures();
        Self {
            requests: figures.requests,
            failed: figures.failed,
            failed_by_class: figures.failed_by_class,
            retries: figures.retries,
            ejections: figures.ejections,
            transitions: figures.transitions,
            chapters,
            languages: Vec::new(),
            trace: None,
            degraded: figures.degraded,
            p50_ms: figures.p50_ms,
            p99_ms: figures.p99_ms,
            seconds,
        }
    }

    /// Prints it: as JSON with the text beside it for people, or as the text alone.
    pub(crate) fn print(&self, json: bool) -> Result<Exit> {
        if json {
            print::note(&self.text());
            print::result(&serde_json::to_string(self)?);
        } else {
            print::result(&self.text());
        }
        Ok(self.exit())
    }

    /// How the demo ends.
    pub(crate) fn exit(&self) -> Exit {
        if self.is_kept() { Exit::Done } else { Exit::DoesNotHold }
    }

    /// Whether every chapter kept its promise.
    pub(crate) fn is_kept(&self) -> bool {
        self.chapters.iter().all(|chapter| chapter.kept)
    }

    /// The report for people.
    pub(crate) fn text(&self) -> String {
        let mut text = String::new();
        // Writing into a String cannot fail.
        let _ = self.write_to(&mut text);
        text
    }

    fn write_to(&self, to: &mut String) -> std::fmt::Result {
        let per_second = self.requests as f64 / self.seconds.max(0.001);
        writeln!(
            to,
            "\n{} requests in {:.0} s ({per_second:.0}/s): {} failed, {} answered without a price",
            self.requests, self.seconds, self.failed, self.degraded
        )?;
        for (class, count) in &self.failed_by_class {
            writeln!(to, "  {count:>6} × {class}")?;
        }
        let ms = |x: Option<f64>| x.map_or_else(|| "–".to_owned(), |x| format!("{x:.1} ms"));
        writeln!(
            to,
            "p50 {}, p99 {} over the last seconds; {} retries, {} ejections, {} circuit changes",
            ms(self.p50_ms),
            ms(self.p99_ms),
            self.retries,
            self.ejections,
            self.transitions.len()
        )?;
        writeln!(to)?;
        writeln!(to, "  chapter    requests  failed  promise")?;
        for chapter in &self.chapters {
            let mark = if chapter.kept { "✓" } else { "✗" };
            writeln!(
                to,
                "{mark} {:<10} {:>8}  {:>6}  {}",
                chapter.name, chapter.requests, chapter.failed, chapter.promise
            )?;
            writeln!(to, "{:31}{}", "", chapter.measured)?;
            for why in &chapter.broken_because {
                writeln!(to, "{:31}not kept: {why}", "")?;
            }
        }
        if let Some(trace) = &self.trace {
            writeln!(
                to,
                "\nOne trace, {}: {} spans through {}",
                trace.id,
                trace.spans,
                trace.services.join(", ")
            )?;
        }
        let verdict =
            if self.is_kept() { "Every promise was kept." } else { "A promise was not kept." };
        writeln!(to, "\n{verdict}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(kept: bool) -> Report {
        Report {
            requests: 100,
            failed: u64::from(!kept),
            failed_by_class: BTreeMap::new(),
            retries: 1,
            ejections: 1,
            transitions: Vec::new(),
            chapters: vec![ChapterReport {
                name: "calm",
                promise: "no failed request",
                kept,
                requests: 100,
                failed: u64::from(!kept),
                degraded: 0,
                measured: "nothing unusual".to_owned(),
                figures: BTreeMap::new(),
                broken_because: if kept { Vec::new() } else { vec!["1 failed".to_owned()] },
            }],
            languages: vec!["rust".to_owned()],
            trace: None,
            degraded: 0,
            p50_ms: Some(1.0),
            p99_ms: None,
            seconds: 10.0,
        }
    }

    #[test]
    fn a_broken_promise_is_named_with_its_reason() {
        assert!(report(true).is_kept());
        let broken = report(false);
        assert!(!broken.is_kept());
        assert!(broken.text().contains("not kept: 1 failed"));
    }

    #[test]
    fn the_document_has_the_keys_that_scripts_rely_on() {
        let document = serde_json::to_value(report(true)).expect("a document");
        for key in [
            "requests",
            "failed",
            "failed_by_class",
            "retries",
            "ejections",
            "transitions",
            "chapters",
            "languages",
            "trace",
        ] {
            assert!(document.get(key).is_some(), "{key}");
        }
        for key in ["name", "promise", "kept", "requests", "failed"] {
            assert!(document["chapters"][0].get(key).is_some(), "{key}");
        }
    }
}
