//! One question to the agent.

use std::fmt::Write as _;

use bytes::Bytes;
use http::Method;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// What RFC 3986 calls unreserved stays, everything else is encoded, once, per segment.
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// One question to the agent.
#[derive(Clone, Debug)]
pub(crate) struct Ask {
    /// What is asked, for errors and logs.
    pub(crate) what: &'static str,
    pub(crate) method: Method,
    /// Path and query.
    pub(crate) target: String,
    pub(crate) body: Bytes,
    /// The ACL rule that allows it.
    pub(crate) rule: String,
    /// Whether 404 is an answer and not an error.
    pub(crate) may_miss: bool,
    asked: bool,
}

impl Ask {
    pub(crate) fn get(what: &'static str, path: &str) -> Self {
        let body = Bytes::new();
        let (target, rule) = (path.to_owned(), String::new());
        Self { what, method: Method::GET, target, body, rule, may_miss: false, asked: false }
    }

    pub(crate) fn put(what: &'static str, path: &str) -> Self {
        Self { method: Method::PUT, ..Self::get(what, path) }
    }

    /// Appends one segment of the path; called before [`Ask::param`].
    pub(crate) fn segment(mut self, segment: &str) -> Self {
        debug_assert!(!self.asked, "the path ends where the query begins");
        self.target.push('/');
        self.target.extend(utf8_percent_encode(segment, SEGMENT));
        self
    }

    pub(crate) fn param(mut self, key: &str, value: &str) -> Self {
        self.target.push(if self.asked { '&' } else { '?' });
        self.asked = true;
        self.target.push_str(key);
        if !value.is_empty() {
            let _ = write!(self.target, "={}", utf8_percent_encode(value, SEGMENT));
        }
        self
    }

    pub(crate) fn param_if(self, key: &str, value: Option<&str>) -> Self {
        match value {
            Some(value) => self.param(key, value),
            None => self,
        }
    }

    pub(crate) fn body(mut self, body: impl Into<Bytes>) -> Self {
        self.body = body.into();
        self
    }

    pub(crate) fn needs(mut self, rule: impl Into<String>) -> Self {
        self.rule = rule.into();
        self
    }

    pub(crate) const fn may_miss(mut self) -> Self {
        self.may_miss = true;
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_segment_cannot_leave_its_place() {
        let ask = Ask::get("it", "/v1/kv").segment("a/../b?c#d %61é").param("dc", "x&y=z");
        assert_eq!(ask.target, "/v1/kv/a%2F..%2Fb%3Fc%23d%20%2561%C3%A9?dc=x%26y%3Dz");
    }

    #[test]
    fn flags_and_pairs_are_joined() {
        let ask = Ask::get("it", "/v1/x").param("stale", "").param_if("dc", None).param("a", "1");
        assert_eq!(ask.target, "/v1/x?stale&a=1");
    }
}
