//! What the terminal shows meanwhile: a live table for a terminal, plain lines for anything else.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::Value;
use tokio::task::JoinHandle;

use super::report::ChapterReport;
use super::script::Chapter;
use super::show::Shown;
use crate::print;

/// How often a watched terminal is redrawn.
const FRAME: Duration = Duration::from_millis(500);

/// The running demo in a terminal.
#[derive(Debug)]
pub(crate) struct Progress {
    live: Option<Live>,
}

impl Progress {
    /// Starts to show; redraws twice a second where somebody watches.
    pub(crate) fn start(shown: &Arc<Shown>) -> Self {
        Self { live: print::is_watched().then(|| Live::start(Arc::clone(shown))) }
    }

    /// A chapter starts.
    pub(crate) fn enter(&self, chapter: &Chapter) {
        if self.live.is_none() {
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
        match &self.live {
            Some(live) => live.above(&line),
            None => print::note(&line),
        }
    }

    /// The script is over.
    pub(crate) fn end(self) {
        // The table goes with it.
        drop(self.live);
    }
}

/// The table that is drawn over and over, at the bottom of the terminal.
#[derive(Debug)]
struct Live {
    frame: Arc<Mutex<Frame>>,
    task: JoinHandle<()>,
}

impl Live {
    fn start(shown: Arc<Shown>) -> Self {
        let frame = Arc::new(Mutex::new(Frame::default()));
        let drawn = Arc::clone(&frame);
        let task = tokio::spawn(async move {
            loop {
                let text = table(&shown.show());
                print::part(&locked(&drawn).instead(text));
                tokio::time::sleep(FRAME).await;
            }
        });
        Self { frame, task }
    }

    /// Prints a line above the table, which stays.
    fn above(&self, line: &str) {
        print::part(&locked(&self.frame).after(line));
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        self.task.abort();
        print::part(&locked(&self.frame).instead(String::new()));
    }
}

fn locked(frame: &Mutex<Frame>) -> MutexGuard<'_, Frame> {
    // A frame is whole whenever the lock is free.
    frame.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What stands at the bottom of the terminal.
#[derive(Debug, Default)]
struct Frame {
    text: String,
    /// Set by [`Frame::instead`] with nothing: whoever still draws then comes too late.
    over: bool,
}

impl Frame {
    /// What to write so that `text` stands there instead; nothing at all ends it for good.
    fn instead(&mut self, text: String) -> String {
        if self.over {
            return String::new();
        }
        self.over = text.is_empty();
        let erased = self.erased();
        self.text = text;
        erased + &self.drawn()
    }

    /// What to write so that `line` stands above it.
    fn after(&self, line: &str) -> String {
        format!("{}{line}\n{}", self.erased(), self.drawn())
    }

    fn erased(&self) -> String {
        match self.text.lines().count() {
            0 => String::new(),
            lines => format!("\x1b[{lines}A\x1b[J"),
        }
    }

    fn drawn(&self) -> String {
        match self.text.as_str() {
            "" => String::new(),
            // Without wrapping: a line of the text is one of the terminal, or the next frame erases too little.
            text => format!("\x1b[?7l{text}\n\x1b[?7h"),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_is_drawn_over_the_one_before_it() {
        let mut frame = Frame::default();
        assert_eq!(frame.instead("a\nb".to_owned()), "\x1b[?7la\nb\n\x1b[?7h");
        assert_eq!(frame.instead("c".to_owned()), "\x1b[2A\x1b[J\x1b[?7lc\n\x1b[?7h");
        assert_eq!(frame.after("line"), "\x1b[1A\x1b[Jline\n\x1b[?7lc\n\x1b[?7h");
    }

    #[test]
    fn nothing_is_drawn_after_the_end() {
        let mut frame = Frame::default();
        frame.instead("a".to_owned());
        assert_eq!(frame.instead(String::new()), "\x1b[1A\x1b[J");
        assert_eq!(frame.instead("late".to_owned()), "");
    }
}
