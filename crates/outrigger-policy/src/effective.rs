//! What holds, key by key, and where it comes from.

use std::fmt;

use serde::Serialize;

use crate::check::{choose, join};
use crate::fields::{Absent, Field, Kind, Section};
use crate::scalar;
use crate::source::{Place, Source, Span};
use crate::tree::{Node, Value};
use crate::view::{Part, View};

/// A value that holds, and where it comes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Effective {
    /// The key, such as `retry.backoff.base`.
    pub key: String,
    /// The value as the file would say it, in its shortest form; words in brackets where there is no
    /// value to write.
    pub value: String,
    /// Where it comes from.
    pub origin: Origin,
}

/// Where a value comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Origin {
    /// It stands in the route, or in the service's own part.
    Here(Place),
    /// The route leaves it out; it stands above.
    Above(Place),
    /// It stands nowhere.
    Default,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Here(place) => place.fmt(f),
            Self::Above(place) => write!(f, "{place}, from above"),
            Self::Default => f.write_str("default"),
        }
    }
}

impl Serialize for Origin {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

/// Writes down what holds in a section.
pub(crate) struct Writer<'s> {
    pub(crate) source: &'s Source,
    /// The bytes of the route; whatever stands outside comes from above.
    pub(crate) own: Option<(usize, usize)>,
    pub(crate) lines: Vec<Effective>,
}

impl Writer<'_> {
    pub(crate) fn section(&mut self, table: &Section, view: &View<'_>, path: &str) {
        for field in table.fields {
            self.field(field, view, path);
        }
    }

    pub(crate) fn field(&mut self, field: &Field, view: &View<'_>, path: &str) {
        let key = join(path, field.key);
        let below = match field.kind.section() {
            Some(table) => match (view.part(field.key), field.default) {
                (Part::On(below), _) => Some((table, below)),
                (Part::Absent, Absent::Inside(_)) => Some((table, View::default())),
                _ => None,
            },
            None => None,
        };
        if let Some((table, below)) = below {
            self.section(table, &below, &key);
            return;
        }
        let line = match (view.get(field.key), field.default) {
            (Some(node), _) => {
                let value = written(node, &field.kind);
                Effective { key, value, origin: self.origin(node) }
            }
            (None, Absent::Is(value)) => {
                let value = canonical(value, &field.kind);
                Effective { key, value, origin: Origin::Default }
            }
            (None, Absent::Means(words) | Absent::Inside(words)) => {
                Effective { key, value: format!("({words})"), origin: Origin::Default }
            }
            (None, Absent::Refused) => return,
        };
        self.lines.push(line);
    }

    fn origin(&self, node: &Node) -> Origin {
        let place = self.source.place(node.span);
        match self.own {
            Some((start, end)) if !(start..=end).contains(&node.span.start) => Origin::Above(place),
            _ => Origin::Here(place),
        }
    }
}

impl Kind {
    /// The section whose keys are told one by one.
    fn section(&self) -> Option<&'static Section> {
        match self {
            // Of a fallback the most specific one counts as a whole.
            Self::Table(table) if table.name == "fallback" => None,
            Self::Table(table) => Some(table),
            Self::Either(kinds) => kinds.iter().find_map(Self::section),
            _ => None,
        }
    }
}

/// A default of the table in the form of [`written`].
fn canonical(text: &str, kind: &Kind) -> String {
    let value = if text.parse::<f64>().is_ok() {
        Value::Number(text.into())
    } else {
        Value::Text { text: text.into(), plain: false }
    };
    let scalar = Node { span: Span::default(), value };
    match kind {
        Kind::Duration { .. } | Kind::Ratio { .. } | Kind::Float { .. } | Kind::Bytes { .. } => {
            written(&scalar, kind)
        }
        Kind::Either(kinds) => match choose(&scalar, kinds) {
            Some(chosen @ (Kind::Duration { .. } | Kind::Bytes { .. })) => written(&scalar, chosen),
            _ => text.to_owned(),
        },
        _ => text.to_owned(),
    }
}

/// A value in its shortest form, so that equal values are equal texts.
pub(crate) fn written(node: &Node, kind: &Kind) -> String {
    let text = || node.scalar().unwrap_or_default().to_owned();
    match (kind, &node.value) {
        (Kind::Either(kinds), _) => match choose(node, kinds) {
            Some(chosen) => written(node, chosen),
            None => text(),
        },
        (Kind::Duration { .. }, _) => {
            scalar::millis(&text()).map_or_else(|_| text(), scalar::write_millis)
        }
        (Kind::Bytes { .. }, _) => scalar::bytes(&text()).map_or_else(text, scalar::write_bytes),
        (Kind::Ratio { .. } | Kind::Float { .. }, _) => {
            scalar::float(node).map_or_else(text, |number| number.to_string())
        }
        (Kind::List { of, .. }, Value::List(items)) => {
            let items: Vec<_> = items.iter().map(|item| written(item, of)).collect();
            format!("[{}]", items.join(", "))
        }
        (Kind::Map { of, .. }, Value::Map(entries)) => {
            let mut entries: Vec<_> = entries.iter().collect();
            entries.sort_by(|a, b| a.0.name.cmp(&b.0.name));
            pairs(entries.iter().map(|(key, value)| (&*key.name, written(value, of))))
        }
        (Kind::Table(table) | Kind::OneOf(table), Value::Map(_)) => {
            // In the order of the reference, without what says what holds anyway.
            let entries = table.fields.iter().filter_map(|field| {
                let value = written(node.get(field.key)?, &field.kind);
                let said = match field.default {
                    Absent::Is(default) => canonical(default, &field.kind) != value,
                    _ => true,
                };
                said.then_some((field.key, value))
            });
            pairs(entries)
        }
        (Kind::HeaderValue | Kind::Text { .. } | Kind::Regex, _) => format!("{:?}", text()),
        _ => text(),
    }
}

fn pairs<'p>(pairs: impl Iterator<Item = (&'p str, String)>) -> String {
    let pairs: Vec<_> = pairs.map(|(key, value)| format!("{key}: {value}")).collect();
    if pairs.is_empty() { "{}".to_owned() } else { format!("{{ {} }}", pairs.join(", ")) }
}
