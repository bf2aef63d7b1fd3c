//! Checks beyond syntax.

use crate::check::Findings;
use crate::finding::Rule;
use crate::model::Policy;
use crate::scalar;
use crate::tree::{Node, Value};

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

pub(crate) fn check(_policy: &Policy, _tree: &Node, _out: &mut Findings<'_>) {}
