//! The one table of fields: the reader, the JSON Schema, the reference page, `explain` and `diff`
//! are all driven by it.

mod allowed;
mod breaker;
mod inbound;
mod outbound;
mod route;
mod shared;

pub(crate) use allowed::or;
pub(crate) use inbound::INBOUND;
pub(crate) use outbound::POLICY;
pub(crate) use route::ROUTE;

/// A section: the keys that may stand in it.
#[derive(Debug)]
pub(crate) struct Section {
    /// What it is called where it is described: `retry`, `match`.
    pub(crate) name: &'static str,
    /// What it is for.
    pub(crate) doc: &'static str,
    pub(crate) fields: &'static [Field],
}

impl Section {
    pub(crate) fn field(&self, key: &str) -> Option<&'static Field> {
        self.fields.iter().find(|field| field.key == key)
    }
}

/// A key of a section.
#[derive(Debug)]
pub(crate) struct Field {
    pub(crate) key: &'static str,
    pub(crate) kind: Kind,
    /// What holds when the key is absent and its section is there.
    pub(crate) default: Absent,
    /// What it does, for the reference and for editors.
    pub(crate) doc: &'static str,
    /// How it may be written.
    pub(crate) example: &'static str,
}

/// What an absent key means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Absent {
    /// This value, as it would be written.
    Is(&'static str),
    /// Off, or nothing; with the words for it.
    Means(&'static str),
    /// The section's own defaults hold; with the words for them.
    Inside(&'static str),
    /// The file is refused.
    Refused,
}

/// What a value may be.
#[derive(Debug)]
pub(crate) enum Kind {
    Bool,
    Int {
        min: u64,
        max: u64,
    },
    Float {
        min: f64,
        max: f64,
    },
    /// A share of 0 to 1; `above_zero` leaves 0 out.
    Ratio {
        above_zero: bool,
    },
    /// A time with its unit, in milliseconds.
    Duration {
        min: u64,
        max: u64,
    },
    Rate,
    /// A size with its unit, in bytes.
    Bytes {
        max: u64,
    },
    /// One of some words, each with what it means.
    Word(&'static [(&'static str, &'static str)]),
    Text {
        max: usize,
    },
    Service,
    RouteName,
    /// A name of `subsets`: letters, digits, `-`, `_` and `.`.
    Subset,
    HeaderName,
    HeaderValue,
    /// An HTTP method.
    Method,
    /// An HTTP method or a full gRPC method name.
    RetryMethod,
    Condition,
    Status {
        min: u16,
        max: u16,
    },
    VersionRange,
    Language,
    /// A path in its normal form.
    Path,
    /// A path, perhaps with `*` as its last segment.
    PathPattern,
    Regex,
    /// A service's name or `*`.
    Caller,
    Datacenter,
    /// Anything, judged elsewhere.
    Any,
    List {
        of: &'static Self,
        max: usize,
    },
    Table(&'static Section),
    /// A section of which exactly one key stands there.
    OneOf(&'static Section),
    /// Keys that the writer chooses.
    Map {
        key: &'static Self,
        of: &'static Self,
        max: usize,
    },
    /// The first whose shape fits: a word, a number, a list or a section.
    Either(&'static [Self]),
}

impl Kind {
    /// `none`, or what the other kind says.
    pub(crate) const NONE: Self = Self::Word(&[("none", "off")]);
}

#[cfg(test)]
mod tests;
