//! Checks beyond syntax: values held against each other.

mod covers;
mod inbound;
mod retry;
mod routes;
mod rules;
mod service;

use crate::check::Findings;
use crate::finding::Rule;
use crate::model::Policy;
use crate::scalar;
use crate::source::Span;
use crate::tree::{Node, Value};
use crate::view::{View, first_items};

/// Whether the file is of a version that this reader does not know; nothing else of it is judged.
pub(crate) fn is_of_another_version(tree: &Node, out: &mut Findings<'_>) -> bool {
    let Some(node) = tree.get("version") else { return false };
    match (&node.value, scalar::whole(node)) {
        (Value::Number(_), Some(version)) if version > 1 => {
            let message = format!("the file is of version {version}; this reader knows version 1");
            let fix = "use a newer Outrigger; until then the last good policy stays in force";
            out.add(Rule::Version, node.span, "version", message, fix);
            true
        }
        _ => false,
    }
}

/// Holds the values of a policy against each other, wherever each of them alone is allowed.
pub(crate) fn check(policy: &Policy, tree: &Node, out: &mut Findings<'_>) {
    let top = View::of(tree);
    let grpc = policy.protocol == crate::model::PolicyProtocol::Grpc;
    service::check(policy, &top, out);
    let whole = Scope { view: top.clone(), rules: &policy.rules, path: String::new(), grpc };
    rules::check(&whole, policy, out);
    let items = tree.get("routes").map(first_items).unwrap_or_default();
    for (at, (item, route)) in items.iter().zip(&policy.routes).enumerate() {
        let view = View::of(item).under(tree);
        let scope = Scope { view, rules: &route.rules, path: format!("routes[{at}]"), grpc };
        rules::check(&scope, policy, out);
    }
    routes::check(policy, tree, out);
    if let Some(inbound) = &policy.inbound {
        inbound::check(inbound, &top.section("inbound"), out);
    }
}

/// The rules of a route, or of the service as a whole, and where they stand.
struct Scope<'p> {
    view: View<'p>,
    rules: &'p crate::model::RouteRules,
    /// `routes[2]`; empty for the service as a whole.
    path: String,
    grpc: bool,
}

impl<'p> Scope<'p> {
    /// A key below, for messages.
    fn key(&self, below: &str) -> String {
        crate::check::join(&self.path, below)
    }

    /// The value of a dotted key, wherever it comes from.
    fn node(&self, below: &str) -> Option<&'p Node> {
        find(&self.view, below)
    }

    /// Whether the value of a dotted key stands in the scope itself, and not above it.
    fn is_own(&self, below: &str) -> bool {
        let own = self.view.first().and_then(|node| find(&View::of(node), below));
        own.is_some()
    }

    /// Whether it has to be judged here: it stands here, or there is nothing above.
    fn is_here(&self, keys: &[&str]) -> bool {
        self.path.is_empty() || keys.iter().any(|key| self.is_own(key))
    }

    /// Where a finding about some keys stands: at the first that is written here, then at the first
    /// that is written at all; its span and its key.
    fn place(&self, keys: &[&str]) -> (Span, String) {
        let here = keys.iter().find(|key| self.is_own(key));
        let written = here.or_else(|| keys.iter().find(|key| self.node(key).is_some()));
        match written {
            Some(key) => {
                let subject = if self.is_own(key) { self.key(key) } else { (*key).to_owned() };
                (self.node(key).map(|node| node.span).unwrap_or_default(), subject)
            }
            None => {
                let span =
                    self.view.first().map(|node| Span::new(node.span.start, node.span.start + 1));
                (span.unwrap_or_default(), self.path.clone())
            }
        }
    }

    /// Adds a finding unless a value it is about is wrong by itself.
    fn add(
        &self,
        rule: Rule,
        keys: &[&str],
        message: impl Into<String>,
        fix: impl Into<String>,
        out: &mut Findings<'_>,
    ) {
        if keys.iter().any(|key| out.touches(&self.key(key)) || out.touches(key)) {
            return;
        }
        let (span, subject) = self.place(keys);
        let other = keys.iter().filter_map(|key| self.node(key)).find(|node| node.span != span);
        match other {
            Some(node) => out.add_with(rule, span, &subject, message, fix, (node.span, "and this")),
            None => {
                out.add(rule, span, &subject, message, fix);
            }
        }
    }
}

fn find<'n>(view: &View<'n>, dotted: &str) -> Option<&'n Node> {
    match dotted.split_once('.') {
        Some((section, rest)) => find(&view.section(section), rest),
        None => view.get(dotted),
    }
}
