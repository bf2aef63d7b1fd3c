//! What is wrong with a file, with its place and how to mend it.

mod render;
mod rule;

pub(crate) use render::excerpt;
pub use rule::{Rule, Severity, UnknownRule};

use std::fmt;

use serde::Serialize;
use serde_json::{Value as Json, json};

use crate::source::{Place, Source};

/// One thing that is wrong with a file, or unwise.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Finding {
    /// Which rule found it.
    pub rule: Rule,
    /// Whether the file is refused for it.
    pub severity: Severity,
    /// The key, such as `routes[2].split[0].weight`; empty for the file as a whole.
    pub subject: String,
    /// Where it stands.
    pub place: Place,
    /// What is wrong, with the value found and what is allowed.
    pub message: String,
    /// How to mend it; may be empty.
    pub fix: String,
    /// Another place that matters, and why: the first of two equal keys, the limit that is passed.
    pub also: Option<(Place, String)>,
}

impl Finding {
    /// The form of the commands' `--json`.
    #[must_use]
    pub fn to_json(&self) -> Json {
        json!({
            "rule": self.rule.id(),
            "severity": self.severity.as_str(),
            "subject": self.subject,
            "place": self.place.to_string(),
            "message": self.message,
            "fix": self.fix,
        })
    }
}

impl Serialize for Finding {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        self.to_json().serialize(to)
    }
}

/// One line, for logs: place, message, fix.
impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.message)?;
        if self.fix.is_empty() { Ok(()) } else { write!(f, "; {}", self.fix) }
    }
}

/// Everything that is wrong with one file, in the order of the file.
///
/// Its `Display` is the form for people: each finding with its line, a mark under the value, and
/// how to mend it.
#[derive(Clone, Debug)]
pub struct Report {
    pub(crate) source: Source,
    pub(crate) findings: Vec<Finding>,
}

impl Report {
    pub(crate) fn new(source: &Source, mut findings: Vec<Finding>) -> Self {
        findings.sort_by(|a, b| {
            let key = |finding: &Finding| (finding.place.line, finding.place.column);
            key(a).cmp(&key(b)).then_with(|| a.subject.cmp(&b.subject))
        });
        findings.dedup_by(|a, b| a.place == b.place && a.message == b.message);
        Self { source: source.clone(), findings }
    }

    /// All findings.
    #[must_use]
    pub fn findings(&self) -> &[Finding] {
        &self.findings
    }

    /// Those for which the file is refused.
    pub fn errors(&self) -> impl Iterator<Item = &Finding> {
        self.findings.iter().filter(|finding| finding.severity == Severity::Error)
    }

    /// Those that are legal and unwise.
    pub fn warnings(&self) -> impl Iterator<Item = &Finding> {
        self.findings.iter().filter(|finding| finding.severity == Severity::Warning)
    }

    /// Whether there is nothing to say.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.findings.is_empty()
    }

    /// Whether the file is refused.
    #[must_use]
    pub fn is_refused(&self) -> bool {
        self.errors().next().is_some()
    }

    /// The array of the commands' `--json`.
    #[must_use]
    pub fn to_json(&self) -> Json {
        self.findings.iter().map(Finding::to_json).collect()
    }

    /// The first error on one line, for logs and the state of the admin surface.
    #[must_use]
    pub fn first_line(&self) -> String {
        self.errors()
            .next()
            .or_else(|| self.findings.first())
            .map(ToString::to_string)
            .unwrap_or_default()
    }

    /// Leaves out the warnings of some rules; `None` for all of them. What is an error stays.
    pub fn allow(&mut self, rules: Option<&[Rule]>) {
        self.findings.retain(|finding| {
            finding.severity == Severity::Error
                || rules.is_some_and(|rules| !rules.contains(&finding.rule))
        });
    }

    /// Makes errors of some warnings; `None` of all.
    pub fn deny(&mut self, rules: Option<&[Rule]>) {
        for finding in &mut self.findings {
            if rules.is_none_or(|rules| rules.contains(&finding.rule)) {
                finding.severity = Severity::Error;
            }
        }
    }
}

impl std::error::Error for Report {}
