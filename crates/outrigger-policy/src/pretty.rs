//! The one form of a file: order of keys, indentation, quotes; comments stay with what they are
//! about.
//!
//! What is printed is read again and compared with what was read, comments included: a file that
//! would not survive is refused, never changed.

mod build;
mod comments;
mod print;

use crate::check::{self, Findings};
use crate::fields::POLICY;
use crate::finding::Report;
use crate::source::{Format, Source};
use crate::tree::{self, Node, Value};

/// Why a text was not formatted. It is left as it is.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FormatError {
    /// It cannot be read, or there is nothing of a policy in it.
    #[error("{0}")]
    Unreadable(Report),
    /// It could not be printed without a loss.
    #[error("{file} is left as it is: {why}")]
    Refused {
        /// The file's name.
        file: String,
        /// What would be lost.
        why: String,
    },
}

/// Formats a policy's text. Formatting twice changes nothing more.
///
/// The text must be a section with a key in it; whether the policy holds is not asked, so that an
/// editor can format what is still being written.
///
/// Keys of sections come in the order of the reference, names that the writer chose keep their
/// order. YAML keeps its comments and what stands in brackets; JSON has none. TOML is refused.
///
/// # Errors
/// [`FormatError`]; the text is to be left as it is then.
pub fn format(name: &str, text: &str, format: Format) -> Result<String, FormatError> {
    let source = Source::new(name, text);
    let refused =
        |why: &str| FormatError::Refused { file: source.name.to_string(), why: why.to_owned() };
    let before = tree_of(&source, format)?;
    let printed = match format {
        Format::Yaml => print::yaml(&build::document(&source, &before)),
        Format::Json => print::json(&before),
        Format::Toml => return Err(refused("TOML is not formatted; any TOML formatter will do")),
    };
    let again = Source::new(name, &printed);
    let after = tree_of(&again, format).map_err(|_| refused("it could not be read afterwards"))?;
    if !same(&before, &after) {
        return Err(refused("its values would not be the same"));
    }
    if format == Format::Yaml {
        let sorted = |source: &Source| {
            let mut all: Vec<_> = comments::all(source).into_iter().map(|one| one.text).collect();
            all.sort();
            all
        };
        if sorted(&source) != sorted(&again) {
            return Err(refused("a comment would be lost"));
        }
    }
    Ok(printed)
}

fn tree_of(source: &Source, format: Format) -> Result<Node, FormatError> {
    let (tree, findings) = tree::read(source, format);
    match tree {
        Some(tree) if findings.is_empty() && tree.entries().is_empty() => {
            // No key at all: an editor's half-written file, or no policy. What `check` says of it
            // is the answer here too.
            let mut out = Findings::new(source, findings);
            check::section(&tree, &POLICY, "", &mut out);
            Err(FormatError::Unreadable(Report::new(source, out.all)))
        }
        Some(tree) if findings.is_empty() => Ok(tree),
        _ => Err(FormatError::Unreadable(Report::new(source, findings))),
    }
}

/// Whether two trees say the same, whatever the order of their keys.
fn same(a: &Node, b: &Node) -> bool {
    match (&a.value, &b.value) {
        (Value::Text { text: a, .. }, Value::Text { text: b, .. }) => a == b,
        (Value::List(a), Value::List(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b))
        }
        (Value::Map(entries), Value::Map(others)) => {
            entries.len() == others.len()
                && entries
                    .iter()
                    .all(|(key, node)| b.get(&key.name).is_some_and(|other| same(node, other)))
        }
        (a, b) => a == b,
    }
}
