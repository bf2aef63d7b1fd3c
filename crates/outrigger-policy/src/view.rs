//! A section as it comes from several places: what a route leaves out comes from above.

use std::time::Duration;

use outrigger_core::Ratio;

use crate::scalar;
use crate::tree::{Node, Value};

/// A section's text, the most specific first.
#[derive(Clone, Debug, Default)]
pub(crate) struct View<'n> {
    layers: Vec<&'n Node>,
}

/// A section that may be switched off.
#[derive(Clone, Debug)]
pub(crate) enum Part<'n> {
    /// It stands nowhere.
    Absent,
    /// `none`.
    Off,
    /// A word that stands for the section with its defaults, such as `gradient2` or `true`.
    Word,
    /// A section.
    On(View<'n>),
}

impl<'n> View<'n> {
    pub(crate) fn of(node: &'n Node) -> Self {
        Self { layers: vec![node] }
    }

    pub(crate) fn under(mut self, above: &'n Node) -> Self {
        self.layers.push(above);
        self
    }

    /// The value that counts.
    pub(crate) fn get(&self, key: &str) -> Option<&'n Node> {
        self.layers.iter().find_map(|layer| layer.get(key))
    }

    /// A section below, key by key from the same places; whatever is no section ends it.
    pub(crate) fn part(&self, key: &str) -> Part<'n> {
        let mut found = Self::default();
        for node in self.layers.iter().filter_map(|layer| layer.get(key)) {
            match &node.value {
                Value::Map(_) => found.layers.push(node),
                _ if !found.layers.is_empty() => break,
                _ if node.is_word("none") || matches!(node.value, Value::Bool(false)) => {
                    return Part::Off;
                }
                _ => return Part::Word,
            }
        }
        if found.layers.is_empty() { Part::Absent } else { Part::On(found) }
    }

    /// A section below; nothing unless there is one.
    pub(crate) fn section(&self, key: &str) -> Self {
        if let Part::On(view) = self.part(key) { view } else { Self::default() }
    }

    /// The most specific text of the section.
    pub(crate) fn first(&self) -> Option<&'n Node> {
        self.layers.first().copied()
    }

    pub(crate) fn text(&self, key: &str) -> Option<&'n str> {
        self.get(key).and_then(text)
    }

    pub(crate) fn parse<T: std::str::FromStr>(&self, key: &str) -> Option<T> {
        self.get(key).and_then(Node::scalar)?.parse().ok()
    }

    pub(crate) fn int<T: TryFrom<u64>>(&self, key: &str) -> Option<T> {
        self.get(key).and_then(scalar::whole).and_then(|number| T::try_from(number).ok())
    }

    pub(crate) fn float(&self, key: &str) -> Option<f64> {
        self.get(key).and_then(scalar::float)
    }

    pub(crate) fn ratio(&self, key: &str) -> Option<Ratio> {
        self.float(key).and_then(|number| Ratio::new(number).ok())
    }

    pub(crate) fn duration(&self, key: &str) -> Option<Duration> {
        self.get(key).and_then(duration)
    }

    /// A time that may be switched off: `Some(None)` is `none`.
    pub(crate) fn duration_or_none(&self, key: &str) -> Option<Option<Duration>> {
        let node = self.get(key)?;
        if node.is_word("none") { Some(None) } else { duration(node).map(Some) }
    }

    pub(crate) fn bytes(&self, key: &str) -> Option<u64> {
        self.get(key).and_then(Node::scalar).and_then(scalar::bytes)
    }

    /// The entries of a list; of one that is refused for its length the first are enough.
    pub(crate) fn items(&self, key: &str) -> Option<&'n [Node]> {
        self.get(key).map(first_items)
    }

    /// The entries of a map that the writer keyed.
    pub(crate) fn pairs(&self, key: &str) -> impl Iterator<Item = (&'n str, &'n Node)> + use<'n> {
        let entries = self.get(key).map(Node::entries).unwrap_or_default();
        entries.iter().map(|(key, node)| (&*key.name, node))
    }
}

pub(crate) fn text(node: &Node) -> Option<&str> {
    if let Value::Text { text, .. } = &node.value { Some(text) } else { None }
}

pub(crate) fn duration(node: &Node) -> Option<Duration> {
    let text = text(node)?;
    scalar::millis(text).ok().map(Duration::from_millis)
}

/// The entries of a list, at most as many as any list may have: what follows is refused anyway, and
/// entries are compared with each other.
pub(crate) fn first_items(node: &Node) -> &[Node] {
    let items = node.items();
    items.get(..256).unwrap_or(items)
}
