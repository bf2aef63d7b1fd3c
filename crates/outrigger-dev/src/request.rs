//! A request as Consul's handlers see it: a decoded path, query parameters, a token.

use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;
use percent_encoding::percent_decode_str;
use serde_json::Value;

use crate::duration;
use crate::reply::Refusal;
use crate::{decode, filter};

/// Consul's upper bound of a blocking query.
const WAIT_MAX: Duration = Duration::from_secs(600);
/// The wait of a query that names none.
const WAIT_DEFAULT: Duration = Duration::from_secs(300);

/// One request.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) method: String,
    /// What follows the route's own path, decoded.
    pub(crate) rest: String,
    pub(crate) query: Query,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Request {
    /// The secret of the request: `?token`, `X-Consul-Token` or a bearer token, in this order.
    pub(crate) fn token(&self) -> &str {
        let header = |name: &str| self.headers.get(name).and_then(|v| v.to_str().ok());
        if let Some(token) = self.query.get("token").filter(|t| !t.is_empty()) {
            return token;
        }
        if let Some(token) = header("x-consul-token").filter(|t| !t.is_empty()) {
            return token;
        }
        header("authorization")
            .and_then(|value| value.split_once(' '))
            .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
            .map_or("", |(_, token)| token.trim())
    }

    pub(crate) fn json(&self) -> Result<Value, Refusal> {
        Ok(decode::json(&self.body)?)
    }

    /// The rest of the path, which may not be empty.
    pub(crate) fn named(&self, missing: &str) -> Result<&str, Refusal> {
        if self.rest.is_empty() { Err(Refusal::bad(missing)) } else { Ok(&self.rest) }
    }
}

/// The parameters, in order, decoded as forms are.
#[derive(Debug, Default)]
pub(crate) struct Query(Vec<(String, String)>);

impl Query {
    pub(crate) fn parse(raw: &str) -> Self {
        let decode = |text: &str| {
            percent_decode_str(&text.replace('+', " ")).decode_utf8_lossy().into_owned()
        };
        Self(
            raw.split('&')
                .filter(|part| !part.is_empty())
                .map(|part| {
                    let (key, value) = part.split_once('=').unwrap_or((part, ""));
                    (decode(key), decode(value))
                })
                .collect(),
        )
    }

    pub(crate) fn has(&self, key: &str) -> bool {
        self.0.iter().any(|(k, _)| k == key)
    }

    /// The first value of a key.
    pub(crate) fn get(&self, key: &str) -> Option<&str> {
        self.0.iter().find(|(k, _)| k == key).map(|(_, v)| v.as_str())
    }

    pub(crate) fn all<'a>(&'a self, key: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(k, _)| k == key).map(|(_, v)| v.as_str())
    }

    /// All parameters, sorted by key, as Go writes them back.
    pub(crate) fn sorted(&self) -> String {
        let mut pairs: Vec<_> = self.0.iter().collect();
        pairs.sort();
        let escape = |text: &str| {
            percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC)
                .to_string()
        };
        pairs
            .into_iter()
            .map(|(k, v)| format!("{}={}", escape(k), escape(v)))
            .collect::<Vec<_>>()
            .join("&")
    }

    pub(crate) fn number(&self, key: &str) -> Result<Option<u64>, Refusal> {
        self.get(key)
            .map(|text| {
                text.parse().map_err(|_| {
                    Refusal::server(format!("strconv.ParseUint: parsing {text:?}: invalid syntax"))
                })
            })
            .transpose()
    }

    /// A Go truth value; a key without value counts as true.
    pub(crate) fn flag(&self, key: &str) -> Result<bool, ()> {
        match self.get(key) {
            None => Ok(false),
            Some("") => Ok(true),
            Some(text) => parse_bool(text).ok_or(()),
        }
    }
}

/// Go's truth values.
pub(crate) fn parse_bool(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

/// How fresh an answer must be; one process is always fresh, so this changes headers only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Consistency {
    Leader,
    Stale,
    Consistent,
}

/// What every reading endpoint understands.
#[derive(Debug)]
pub(crate) struct ReadOptions {
    /// The asker waits for a greater index; 0 means no waiting.
    pub(crate) index: u64,
    /// How long, without jitter.
    pub(crate) wait: Duration,
    pub(crate) consistency: Consistency,
    pub(crate) filter: String,
}

impl ReadOptions {
    pub(crate) fn parse(query: &Query, datacenter: &str) -> Result<Self, Refusal> {
        let consistency = match (query.has("stale"), query.has("consistent")) {
            (true, true) => {
                return Err(Refusal::bad(
                    "Cannot specify ?stale with ?consistent, conflicting semantics.",
                ));
            }
            (true, false) => Consistency::Stale,
            (false, true) => Consistency::Consistent,
            (false, false) => Consistency::Leader,
        };
        let wait = match query.get("wait").filter(|text| !text.is_empty()) {
            Some(text) => duration::parse(text).ok_or_else(|| Refusal::bad("Invalid wait time"))?,
            None => Duration::ZERO,
        };
        let index = match query.get("index").filter(|text| !text.is_empty()) {
            Some(text) => text.parse().map_err(|_| Refusal::bad("Invalid index"))?,
            None => 0,
        };
        check_datacenter(query, datacenter)?;
        let wait = if wait.is_zero() { WAIT_DEFAULT } else { wait.min(WAIT_MAX) };
        let filter = query.get("filter").unwrap_or_default().to_owned();
        Ok(Self { index, wait, consistency, filter })
    }

    pub(crate) fn filter(&self, fields: &[filter::Field]) -> Result<filter::Filter, Refusal> {
        Ok(filter::Filter::new(&self.filter, fields)?)
    }
}

/// There is one datacenter only.
pub(crate) fn check_datacenter(query: &Query, datacenter: &str) -> Result<(), Refusal> {
    let wanted = query.get("datacenter").or_else(|| query.get("dc")).unwrap_or_default();
    if wanted.is_empty() || wanted == datacenter {
        return Ok(());
    }
    Err(Refusal::server("No path to datacenter"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wait_is_bounded_and_has_a_default() {
        let wait = |raw: &str| ReadOptions::parse(&Query::parse(raw), "dc1").map(|o| o.wait);
        assert_eq!(wait("wait=90s"), Ok(Duration::from_secs(90)));
        assert_eq!(wait("wait=1h"), Ok(WAIT_MAX));
        assert_eq!(wait("index=4"), Ok(WAIT_DEFAULT));
        assert_eq!(wait("wait=10"), Err(Refusal::bad("Invalid wait time")));
    }

    #[test]
    fn another_datacenter_is_not_reached() {
        let options = ReadOptions::parse(&Query::parse("dc=dc2"), "dc1");
        assert_eq!(options.err(), Some(Refusal::server("No path to datacenter")));
        assert!(ReadOptions::parse(&Query::parse("dc=dc1"), "dc1").is_ok());
    }

    #[test]
    fn parameters_are_decoded_as_forms() {
        let query = Query::parse("reason=why+not%3F&tag=a&tag=b&stale");
        assert_eq!(query.get("reason"), Some("why not?"));
        assert_eq!(query.all("tag").collect::<Vec<_>>(), ["a", "b"]);
        assert!(query.has("stale"));
    }
}
