//! What is wrong with a setting.

use std::fmt;

use outrigger_policy::Report;
use serde_json::{Value as Json, json};

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Problem {
    /// Flag, variable, or file with line and column.
    pub place: String,
    /// The key; empty for a file as a whole.
    pub key: String,
    /// What is wrong, with the value found and what is allowed.
    pub message: String,
    /// How to mend it; may be empty.
    pub fix: String,
    /// The line of the file with marks; empty elsewhere.
    pub(super) excerpt: String,
}

impl Problem {
    pub(super) fn new(
        place: impl Into<String>,
        key: &str,
        message: impl Into<String>,
        fix: impl Into<String>,
    ) -> Self {
        Self {
            place: place.into(),
            key: key.to_owned(),
            message: message.into(),
            fix: fix.into(),
            excerpt: String::new(),
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let place = if self.place.is_empty() { String::new() } else { format!("{}: ", self.place) };
        write!(f, "error: {place}{}", self.message)?;
        if !self.excerpt.is_empty() {
            write!(f, "\n{}", self.excerpt.trim_end_matches('\n'))?;
        }
        if self.fix.is_empty() { Ok(()) } else { write!(f, "\n  = help: {}", self.fix) }
    }
}

/// Everything that is wrong with the settings.
///
/// Its `Display` is the form for people, one problem after the other.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum SettingsError {
    /// The file is not what its name says it is.
    File(Box<Report>),
    /// Keys and values.
    Problems(Vec<Problem>),
}

impl SettingsError {
    /// The array of the commands' `--json`.
    #[must_use]
    pub fn to_json(&self) -> Json {
        match self {
            Self::File(report) => report.to_json(),
            Self::Problems(problems) => problems
                .iter()
                .map(|problem| {
                    json!({
                        "rule": "settings",
                        "severity": "error",
                        "subject": problem.key,
                        "place": problem.place,
                        "message": problem.message,
                        "fix": problem.fix,
                    })
                })
                .collect(),
        }
    }
}

impl fmt::Display for SettingsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(report) => f.write_str(report.to_string().trim_end()),
            Self::Problems(problems) => {
                for (at, problem) in problems.iter().enumerate() {
                    if at > 0 {
                        f.write_str("\n")?;
                    }
                    write!(f, "{problem}")?;
                }
                Ok(())
            }
        }
    }
}

impl std::error::Error for SettingsError {}
