//! What the terminal shows meanwhile: a live table for a terminal, plain lines for anything else.

use std::sync::Arc;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use serde_json::Value;
use tokio::task::JoinHandle;

use super::report::ChapterReport;
use super::script::Chapter;
use super::show::Shown;
use crate::print;

/// The running demo in a terminal.
#[derive(Debug)]
pub(crate) struct Progress {
    bar: Option<ProgressBar>,
    task: Option<JoinHandle<()>>,
}

impl Progress {
    /// Starts to show; redraws twice a second where somebody watches.
    pub(crate) fn start(shown: &Arc<Shown>) -> Self {
        if !print::is_watched() {
            return Self { bar: None, task: None };
        }
        let bar = ProgressBar::new_spinner();
        if let Ok(style) = ProgressStyle::with_template("{spinner} {msg}") {
            bar.set_style(style);
        }
        bar.enable_steady_tick(Duration::from_millis(120));
        let (shown, line) = (Arc::clone(shown), bar.clone());
        let task = tokio::spawn(async move {
            loop {
                line.set_message(table(&shown.show()));
                tokio::time::sleep(Duration::from_millis(500)).await;
            }
        });
        Self { bar: Some(bar), task: Some(task) }
    }

    /// A chapter starts.
    pub(crate) fn enter(&self, chapter: &Chapter) {
        if self.bar.is_none() {
            print::note(&format!("▶ {}: {}", chapter.name, chapter.title));
        }
    }

    /// A chapter has ended.
    pub(crate) fn leave(&self, report: &ChapterReport) {
        let mark = if report.kept { "✓" } else { "✗" };
        let mut line = format!(
            "{mark} {}: {} requests, {} failed; {}",
            report.name, report.requests, report.failed, report.measured
        );
        for why in &report.broken_because {
            line.push_str(&format!("\n  not kept: {why}"));
        }
        match &self.bar {
            Some(bar) => bar.println(line),
            None => print::note(&line),
        }
    }

    /// The script is over.
    pub(crate) fn end(self) {
        if let Some(task) = self.task {
            task.abort();
        }
        if let Some(bar) = self.bar {
            bar.finish_and_clear();
        }
    }
}

/// The figures and the table of endpoints, as lines.
fn table(shown: &Value) -> String {
    let number = |value: &Value| value.as_f64().unwrap_or(0.0);
    let ms = |value: &Value| value.as_f64().map_or_else(|| "–".to_owned(), |x| format!("{x:.1}"));
    let mut text = format!(
        "{:.0} s of {:.0} s · {} requests, {} failed · {:.0}/s · p50 {} ms, p99 {} ms · {} retries, {} ejections",
        number(&shown["elapsed_ms"]) / 1e3,
        number(&shown["total_ms"]) / 1e3,
        shown["requests"],
        shown["failed"],
        number(&shown["rate"]),
        ms(&shown["p50_ms"]),
        ms(&shown["p99_ms"]),
        shown["retries"],
        shown["ejections"],
    );
    let running = shown["chapters"]
        .as_array()
        .and_then(|all| all.iter().find(|chapter| chapter["state"] == "running"));
    if let Some(chapter) = running {
        text.push_str(&format!("\n  ▶ {}", chapter["title"].as_str().unwrap_or_default()));
    }
    text.push_str(&format!(
        "\n  {:<26} {:<10} {:>6} {:>7} {:>6} {:>8} {:>8}",
        "caller → endpoint", "state", "share", "rate/s", "flight", "p50 ms", "p99 ms"
    ));
    for caller in shown["callers"].as_array().into_iter().flatten() {
        for service in caller["services"].as_object().into_iter().flatten().map(|(_, s)| s) {
            for endpoint in service["endpoints"].as_array().into_iter().flatten() {
                let state = if endpoint["ejected"] == true {
                    "ejected"
                } else {
                    endpoint["status"].as_str().unwrap_or_default()
                };
                text.push_str(&format!(
                    "\n  {:<26} {:<10} {:>5.0}% {:>7.0} {:>6} {:>8} {:>8}",
                    format!(
                        "{} → {}",
                        caller["caller"].as_str().unwrap_or_default(),
                        endpoint["address"].as_str().unwrap_or_default()
                    ),
                    state,
                    number(&endpoint["share"]) * 100.0,
                    number(&endpoint["rate"]),
                    endpoint["in_flight"],
                    ms(&endpoint["p50_ms"]),
                    ms(&endpoint["p99_ms"]),
                ));
            }
        }
    }
    text
}
