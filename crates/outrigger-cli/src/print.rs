//! The two streams: results on stdout, everything else on stderr.

use std::io::{IsTerminal, Write, stderr, stdout};

use crate::paint::Paint;

/// Prints a part of the result.
pub(crate) fn result(text: &str) {
    // A reader that has gone away is no failure of ours.
    let _ = writeln!(stdout().lock(), "{text}");
}

/// Prints a part of the result as it is, not a byte more.
pub(crate) fn raw(text: &str) {
    let mut out = stdout().lock();
    let _ = out.write_all(text.as_bytes());
    let _ = out.flush();
}

/// Prints a line for whoever watches.
pub(crate) fn note(text: &str) {
    let _ = writeln!(stderr().lock(), "{text}");
}

/// Prints a part of what whoever watches sees, as it is.
pub(crate) fn part(text: &str) {
    let mut err = stderr().lock();
    let _ = err.write_all(text.as_bytes());
    let _ = err.flush();
}

/// Prints why it did not work, with each cause on a line of its own.
pub(crate) fn error(error: &anyhow::Error) {
    let mut text = format!("{}: {error}", Paint::of(&stderr()).bad("error"));
    for cause in error.chain().skip(1) {
        text.push_str(&format!("\n  because: {cause}"));
    }
    note(&text);
}

/// Whether somebody watches stderr.
pub(crate) fn is_watched() -> bool {
    stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none()
}
