//! Whether a request is meant, without allocating.

use std::borrow::Cow;

use http::{HeaderMap, HeaderName, Method};

use crate::model::{PathMatch, RouteMatch, TextMatch};

/// What a [`Matcher`] looks at.
#[derive(Clone, Copy, Debug)]
#[expect(clippy::exhaustive_structs, reason = "a borrowed head, built at each call")]
pub struct RequestView<'a> {
    /// The method.
    pub method: &'a Method,
    /// The path in its normal form, without the query.
    pub path: &'a str,
    /// The query without its `?`.
    pub query: Option<&'a str>,
    /// The headers.
    pub headers: &'a HeaderMap,
}

/// Which requests are meant, ready to be asked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Matcher {
    wanted: RouteMatch,
}

impl Matcher {
    /// A matcher.
    #[must_use]
    pub fn new(wanted: &RouteMatch) -> Self {
        Self { wanted: wanted.clone() }
    }

    /// What it looks for.
    #[must_use]
    pub const fn wanted(&self) -> &RouteMatch {
        &self.wanted
    }

    /// Whether it matches a request.
    ///
    /// Cost: no allocation, except for a query's value that is percent-encoded.
    #[must_use]
    pub fn is_match(&self, request: &RequestView<'_>) -> bool {
        let RouteMatch { path, methods, headers, query } = &self.wanted;
        (methods.is_empty() || methods.contains(request.method))
            && path.as_ref().is_none_or(|path| path.is_match(request.path))
            && headers.iter().all(|(name, wanted)| header_matches(request.headers, name, wanted))
            && query.iter().all(|(name, wanted)| {
                let found = request.query.and_then(|query| parameter(query, name));
                wanted.is_match(found.as_deref())
            })
    }
}

impl PathMatch {
    /// Whether a path in its normal form is meant.
    #[must_use]
    pub fn is_match(&self, path: &str) -> bool {
        match self {
            Self::Exact(wanted) => **wanted == *path,
            Self::Regex(pattern) => pattern.is_match(path),
            Self::Prefix(prefix) => has_prefix(path.as_bytes(), prefix.as_bytes()),
        }
    }
}

/// Whether a path is a prefix or below it, by whole segments. By bytes: what is looked for is ASCII.
fn has_prefix(path: &[u8], mut prefix: &[u8]) -> bool {
    while let [before @ .., b'/'] = prefix {
        prefix = before;
    }
    matches!(path.strip_prefix(prefix), Some([] | [b'/', ..]))
}

impl TextMatch {
    /// Whether a value, or its absence, is meant.
    #[must_use]
    pub fn is_match(&self, found: Option<&str>) -> bool {
        match (self, found) {
            (Self::Exact(wanted), Some(found)) => **wanted == *found,
            (Self::Regex(pattern), Some(found)) => pattern.is_match(found),
            (Self::Present(wanted), found) => *wanted == found.is_some(),
            (_, None) => false,
        }
    }
}

/// A header that stands several times matches when one of its values does.
fn header_matches(headers: &HeaderMap, name: &HeaderName, wanted: &TextMatch) -> bool {
    if let TextMatch::Present(present) = wanted {
        return headers.contains_key(name) == *present;
    }
    let mut values = headers.get_all(name).iter();
    values.any(|value| value.to_str().is_ok_and(|text| wanted.is_match(Some(text))))
}

/// The first value of a parameter, decoded; `+` is a space.
pub(crate) fn parameter<'q>(query: &'q str, name: &str) -> Option<Cow<'q, str>> {
    query.split('&').find_map(|pair| {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        (decoded(key) == name).then(|| decoded(value))
    })
}

fn decoded(text: &str) -> Cow<'_, str> {
    if !text.contains(['%', '+']) {
        return Cow::Borrowed(text);
    }
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        let digit = |offset: usize| bytes.get(at + offset).and_then(|&b| (b as char).to_digit(16));
        match (byte, digit(1), digit(2)) {
            (b'%', Some(high), Some(low)) => {
                // Two hex digits always fit.
                out.push((high * 16 + low) as u8);
                at += 3;
                continue;
            }
            (b'+', ..) => out.push(b' '),
            _ => out.push(byte),
        }
        at += 1;
    }
    Cow::Owned(String::from_utf8_lossy(&out).into_owned())
}
