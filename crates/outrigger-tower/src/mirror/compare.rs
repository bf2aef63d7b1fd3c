//! Two answers side by side. Pure.

use std::time::Instant;

use bytes::Bytes;
use http::{HeaderMap, Method};
use outrigger_core::header;

use super::Compare;

/// What is kept of an answer to be compared.
#[derive(Clone, Debug, Default)]
pub(super) struct Summary {
    pub(super) status: u16,
    pub(super) headers: HeaderMap,
    pub(super) grpc_status: Option<String>,
    /// Up to the cap.
    pub(super) body: Vec<u8>,
    /// Whether more came than is kept.
    pub(super) truncated: bool,
}

impl Summary {
    /// Keeps what of a head is compared.
    pub(super) fn new(status: u16, headers: &HeaderMap, rule: &Compare) -> Self {
        let mut kept = HeaderMap::new();
        for name in &rule.headers {
            for value in headers.get_all(name) {
                kept.append(name.clone(), value.clone());
            }
        }
        let mut summary = Self { status, headers: kept, ..Self::default() };
        summary.trailers(headers);
        summary
    }

    /// Keeps data up to the cap; false once it is reached.
    pub(super) fn data(&mut self, data: &Bytes, rule: &Compare) -> bool {
        let room = rule.body_limit - self.body.len().min(rule.body_limit);
        self.truncated |= data.len() > room;
        self.body.extend_from_slice(&data[..data.len().min(room)]);
        !self.truncated
    }

    /// gRPC tells its verdict behind the body, or in a head without one.
    pub(super) fn trailers(&mut self, trailers: &HeaderMap) {
        if let Some(code) = trailers.get(header::GRPC_STATUS) {
            self.grpc_status = Some(String::from_utf8_lossy(code.as_bytes()).into_owned());
        }
    }
}

/// Two answers to one request that are not alike.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Difference {
    /// When both were known.
    pub at: Instant,
    /// What was asked.
    pub method: Method,
    /// The path, without query.
    pub path: String,
    /// The request's trace; 0 when it has none.
    pub trace_id: u128,
    /// The first thing that differs: `status`, `headers` or `body`.
    pub what: &'static str,
    /// Where the bodies part; `None` where they are alike or not compared.
    pub body_differs_at: Option<usize>,
    /// What the caller got.
    pub primary: Side,
    /// What the copy got.
    pub mirror: Side,
}

/// One of two answers, as far as it is shown.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Side {
    /// The HTTP status.
    pub status: u16,
    /// gRPC's, where there is one.
    pub grpc_status: Option<String>,
    /// The compared headers that differ, at most [`Side::HEADERS`] of them, each cut to
    /// [`Side::EXCERPT`] bytes.
    pub headers: Vec<(String, String)>,
    /// The body around the place where it differs, at most [`Side::EXCERPT`] bytes as text.
    pub body: String,
}

impl Side {
    /// Most headers that are shown.
    pub const HEADERS: usize = 8;
    /// Most bytes of a body, and of a header, that are shown.
    pub const EXCERPT: usize = 64;

    fn new(summary: &Summary, other: &Summary, at: Option<usize>) -> Self {
        let text = |bytes: &[u8]| {
            String::from_utf8_lossy(&bytes[..bytes.len().min(Self::EXCERPT)]).into_owned()
        };
        let differs = |name: &&http::HeaderName| {
            !summary.headers.get_all(*name).iter().eq(other.headers.get_all(*name).iter())
        };
        let names = summary.headers.keys().filter(differs).take(Self::HEADERS);
        let headers = names
            .flat_map(|name| summary.headers.get_all(name).iter().map(move |v| (name, v)))
            .take(Self::HEADERS)
            .map(|(name, value)| (name.to_string(), text(value.as_bytes())))
            .collect();
        // A little of what is alike, to find the place by.
        let from = at.map_or(0, |at| at.saturating_sub(16)).min(summary.body.len());
        let body = if at.is_some() { text(&summary.body[from..]) } else { String::new() };
        let (status, grpc_status) = (summary.status, summary.grpc_status.clone());
        Self { status, grpc_status, headers, body }
    }
}

/// What of two answers differs first, and where their bodies part.
pub(super) fn compare(ours: &Summary, theirs: &Summary) -> Option<(&'static str, Option<usize>)> {
    let at = body_differs_at(ours, theirs);
    if ours.status != theirs.status || ours.grpc_status != theirs.grpc_status {
        Some(("status", at))
    } else if ours.headers != theirs.headers {
        Some(("headers", at))
    } else {
        at.map(|at| ("body", Some(at)))
    }
}

fn body_differs_at(ours: &Summary, theirs: &Summary) -> Option<usize> {
    let common = ours.body.len().min(theirs.body.len());
    let parted = ours.body.iter().zip(&theirs.body).position(|(a, b)| a != b);
    // One that ends where the other goes on; what is beyond the cap of both is not looked at.
    let longer = ours.body.len() != theirs.body.len() || ours.truncated != theirs.truncated;
    parted.or_else(|| longer.then_some(common))
}

/// Both sides as they are shown.
pub(super) fn sides(ours: &Summary, theirs: &Summary, at: Option<usize>) -> (Side, Side) {
    (Side::new(ours, theirs, at), Side::new(theirs, ours, at))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn summary(status: u16, body: &'static str, cap: usize) -> Summary {
        let rule = Compare::new(vec![http::header::CONTENT_TYPE], cap);
        let mut headers = HeaderMap::new();
        headers.insert(http::header::CONTENT_TYPE, http::HeaderValue::from_static("text/plain"));
        headers.insert(http::header::DATE, http::HeaderValue::from_static("now"));
        let mut summary = Summary::new(status, &headers, &rule);
        summary.data(&Bytes::from_static(body.as_bytes()), &rule);
        summary
    }

    #[test]
    fn what_differs_is_found_in_the_order_status_headers_body() {
        let ours = summary(200, "abc", 100);
        assert_eq!(compare(&ours, &ours.clone()), None);
        assert_eq!(compare(&ours, &summary(500, "abx", 100)), Some(("status", Some(2))));
        assert_eq!(compare(&ours, &summary(200, "abx", 100)), Some(("body", Some(2))));
        assert_eq!(compare(&ours, &summary(200, "abcd", 100)), Some(("body", Some(3))));
        let mut other = summary(200, "abc", 100);
        other.headers.clear();
        assert_eq!(compare(&ours, &other), Some(("headers", None)));
        let mut grpc = summary(200, "abc", 100);
        grpc.grpc_status = Some("14".into());
        assert_eq!(compare(&ours, &grpc), Some(("status", None)));
    }

    #[test]
    fn bodies_are_compared_up_to_the_cap_only() {
        assert_eq!(compare(&summary(200, "abcX", 3), &summary(200, "abcY", 3)), None);
        assert_eq!(
            compare(&summary(200, "abc", 3), &summary(200, "abcY", 3)),
            Some(("body", Some(3)))
        );
        assert_eq!(compare(&summary(200, "a", 0), &summary(200, "b", 0)), None, "0 compares none");
    }

    #[test]
    fn what_is_shown_is_short() {
        let long: &'static str = Box::leak("x".repeat(1_000).into_boxed_str());
        let (ours, theirs) = (summary(200, long, 10_000), summary(200, "xxxy", 10_000));
        let (kind, at) = compare(&ours, &theirs).expect("they differ");
        assert_eq!((kind, at), ("body", Some(3)));
        let (ours, theirs) = sides(&ours, &theirs, at);
        assert_eq!((ours.body.len(), &*theirs.body), (Side::EXCERPT, "xxxy"));
        assert!(ours.headers.is_empty(), "these are alike");
    }
}
