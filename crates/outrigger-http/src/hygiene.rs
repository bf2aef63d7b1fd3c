//! What of a head may cross from one connection to another.

mod arrival;

use http::header::{CONNECTION, CONTENT_LENGTH, EXPECT, HOST, TE};
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderMap, HeaderName, HeaderValue, Request, Uri, Version};
use http_body::Body;

pub use arrival::Arrival;

/// What one pass over a head found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Found {
    /// Which headers are there that belong to one connection only: a bit for each of `HOP_BY_HOP`.
    hop: u8,
    /// Of those, how often the body's coding is told.
    codings: u32,
    /// Which of the rest need a second look.
    te: bool,
    expect: bool,
    /// How often these are there.
    hosts: u32,
    lengths: u32,
}

/// Looks at each header once: heads are short, and a hash look-up per name that might be there
/// costs more than the whole pass.
#[inline]
fn scan(headers: &HeaderMap) -> Found {
    let mut found = Found::default();
    for (name, _) in headers {
        let name = name.as_str();
        // The length first: most names are told apart by it.
        match name.len() {
            2 if name == "te" => found.te = true,
            4 if name == "host" => found.hosts += 1,
            6 if name == "expect" => found.expect = true,
            7 if name == "upgrade" => found.hop |= 1 << 4,
            10 if name == "connection" => found.hop |= 1,
            10 if name == "keep-alive" => found.hop |= 1 << 1,
            14 if name == "content-length" => found.lengths += 1,
            14 if name == "http2-settings" => found.hop |= 1 << 5,
            16 if name == "proxy-connection" => found.hop |= 1 << 2,
            17 if name == "transfer-encoding" => {
                found.hop |= 1 << 3;
                found.codings += 1;
            }
            _ => {}
        }
    }
    found
}

/// Removes what belongs to one connection: the fixed list, and whatever `Connection` names.
///
/// Source: RFC 9110, section 7.6.1. End-to-end framing and routing headers cannot be named away:
/// a `Connection: host, content-length` would otherwise change what the endpoint sees.
///
/// Cost: many servers say `Connection: keep-alive` with each answer, for which nothing is allocated
/// and one name is looked up.
fn strip_hop_by_hop(headers: &mut HeaderMap, hop: u8) {
    if hop & 1 != 0 && !headers.get_all(CONNECTION).iter().all(names_nothing) {
        let named: Vec<HeaderName> = headers
            .get_all(CONNECTION)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(','))
            .filter_map(|token| token.trim().parse().ok())
            .filter(|name| !is_protected(name))
            .collect();
        for name in named {
            headers.remove(name);
        }
    }
    for (at, name) in HOP_BY_HOP.iter().enumerate() {
        if hop & 1 << at != 0 {
            headers.remove(name);
        }
    }
}

/// Whether a `Connection` names no header but what is taken out anyway.
fn names_nothing(value: &HeaderValue) -> bool {
    let value = value.as_bytes();
    value.eq_ignore_ascii_case(b"keep-alive") || value.eq_ignore_ascii_case(b"close")
}

static KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");

static HOP_BY_HOP: [HeaderName; 6] = [
    CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    http::header::TRANSFER_ENCODING,
    http::header::UPGRADE,
    HeaderName::from_static("http2-settings"),
];

/// Headers that a `Connection` header may not remove: who names them wants to be trusted for what
/// he is not.
fn is_protected(name: &HeaderName) -> bool {
    let name = name.as_str();
    matches!(name, "host" | "content-length" | "content-type" | "authorization" | "traceparent")
        || name.starts_with("x-outrigger-")
        || name.starts_with("x-forwarded-")
        || name == "forwarded"
}

/// What stands in `Host`, or in `:authority`, where the caller wrote nothing.
#[derive(Clone, Debug)]
pub(crate) struct OwnName {
    header: HeaderValue,
    authority: Authority,
}

impl OwnName {
    /// A service's name is a valid authority: letters, digits, `-`, `_` and `.`.
    pub(crate) fn new(service: &str) -> Self {
        let fallback = || Authority::from_static("localhost");
        Self {
            header: HeaderValue::from_str(service)
                .unwrap_or_else(|_| HeaderValue::from_static("localhost")),
            authority: service.parse().unwrap_or_else(|_| fallback()),
        }
    }
}

/// Gives a request the form that goes on the wire; tells whether it waits for `100 Continue`.
///
/// Shape: origin-form path (HTTP/2: scheme, authority and path), one `Host` (HTTP/2: none), no
/// header of another connection, and no length that the body does not have: hyper writes its own.
pub(crate) fn prepare<B: Body>(
    request: &mut Request<B>,
    own: &OwnName,
    http2: bool,
    tls: bool,
) -> bool {
    let found = scan(request.headers());
    if found.hop != 0 {
        strip_hop_by_hop(request.headers_mut(), found.hop);
    }
    if found.te {
        // Only `trailers` makes sense beyond the first hop (RFC 9110, section 10.1.4).
        let trailers = request.headers().get_all(TE).iter().any(|te| {
            te.to_str()
                .is_ok_and(|te| te.split(',').any(|t| t.trim().eq_ignore_ascii_case("trailers")))
        });
        if trailers {
            request.headers_mut().insert(TE, HeaderValue::from_static("trailers"));
        } else {
            request.headers_mut().remove(TE);
        }
    }
    if found.lengths > 0 && !has_true_length(request, found.lengths) {
        // A length that the body does not have lets the endpoint read one request as two.
        request.headers_mut().remove(CONTENT_LENGTH);
    }
    if http2 {
        prepare_http2(request, own, found.hosts, tls);
    } else {
        prepare_http1(request, own, found.hosts);
    }
    found.expect
        && !http2
        && request
            .headers()
            .get(EXPECT)
            .is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"100-continue"))
}

/// Whether the one `Content-Length` says what the body is going to be.
fn has_true_length<B: Body>(request: &Request<B>, lengths: u32) -> bool {
    if lengths != 1 {
        return false;
    }
    let Some(claimed) = request.headers().get(CONTENT_LENGTH).and_then(parse_length) else {
        return false;
    };
    match request.body().size_hint().exact() {
        Some(exact) => claimed == exact,
        // hyper holds a streamed body to what is claimed, and breaks the connection otherwise.
        None => true,
    }
}

fn parse_length(value: &HeaderValue) -> Option<u64> {
    let bytes = value.as_bytes();
    if bytes.is_empty() || bytes.len() > 19 {
        return None;
    }
    bytes.iter().try_fold(0_u64, |sum, &digit| {
        digit.is_ascii_digit().then(|| sum * 10 + u64::from(digit - b'0'))
    })
}

fn prepare_http1<B>(request: &mut Request<B>, own: &OwnName, hosts: u32) {
    *request.version_mut() = Version::HTTP_11;
    if hosts != 1 {
        let value = match request.uri().authority() {
            Some(authority) if authority == &own.authority => own.header.clone(),
            Some(authority) => {
                HeaderValue::from_str(host_of(authority)).unwrap_or_else(|_| own.header.clone())
            }
            None => own.header.clone(),
        };
        request.headers_mut().insert(HOST, value);
    }
    let uri = request.uri_mut();
    if uri.scheme().is_some() || uri.authority().is_some() {
        let parts = std::mem::take(uri).into_parts();
        *uri = parts.path_and_query.unwrap_or_else(|| PathAndQuery::from_static("/")).into();
    }
}

fn prepare_http2<B>(request: &mut Request<B>, own: &OwnName, hosts: u32, tls: bool) {
    *request.version_mut() = Version::HTTP_2;
    let host = if hosts > 0 { request.headers_mut().remove(HOST) } else { None };
    // Of several, none is the right one.
    let from_host =
        host.filter(|_| hosts == 1).and_then(|host| Authority::from_maybe_shared(host).ok());
    let mut parts = std::mem::take(request.uri_mut()).into_parts();
    parts.scheme = Some(if tls { Scheme::HTTPS } else { Scheme::HTTP });
    let authority = from_host.or_else(|| parts.authority.take());
    let authority = match authority {
        // Whoever writes a password into a URI does not mean the endpoint's log.
        Some(authority) if authority.as_str().contains('@') => host_of(&authority).parse().ok(),
        other => other,
    };
    parts.authority = Some(authority.unwrap_or_else(|| own.authority.clone()));
    parts.path_and_query.get_or_insert_with(|| PathAndQuery::from_static("/"));
    // All three parts are there and each is valid, which is all that `from_parts` asks for.
    *request.uri_mut() = Uri::from_parts(parts).unwrap_or_default();
}

/// The authority without user and password.
fn host_of(authority: &Authority) -> &str {
    authority.as_str().rsplit('@').next().unwrap_or_default()
}

/// An answer whose end two readers could see in different places.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the answer's length is told twice, or in a coding other than `chunked`")]
pub(crate) struct TwoFramings;

/// Takes out of an answer what belongs to the connection it came over; gives back how long the
/// endpoint says that it keeps that connection.
///
/// hyper forgives a length beside chunks, a length told twice and a coding below the chunks; what
/// one reader forgives, another reads as something else.
pub(crate) fn clean_answer(headers: &mut HeaderMap) -> Result<Option<u64>, TwoFramings> {
    let found = scan(headers);
    if found.lengths > 1 {
        return Err(TwoFramings);
    }
    if found.hop == 0 {
        return Ok(None);
    }
    if found.codings > 0 {
        let is_chunked = headers
            .get(http::header::TRANSFER_ENCODING)
            .is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"chunked"));
        if found.codings > 1 || found.lengths > 0 || !is_chunked {
            return Err(TwoFramings);
        }
    }
    let stated = if found.hop & 1 << 1 != 0 { headers.get(&KEEP_ALIVE) } else { None };
    let kept = stated.and_then(|value| value.to_str().ok()).and_then(|value| {
        value.split(',').find_map(|part| {
            let (key, seconds) = part.split_once('=')?;
            key.trim().eq_ignore_ascii_case("timeout").then(|| seconds.trim().parse().ok())?
        })
    });
    strip_hop_by_hop(headers, found.hop);
    Ok(kept)
}

#[cfg(test)]
mod tests;
