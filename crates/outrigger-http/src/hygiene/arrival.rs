//! What a caller says of itself and of those before it, and what is made of that.

use std::net::IpAddr;

use http::header::{FORWARDED, HOST};
use http::{HeaderMap, HeaderName, HeaderValue, Request};

/// Where the requests of one connection come from; made once for each connection.
///
/// A proxy that stands in front of an application [stamps](Arrival::stamp) each request with it,
/// so that the application may believe `X-Forwarded-For`, `X-Forwarded-Proto`, `X-Forwarded-Host`
/// and `X-Outrigger-Caller`.
#[derive(Clone, Debug)]
pub struct Arrival {
    address: HeaderValue,
    scheme: HeaderValue,
}

impl Arrival {
    /// From this address, over TLS or not.
    #[must_use]
    pub fn new(peer: IpAddr, is_tls: bool) -> Self {
        // A socket that listens on both families sees IPv4 addresses in the clothes of IPv6.
        let address = peer.to_canonical().to_string();
        let address = HeaderValue::try_from(address);
        Self {
            address: address.unwrap_or_else(|_| HeaderValue::from_static("unknown")),
            scheme: HeaderValue::from_static(if is_tls { "https" } else { "http" }),
        }
    }

    /// Takes out of a request what its caller may not say, and puts in what is known.
    ///
    /// Shape: of a caller that is not trusted, `X-Forwarded-*`, `Forwarded`, `X-Real-Ip` and
    /// `X-Outrigger-*` go, but for the deadline and the attempt, which can only tighten; of a
    /// trusted one they stay, and its address is appended to `X-Forwarded-For`. Spellings of them
    /// with underscores go in any case: nobody sends them in good faith.
    ///
    /// Cost: one pass over the names; three headers.
    pub fn stamp<B>(&self, request: &mut Request<B>, is_trusted: bool) {
        let headers = request.headers_mut();
        let found = scan(headers);
        if found.has_twin || (found.has_claim && !is_trusted) {
            remove(headers, is_trusted);
        }
        let chain = if found.has_claim && is_trusted { self.appended(headers) } else { None };
        headers.insert(FOR, chain.unwrap_or_else(|| self.address.clone()));
        if !headers.contains_key(PROTO) {
            headers.insert(PROTO, self.scheme.clone());
        }
        if !headers.contains_key(FORWARDED_HOST) {
            let authority =
                request.uri().authority().map(|authority| authority.as_str().to_owned());
            let host = request.headers().get(HOST).cloned();
            let host = host.or_else(|| HeaderValue::try_from(authority?).ok());
            if let Some(host) = host {
                request.headers_mut().insert(FORWARDED_HOST, host);
            }
        }
    }

    /// What a trusted caller says, and its own address behind it.
    fn appended(&self, headers: &HeaderMap) -> Option<HeaderValue> {
        let mut chain = Vec::new();
        for value in headers.get_all(FOR) {
            chain.extend_from_slice(value.as_bytes());
            chain.extend_from_slice(b", ");
        }
        if chain.is_empty() {
            return None;
        }
        chain.extend_from_slice(self.address.as_bytes());
        HeaderValue::from_maybe_shared(bytes::Bytes::from(chain)).ok()
    }
}

const FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");

#[derive(Clone, Copy, Debug, Default)]
struct Found {
    has_claim: bool,
    has_twin: bool,
}

#[inline]
fn scan(headers: &HeaderMap) -> Found {
    let mut found = Found::default();
    for (name, _) in headers {
        let name = name.as_str();
        match name.as_bytes() {
            b"forwarded" => found.has_claim = true,
            [b'x', ..] => {
                let (is_claim, is_twin) = judge(name);
                found.has_claim |= is_claim;
                found.has_twin |= is_twin;
            }
            _ => {}
        }
    }
    found
}

/// Whether a name that begins with `x` claims something, and whether by underscores.
fn judge(name: &str) -> (bool, bool) {
    if !name.as_bytes().contains(&b'_') {
        return (is_claim(name), false);
    }
    let spelt = name.replace('_', "-");
    (false, is_claim(&spelt) || is_ours(&spelt))
}

fn is_claim(name: &str) -> bool {
    name.starts_with("x-forwarded-")
        || name == "x-real-ip"
        || (is_ours(name) && name != "x-outrigger-deadline-ms" && name != "x-outrigger-attempt")
}

fn is_ours(name: &str) -> bool {
    name.starts_with("x-outrigger-")
}

#[cold]
fn remove(headers: &mut HeaderMap, is_trusted: bool) {
    let gone: Vec<HeaderName> = headers
        .keys()
        .filter(|name| {
            let name = name.as_str();
            let (is_claim, is_twin) = judge(name);
            is_twin || (!is_trusted && (is_claim || name == "forwarded"))
        })
        .cloned()
        .collect();
    for name in gone {
        headers.remove(name);
    }
    if !is_trusted {
        headers.remove(FORWARDED);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLAIMS: [&str; 14] = [
        "x-forwarded-for",
        "x-forwarded-proto",
        "x-forwarded-host",
        "x-forwarded-port",
        "x-forwarded-client-cert",
        "forwarded",
        "x-real-ip",
        "x-outrigger-caller",
        "x-outrigger-explain",
        "x-outrigger-anything",
        "x_forwarded_for",
        "x-forwarded_for",
        "x_outrigger_caller",
        "x_real_ip",
    ];

    fn stamped(headers: &[(&'static str, &'static str)], is_trusted: bool) -> Vec<String> {
        let arrival = Arrival::new("::ffff:10.0.0.9".parse().expect("an address"), false);
        let mut request = Request::get("http://stock/a").body(()).expect("valid");
        for (name, value) in headers {
            request.headers_mut().append(*name, HeaderValue::from_static(value));
        }
        arrival.stamp(&mut request, is_trusted);
        let mut lines: Vec<_> = request
            .headers()
            .iter()
            .map(|(name, value)| format!("{name}: {}", value.to_str().expect("text")))
            .collect();
        lines.sort();
        lines
    }

    const KNOWN: [&str; 3] =
        ["x-forwarded-for: 10.0.0.9", "x-forwarded-host: stock", "x-forwarded-proto: http"];

    #[test]
    fn what_a_stranger_claims_is_never_seen() {
        for claim in CLAIMS {
            assert_eq!(stamped(&[(claim, "spoof"), (claim, "spoof")], false), KNOWN, "{claim}");
        }
        let all: Vec<_> = CLAIMS.iter().map(|claim| (*claim, "spoof")).collect();
        assert_eq!(stamped(&all, false), KNOWN);
        println!("promise 43: {} claims of strangers, 0 seen", CLAIMS.len());
    }

    #[test]
    fn what_can_only_tighten_is_anybodys_to_say() {
        let lines = stamped(
            &[("x-outrigger-deadline-ms", "5"), ("x-outrigger-attempt", "1"), ("x-else", "2")],
            false,
        );
        assert_eq!(lines.len(), 6, "{lines:?}");
    }

    #[test]
    fn what_a_trusted_caller_says_stays_and_its_address_is_appended() {
        let lines = stamped(
            &[
                ("x-forwarded-for", "1.1.1.1"),
                ("x-forwarded-for", "2.2.2.2, 3.3.3.3"),
                ("x-forwarded-proto", "https"),
                ("x-outrigger-caller", "orders"),
                ("x_outrigger_caller", "spoof"),
                ("forwarded", "for=1.1.1.1"),
            ],
            true,
        );
        assert_eq!(
            lines,
            [
                "forwarded: for=1.1.1.1",
                "x-forwarded-for: 1.1.1.1, 2.2.2.2, 3.3.3.3, 10.0.0.9",
                "x-forwarded-host: stock",
                "x-forwarded-proto: https",
                "x-outrigger-caller: orders",
            ]
        );
    }
}
