//! The text of a file, and places in it.

use std::fmt;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use outrigger_core::PolicyVersion;
use sha2::{Digest, Sha256};

/// How a policy is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Format {
    /// YAML 1.2, without anchors, aliases and tags.
    #[default]
    Yaml,
    /// JSON.
    Json,
    /// TOML.
    Toml,
}

impl Format {
    /// The format that a file's name tells; YAML for anything unknown, such as `-` for stdin.
    #[must_use]
    pub fn of_name(name: &str) -> Self {
        match name.rsplit_once('.').map(|(_, ending)| ending.to_ascii_lowercase()).as_deref() {
            Some("json") => Self::Json,
            Some("toml") => Self::Toml,
            _ => Self::Yaml,
        }
    }

    /// The format of a text: by the ending of its name, else by its first sign.
    #[must_use]
    pub fn of(name: &str, text: &str) -> Self {
        let ending = Path::new(name).extension().and_then(|ending| ending.to_str());
        match ending.map(str::to_ascii_lowercase).as_deref() {
            Some("yaml" | "yml" | "json" | "toml") => Self::of_name(name),
            _ => Self::of_text(text),
        }
    }

    /// The format that a text without a telling name is most likely written in, such as a key of
    /// the registry or stdin: JSON begins with `{`, TOML with a table or with `key =`.
    #[must_use]
    pub fn of_text(text: &str) -> Self {
        let mut lines = text.trim_start_matches('\u{feff}').lines().map(str::trim);
        let first = lines.find(|line| !line.is_empty() && !line.starts_with('#'));
        match first.unwrap_or_default() {
            line if line.starts_with('{') => Self::Json,
            line if line.starts_with('[') => Self::Toml,
            line => match line.find([':', '=']) {
                Some(at) if line.as_bytes()[at] == b'=' => Self::Toml,
                _ => Self::Yaml,
            },
        }
    }
}

/// The version of a policy's text: the first 12 hex digits of its SHA-256.
#[must_use]
pub fn version_of(text: &str) -> PolicyVersion {
    let digest = Sha256::digest(text.as_bytes());
    let first = digest.iter().take(6).fold(0_u64, |number, &byte| number << 8 | u64::from(byte));
    PolicyVersion(first)
}

/// A place in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Place {
    /// The file's name, as it was given.
    pub file: Arc<str>,
    /// The line, from 1; 0 for the file as a whole.
    pub line: usize,
    /// The column, from 1, in characters.
    pub column: usize,
    /// The bytes meant, on that line or beyond it.
    pub span: Range<usize>,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => f.write_str(&self.file),
            line => write!(f, "{}:{line}:{}", self.file, self.column),
        }
    }
}

/// Where something stands in a text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) start: usize,
    pub(crate) end: usize,
}

impl Span {
    pub(crate) const fn new(start: usize, end: usize) -> Self {
        Self { start, end }
    }

    pub(crate) const fn to(self, other: Self) -> Self {
        Self { start: self.start, end: other.end }
    }
}

/// A file's name and text, with the places of its lines.
#[derive(Clone, Debug)]
pub(crate) struct Source {
    pub(crate) name: Arc<str>,
    pub(crate) text: Arc<str>,
    starts: Arc<[usize]>,
}

impl Source {
    pub(crate) fn new(name: &str, text: &str) -> Self {
        let breaks = text.bytes().enumerate().filter(|&(_, byte)| byte == b'\n');
        let starts = std::iter::once(0).chain(breaks.map(|(at, _)| at + 1)).collect();
        // A name is printed: what would break the line of a message is left out.
        let name: String = name.chars().filter(|c| !c.is_control()).take(4_096).collect();
        Self { name: name.into(), text: text.into(), starts }
    }

    /// The place of a span; whatever lies beyond the text is brought to its end.
    pub(crate) fn place(&self, span: Span) -> Place {
        let start = self.boundary(span.start);
        let end = self.boundary(span.end.max(span.start));
        let line = self.starts.partition_point(|&from| from <= start);
        let from = self.starts.get(line.saturating_sub(1)).copied().unwrap_or(0);
        let before = self.text.get(from..start).unwrap_or_default();
        let column = before.trim_start_matches('\u{feff}').chars().count() + 1;
        Place { file: Arc::clone(&self.name), line, column, span: start..end }
    }

    /// The file as a whole.
    pub(crate) fn whole(&self) -> Place {
        Place { file: Arc::clone(&self.name), line: 0, column: 0, span: 0..0 }
    }

    pub(crate) fn slice(&self, span: Span) -> &str {
        let (start, end) = (self.boundary(span.start), self.boundary(span.end));
        self.text.get(start..end).unwrap_or_default()
    }

    /// A line by its number, from 1, without its break.
    pub(crate) fn line(&self, number: usize) -> Option<&str> {
        let from = *self.starts.get(number.checked_sub(1)?)?;
        let line = self.text.get(from..)?.lines().next().unwrap_or_default();
        Some(line.trim_start_matches('\u{feff}'))
    }

    fn boundary(&self, at: usize) -> usize {
        let mut at = at.min(self.text.len());
        while !self.text.is_char_boundary(at) {
            at -= 1;
        }
        at
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_sign_of_a_text_tells_its_format() {
        for (text, format) in [
            ("version: 1\n", Format::Yaml),
            ("# a = b\n\n  service: x = y\n", Format::Yaml),
            ("\u{feff}{\"version\": 1}", Format::Json),
            ("# : no\nversion = 1\n", Format::Toml),
            ("[retry]\n", Format::Toml),
            ("", Format::Yaml),
        ] {
            assert_eq!(Format::of_text(text), format, "{text:?}");
        }
    }
}
