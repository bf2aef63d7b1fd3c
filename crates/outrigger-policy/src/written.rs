//! Any file as it was written, with places: for what is configured beside policies and wants to be
//! read in the same way.

use crate::finding::{Report, excerpt};
use crate::source::{Format, Place, Source};
use crate::tree::{self, Node, Value};

/// A file as it was written: keys and values, each with its place; nothing is judged yet.
///
/// The reader is that of policies: the same bounds (512 KiB, 32 deep, 50,000 keys and values), no
/// key twice, no aliases, tags or second documents.
///
/// ```
/// use outrigger_policy::{Format, Written};
///
/// let written = Written::read("sidecar.toml", "drain = \"30s\"\n", Format::Toml)?;
/// let (key, place, value) = written.root().entries().next().expect("an entry");
/// assert_eq!((key, value.scalar()), ("drain", Some("30s")));
/// assert_eq!(place.to_string(), "sidecar.toml:1:1");
/// # Ok::<(), outrigger_policy::Report>(())
/// ```
#[derive(Clone, Debug)]
pub struct Written {
    source: Source,
    root: Node,
}

impl Written {
    /// Reads a text. `name` is the file's name, for messages.
    ///
    /// # Errors
    /// A [`Report`] of why it is not of its format, or beyond the bounds.
    pub fn read(name: &str, text: &str, format: Format) -> Result<Self, Report> {
        let source = Source::new(name, text);
        match tree::read(&source, format) {
            (Some(root), findings) if findings.is_empty() => Ok(Self { source, root }),
            (_, findings) => Err(Report::new(&source, findings)),
        }
    }

    /// The whole of it; [`WrittenValue::is_nothing`] for an empty file.
    #[must_use]
    pub const fn root(&self) -> WrittenValue<'_> {
        WrittenValue { source: &self.source, node: &self.root }
    }

    /// The line of a place with marks under what is meant, as findings show it.
    #[must_use]
    pub fn excerpt(&self, place: &Place) -> String {
        excerpt(&self.source, place)
    }
}

/// A value of a file that was [`Written`].
#[derive(Clone, Copy, Debug)]
pub struct WrittenValue<'w> {
    source: &'w Source,
    node: &'w Node,
}

impl<'w> WrittenValue<'w> {
    const fn of(self, node: &'w Node) -> Self {
        Self { source: self.source, node }
    }

    /// Where it stands.
    #[must_use]
    pub fn place(self) -> Place {
        self.source.place(self.node.span)
    }

    /// What it is, for messages: `a number`, `a list`, `a section`.
    #[must_use]
    pub const fn kind(self) -> &'static str {
        self.node.kind()
    }

    /// Whether nothing stands there.
    #[must_use]
    pub const fn is_nothing(self) -> bool {
        matches!(self.node.value, Value::Null)
    }

    /// The text of a single value: what a text says, a number as written, `true`.
    #[must_use]
    pub fn scalar(self) -> Option<&'w str> {
        self.node.scalar()
    }

    /// Its values, when it is a list.
    #[must_use]
    pub fn items(self) -> Option<impl Iterator<Item = Self>> {
        match &self.node.value {
            Value::List(items) => Some(items.iter().map(move |node| self.of(node))),
            _ => None,
        }
    }

    /// Whether it has keys and values below it.
    #[must_use]
    pub const fn is_section(self) -> bool {
        matches!(self.node.value, Value::Map(_))
    }

    /// Keys, their places, and values, in the order of the file; none when it is no section.
    pub fn entries(self) -> impl Iterator<Item = (&'w str, Place, Self)> {
        self.node
            .entries()
            .iter()
            .map(move |(key, node)| (&*key.name, self.source.place(key.span), self.of(node)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_three_formats_say_the_same() {
        for (name, text) in [
            ("a.yaml", "port: 8080\npolicy: [a, b]\nup: { x: true }\n"),
            ("a.toml", "port = 8080\npolicy = [\"a\", \"b\"]\n[up]\nx = true\n"),
            ("a.json", "{\"port\": 8080, \"policy\": [\"a\", \"b\"], \"up\": {\"x\": true}}"),
        ] {
            let written = Written::read(name, text, Format::of_name(name)).expect(name);
            let entries: Vec<_> = written.root().entries().collect();
            assert_eq!(entries[0].2.scalar(), Some("8080"), "{name}");
            let items = entries[1].2.items().expect("a list");
            assert_eq!(items.filter_map(WrittenValue::scalar).collect::<Vec<_>>(), ["a", "b"]);
            assert!(entries[2].2.is_section(), "{name}");
        }
    }

    #[test]
    fn a_key_twice_is_refused_with_both_places() {
        let text = "port = 1\nport = 2\n";
        let report = Written::read("a.yaml", "port: 1\nport: 2\n", Format::Yaml).unwrap_err();
        assert!(report.to_string().contains("a.yaml:2:1"), "{report}");
        assert!(Written::read("a.toml", text, Format::Toml).is_err());
    }

    #[test]
    fn an_excerpt_marks_the_value() {
        let written = Written::read("a.toml", "drain = \"30\"\n", Format::Toml).expect("reads");
        let (_, _, value) = written.root().entries().next().expect("an entry");
        let marked = written.excerpt(&value.place());
        assert_eq!(marked, "  |\n1 | drain = \"30\"\n  |         ^^^^\n");
    }
}
