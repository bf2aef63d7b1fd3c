//! From a checked tree to the model. Whatever was refused is read as its default.

mod inbound;
mod outbound;
mod route;

use std::sync::Arc;

use outrigger_core::PolicyVersion;

use crate::check::{self, Findings};
use crate::fields::POLICY;
use crate::finding::{Finding, Report, Severity};
use crate::model::Policy;
use crate::source::{Format, Source, version_of};
use crate::tree::{self, Node};
use crate::view::View;

/// A policy that was read, with what is legal and unwise in it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Parsed {
    /// What the file says.
    pub policy: Policy,
    /// The version of the text.
    pub version: PolicyVersion,
    pub(crate) warnings: Report,
    pub(crate) tree: Arc<Node>,
    pub(crate) format: Format,
}

impl Parsed {
    /// What is legal and unwise.
    #[must_use]
    pub fn warnings(&self) -> &[Finding] {
        &self.warnings.findings
    }

    /// The same as a report, for people and for denying.
    #[must_use]
    pub const fn report(&self) -> &Report {
        &self.warnings
    }

    /// The text as written.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.warnings.source.text
    }

    /// The file's name, as it was given.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.warnings.source.name
    }

    /// How it is written.
    #[must_use]
    pub const fn format(&self) -> Format {
        self.format
    }

    pub(crate) const fn source(&self) -> &Source {
        &self.warnings.source
    }
}

impl Policy {
    /// Reads and checks a policy. `name` is the file's name, for messages.
    ///
    /// Cost: bounded by the limits on the text (512 KiB, 32 deep, 50,000 keys and values), which
    /// hold while it is read.
    ///
    /// # Errors
    /// A [`Report`] of everything that is wrong, each with its place and how to mend it, and of the
    /// warnings beside it.
    pub fn parse(name: &str, text: &str, format: Format) -> Result<Parsed, Report> {
        let source = Source::new(name, text);
        let (tree, findings) = tree::read(&source, format);
        let mut out = Findings::new(&source, findings);
        let Some(tree) = tree else { return Err(Report::new(&source, out.all)) };
        if crate::lint::is_of_another_version(&tree, &mut out) {
            return Err(Report::new(&source, out.all));
        }
        check::section(&tree, &POLICY, "", &mut out);
        let version = version_of(text);
        let mut policy = policy(&tree);
        policy.version = version;
        crate::lint::check(&policy, &tree, &mut out);
        let report = Report::new(&source, out.all);
        if report.findings().iter().any(|finding| finding.severity == Severity::Error) {
            return Err(report);
        }
        Ok(Parsed { policy, version, warnings: report, tree: Arc::new(tree), format })
    }
}

pub(crate) fn policy(tree: &Node) -> Policy {
    let top = View::of(tree);
    let mut policy = outbound::read(&top);
    policy.routes = route::all(tree, &policy.rules.retry.budget);
    policy.inbound = inbound::read(&top);
    policy.telemetry = inbound::telemetry(&top);
    policy
}
