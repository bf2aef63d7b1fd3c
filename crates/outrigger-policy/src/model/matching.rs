//! Which requests are meant.

use std::fmt;
use std::sync::Arc;

use http::{HeaderName, Method};
use regex::{Regex, RegexBuilder};

/// Which requests a route, a rate or a rule is for; the `match` section.
///
/// Shape: everything that is given must apply; with nothing given, each request matches.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RouteMatch {
    /// The path, in its normal form.
    pub path: Option<PathMatch>,
    /// One of these methods; every one when empty.
    pub methods: Vec<Method>,
    /// Each of these headers.
    pub headers: Vec<(HeaderName, TextMatch)>,
    /// Each of these parameters of the query, percent-decoded; the first of a name counts.
    pub query: Vec<(Arc<str>, TextMatch)>,
}

impl RouteMatch {
    /// Whether it matches each request.
    #[must_use]
    pub fn is_any(&self) -> bool {
        *self == Self::default()
    }
}

/// How a path is compared.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PathMatch {
    /// This path, or a whole number of its leading segments: `/v2` is `/v2` and `/v2/x`.
    Prefix(Arc<str>),
    /// This path.
    Exact(Arc<str>),
    /// The whole path matches.
    Regex(Pattern),
}

/// How a header's or a parameter's value is compared.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TextMatch {
    /// This value, to the letter.
    Exact(Arc<str>),
    /// The whole value matches.
    Regex(Pattern),
    /// Whether it is there at all, whatever its value.
    Present(bool),
}

/// A regular expression that is matched against the whole of a text in linear time.
#[derive(Clone)]
pub struct Pattern {
    text: Arc<str>,
    regex: Regex,
}

/// Why a text is not a [`Pattern`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{why}")]
#[non_exhaustive]
pub struct PatternError {
    /// What the regex compiler says, on one line.
    pub why: String,
    /// Byte offset in the pattern, where one is known.
    pub at: Option<usize>,
}

impl Pattern {
    /// Longest pattern, in bytes.
    pub const MAX_LEN: usize = 1_024;

    /// Compiles a pattern; it is anchored at both ends.
    ///
    /// # Errors
    /// [`PatternError`] for a wrong syntax, and for one that would take more than 256 KiB.
    pub fn new(text: &str) -> Result<Self, PatternError> {
        if text.len() > Self::MAX_LEN {
            let why = format!("it has {} bytes; at most {} are read", text.len(), Self::MAX_LEN);
            return Err(PatternError { why, at: None });
        }
        let anchored = format!("^(?:{text})$");
        let built = RegexBuilder::new(&anchored)
            .size_limit(256 << 10)
            .dfa_size_limit(256 << 10)
            .nest_limit(32)
            .build();
        // A pattern that closes our group itself would not be anchored: `a)|(?:b`.
        let alone = RegexBuilder::new(text).size_limit(256 << 10).nest_limit(32).build();
        match (built, alone) {
            (Ok(regex), Ok(_)) => Ok(Self { text: Arc::from(text), regex }),
            (_, Err(error)) | (Err(error), _) => {
                Err(PatternError { why: one_line(&error), at: None })
            }
        }
    }

    /// The pattern as written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether the whole of a text matches.
    #[must_use]
    pub fn is_match(&self, text: &str) -> bool {
        self.regex.is_match(text)
    }
}

fn one_line(error: &regex::Error) -> String {
    match error {
        regex::Error::CompiledTooBig(limit) => {
            format!("it would take more than {} KiB of memory", limit >> 10)
        }
        // The message is a picture with its point in the last line: `error: unclosed group`.
        other => {
            let text = other.to_string();
            let last = text.lines().last().unwrap_or_default().trim();
            last.strip_prefix("error: ").unwrap_or(last).to_owned()
        }
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for Pattern {}

impl fmt::Debug for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "regex {:?}", self.text)
    }
}

/// What a hash is made of; `balance.hash_on` and `sticky`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum HashKey {
    /// A header's value.
    Header(HeaderName),
    /// A cookie's value.
    Cookie(Arc<str>),
    /// A parameter of the query.
    Query(Arc<str>),
    /// The address that the request came from.
    ClientAddress,
}

impl fmt::Display for TextMatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(text) => write!(f, "{text:?}"),
            Self::Regex(pattern) => write!(f, "{pattern:?}"),
            Self::Present(true) => f.write_str("present"),
            Self::Present(false) => f.write_str("absent"),
        }
    }
}

impl fmt::Display for RouteMatch {
    /// `GET, HEAD requests to /v2 and below with x-canary "1"`; `every request`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_any() {
            return f.write_str("every request");
        }
        let methods: Vec<_> = self.methods.iter().map(Method::as_str).collect();
        match methods.len() {
            0 => f.write_str("requests")?,
            _ => write!(f, "{} requests", methods.join(", "))?,
        }
        match &self.path {
            None => {}
            Some(PathMatch::Prefix(path)) => write!(f, " to {path} and below")?,
            Some(PathMatch::Exact(path)) => write!(f, " to {path}")?,
            Some(PathMatch::Regex(pattern)) => write!(f, " to {pattern:?}")?,
        }
        let headers = self.headers.iter().map(|(name, value)| format!("{name} {value}"));
        let query = self.query.iter().map(|(name, value)| format!("?{name} {value}"));
        let with: Vec<_> = headers.chain(query).collect();
        if with.is_empty() { Ok(()) } else { write!(f, " with {}", with.join(" and ")) }
    }
}
