//! The thread that writes.

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;
use std::sync::mpsc::Receiver;

use super::{AccessLogTo, Message};
use crate::Metrics;

/// Bytes that are written at once, give or take a line.
const BATCH: usize = 64 << 10;

/// Writes until nobody can send any more.
pub(super) fn run(to: &AccessLogTo, messages: &Receiver<Message>, metrics: &Metrics) {
    let mut out = Out { to, file: None, is_failing: false };
    let mut text = Vec::new();
    while let Ok(first) = messages.recv() {
        let (mut lines, mut waiting) = (0, Vec::new());
        let mut next = Some(first);
        while let Some(message) = next {
            match message {
                Message::Line(line) => {
                    line.write(&mut text);
                    lines += 1;
                }
                Message::Flush(tell) => waiting.push(tell),
            }
            next = if text.len() < BATCH { messages.try_recv().ok() } else { None };
        }
        if lines > 0 {
            let is_written = out.write(&text);
            metrics.export.lines_written(lines, is_written);
            text.clear();
        }
        for tell in waiting {
            // Whoever waited has run out of time.
            let _ = tell.send(());
        }
    }
}

struct Out<'a> {
    to: &'a AccessLogTo,
    file: Option<File>,
    is_failing: bool,
}

impl Out<'_> {
    fn write(&mut self, text: &[u8]) -> bool {
        let result = match self.to {
            AccessLogTo::Stderr => io::stderr().lock().write_all(text),
            AccessLogTo::File(path) => self.append(path, text),
            AccessLogTo::Nowhere => Ok(()),
        };
        match result {
            Ok(()) => {
                self.is_failing = false;
                true
            }
            Err(error) => {
                self.file = None;
                if !self.is_failing {
                    self.is_failing = true;
                    tracing::warn!(to = %self.to, %error, "access log not written");
                }
                false
            }
        }
    }

    /// Writes to the file that bears the name now: a rotation renames the one that did.
    fn append(&mut self, path: &Path, text: &[u8]) -> io::Result<()> {
        let mut file = match self.file.take().filter(|file| is_at(file, path)) {
            Some(file) => file,
            None => open(path)?,
        };
        file.write_all(text)?;
        self.file = Some(file);
        Ok(())
    }
}

/// Opens a file to append to it, made if it is not there.
pub(super) fn open(path: &Path) -> io::Result<File> {
    File::options().append(true).create(true).open(path)
}

#[cfg(unix)]
fn is_at(file: &File, path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    let place = |metadata: std::fs::Metadata| (metadata.dev(), metadata.ino());
    match (file.metadata().map(place), std::fs::metadata(path).map(place)) {
        (Ok(open), Ok(named)) => open == named,
        _ => false,
    }
}

#[cfg(not(unix))]
fn is_at(_: &File, path: &Path) -> bool {
    path.exists()
}
