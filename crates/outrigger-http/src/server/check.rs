//! What a request has to be before any rule sees it, as far as its parsed head tells.

use http::header::HOST;
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderMap, HeaderValue, Method, Request, Uri, Version};

use outrigger_core::NormalPath;

use super::refused::Refused;

/// Judges heads; one for each connection.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Check {
    pub(crate) is_http2: bool,
    pub(crate) max_headers: u32,
    pub(crate) normal_paths: bool,
}

/// What one pass over the headers found.
#[derive(Clone, Copy, Debug, Default)]
struct Found {
    hosts: u32,
    has_twin: bool,
}

impl Check {
    /// Refuses what two readers could understand differently; brings the rest into one form: the
    /// authority of an absolute target is what `Host` says, and a path has its normal form.
    ///
    /// Cost: one pass over the names of the headers, one over the host and one over the path.
    #[inline]
    pub(crate) fn request<B>(&self, request: &mut Request<B>) -> Result<(), Refused> {
        self.head(request)?;
        if self.normal_paths { normalize(request) } else { Ok(()) }
    }

    fn head<B>(&self, request: &mut Request<B>) -> Result<(), Refused> {
        let found = scan(request.headers());
        if found.has_twin {
            return Err(Refused::TWIN);
        }
        if self.is_http2 {
            // Over HTTP/1.1 the gate has counted them.
            if request.headers().len() > self.max_headers as usize {
                return Err(Refused::HEAD_TOO_LARGE);
            }
            return http2(request, found);
        }
        if found.hosts > 1 {
            return Err(Refused::BAD_HOST);
        }
        let host = request.headers().get(HOST);
        match host {
            Some(host) if !is_host(host.as_bytes()) => return Err(Refused::BAD_HOST),
            None if request.version() >= Version::HTTP_11 => return Err(Refused::BAD_HOST),
            _ => {}
        }
        if request.method() == Method::CONNECT {
            return connect(request.uri());
        }
        // The usual form: a path, and nothing before it.
        if request.uri().authority().is_none() {
            return path(request.method(), request.uri().path_and_query());
        }
        absolute(request)
    }
}

/// Looks at each header once. Names are told apart by their length and first letter before they
/// are compared.
#[inline]
fn scan(headers: &HeaderMap) -> Found {
    let mut found = Found::default();
    for (name, _) in headers {
        let name = name.as_str();
        match name.len() {
            4 if name == "host" => found.hosts += 1,
            // To whoever maps `-` and `_` to one character, as CGI does, these are the headers
            // that frame the body.
            14 if name == "content_length" => found.has_twin = true,
            17 if name == "transfer_encoding" => found.has_twin = true,
            _ => {}
        }
    }
    found
}

/// Has the path in its normal form from here on; the query stays as it is.
fn normalize<B>(request: &mut Request<B>) -> Result<(), Refused> {
    let uri = request.uri();
    let path = uri.path();
    // `*`, and the authority of CONNECT.
    if !path.starts_with('/') {
        return Ok(());
    }
    let normal = NormalPath::new(path).map_err(|_| Refused::NO_NORMAL_PATH)?;
    if normal.as_str() == path {
        return Ok(());
    }
    let target = match uri.query() {
        Some(query) => format!("{normal}?{query}"),
        None => normal.as_str().to_owned(),
    };
    let target = PathAndQuery::try_from(target).map_err(|_| Refused::NO_NORMAL_PATH)?;
    let mut parts = std::mem::take(request.uri_mut()).into_parts();
    parts.path_and_query = Some(target);
    *request.uri_mut() = Uri::from_parts(parts).map_err(|_| Refused::BAD_TARGET)?;
    Ok(())
}

/// A target that is a path: `*` for OPTIONS only.
fn path(method: &Method, target: Option<&PathAndQuery>) -> Result<(), Refused> {
    match target.map(PathAndQuery::as_str) {
        Some(target) if target.starts_with('/') => Ok(()),
        Some("*") if method == Method::OPTIONS => Ok(()),
        _ => Err(Refused::BAD_TARGET),
    }
}

/// A target with an authority: the authority wins, and `Host` says the same from here on.
///
/// Source: RFC 9112, section 3.2.2: "the origin server MUST ignore the received Host header field
/// (if any) and instead use the host information of the request-target".
fn absolute<B>(request: &mut Request<B>) -> Result<(), Refused> {
    let uri = request.uri();
    let Some(authority) = uri.authority() else { return Err(Refused::BAD_TARGET) };
    if !is_http(uri.scheme()) || !is_host(authority.as_str().as_bytes()) {
        return Err(Refused::BAD_TARGET);
    }
    match uri.path_and_query().map(PathAndQuery::as_str) {
        // `OPTIONS http://host` asks about the server, `GET http://host?x` for its root.
        None => {}
        Some(target) if target.starts_with(['/', '?']) => {}
        _ => return Err(Refused::BAD_TARGET),
    }
    let host = HeaderValue::from_str(authority.as_str()).map_err(|_| Refused::BAD_HOST)?;
    if request.headers().get(HOST) != Some(&host) {
        request.headers_mut().insert(HOST, host);
    }
    Ok(())
}

fn is_http(scheme: Option<&Scheme>) -> bool {
    scheme.is_some_and(|scheme| scheme == &Scheme::HTTP || scheme == &Scheme::HTTPS)
}

/// `CONNECT host:port`, and nothing else.
fn connect(uri: &Uri) -> Result<(), Refused> {
    let authority = uri.authority().filter(|_| {
        uri.scheme().is_none() && uri.path_and_query().is_none_or(|path| path.as_str().is_empty())
    });
    match authority {
        Some(authority) if is_host(authority.as_str().as_bytes()) && has_port(authority) => Ok(()),
        _ => Err(Refused::BAD_TARGET),
    }
}

fn has_port(authority: &Authority) -> bool {
    authority.port_u16().is_some_and(|port| port > 0)
}

fn http2<B>(request: &mut Request<B>, found: Found) -> Result<(), Refused> {
    let uri = request.uri();
    let authority = uri.authority().map(|authority| authority.as_str().as_bytes());
    let host = request.headers().get(HOST).map(HeaderValue::as_bytes);
    // "A server SHOULD treat a request as malformed if it contains a Host header field that
    // identifies an entity that differs from the entity in the :authority" (RFC 9113, 8.3.1).
    match (authority, host) {
        _ if found.hosts > 1 => return Err(Refused::BAD_HOST),
        (None, None) => return Err(Refused::BAD_HOST),
        (Some(one), Some(other)) if !one.eq_ignore_ascii_case(other) => {
            return Err(Refused::TWO_HOSTS);
        }
        (Some(host), _) | (None, Some(host)) if !is_host(host) => return Err(Refused::BAD_HOST),
        _ => {}
    }
    if request.method() == Method::CONNECT {
        return connect(uri);
    }
    if uri.scheme().is_some() && !is_http(uri.scheme()) {
        return Err(Refused::BAD_TARGET);
    }
    path(request.method(), uri.path_and_query())
}

/// Whether this is a host with or without a port, and nothing else: no user, no list, no path.
fn is_host(bytes: &[u8]) -> bool {
    let (host, port) = match bytes {
        [b'[', rest @ ..] => {
            let Some(end) = rest.iter().position(|&byte| byte == b']') else { return false };
            let (address, port) = (&rest[..end], &rest[end + 1..]);
            let valid = std::str::from_utf8(address)
                .is_ok_and(|text| text.parse::<std::net::Ipv6Addr>().is_ok());
            if !valid {
                return false;
            }
            match port {
                [] => return true,
                [b':', port @ ..] => (&b"v6"[..], Some(port)),
                _ => return false,
            }
        }
        _ => match bytes.iter().position(|&byte| byte == b':') {
            Some(colon) => (&bytes[..colon], Some(&bytes[colon + 1..])),
            None => (bytes, None),
        },
    };
    let is_name = !host.is_empty()
        && host
            .iter()
            .all(|&b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_' | b'~'));
    let is_port = port.is_none_or(|port| {
        port.len() <= 5
            && port.iter().all(u8::is_ascii_digit)
            && port.iter().fold(0_u32, |sum, digit| sum * 10 + u32::from(digit - b'0')) <= 65_535
    });
    is_name && is_port
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Spellings of one path that somebody, somewhere, reads as another.
    fn spellings() -> Vec<String> {
        let middles = [
            "/",
            "//",
            "/./",
            "/../",
            "/%2e/",
            "/%2E%2e/",
            "/.%2e/",
            "%2f",
            "%2F",
            "%5c",
            "\\",
            ";",
            "/..;/",
            "/.;x/",
            "%00",
            "%252e%252e",
            "%252f",
            "%20",
            "%09",
            "%",
            "%zz",
            "/...",
            "~",
            "%7e",
            "%61",
            "%41",
            ":",
            "@",
            "+",
            "=",
            "&",
            "$",
            "!",
            "'",
            "(",
            ")",
            "*",
            ",",
            "[",
            "]",
            "|",
            "^",
            "`",
            "{",
            "}",
            "\"",
            "<",
            ">",
            "caf%c3%a9",
            "%ff",
            "%2e",
            ".",
            "..",
            "%3b",
            "%3f",
            "%23",
            "%25",
        ];
        let mut paths = Vec::new();
        for prefix in ["", "/", "/public", "/public/", "/%70ublic/..", "/public/."] {
            for middle in middles {
                for suffix in ["admin", "admin/", "%61dmin?q=/../%2e"] {
                    paths.push(format!("{prefix}{middle}{suffix}"));
                }
            }
        }
        paths
    }

    #[test]
    fn rules_and_services_see_one_path() {
        let (mut passed, mut refused) = (0, 0);
        for is_http2 in [false, true] {
            let check = Check { is_http2, max_headers: 100, normal_paths: true };
            for spelt in spellings() {
                let Ok(uri) = format!("http://stock{spelt}").parse::<Uri>() else { continue };
                if uri.authority().is_none_or(|authority| authority != "stock") {
                    continue;
                }
                let mut request = Request::new(());
                *request.uri_mut() = uri.clone();
                if is_http2 {
                    *request.version_mut() = Version::HTTP_2;
                }
                request.headers_mut().insert(HOST, HeaderValue::from_static("stock"));
                let wanted = NormalPath::new(uri.path());
                match (check.request(&mut request), wanted) {
                    (Ok(()), Ok(wanted)) => {
                        passed += 1;
                        let path = request.uri().path();
                        assert_eq!(path, wanted.as_str(), "{spelt}");
                        let again = NormalPath::new(path).expect("normal already");
                        assert_eq!(again.as_str(), path, "{spelt} is normal for who looks again");
                        assert_eq!(request.uri().query(), uri.query(), "{spelt}");
                    }
                    (Err(_), Err(_)) => refused += 1,
                    (found, wanted) => panic!("{spelt}: {found:?} and {wanted:?}"),
                }
            }
        }
        assert!(passed + refused >= 500, "{passed} + {refused}");
        println!("promise 44: {passed} spellings passed in one form, {refused} refused, 0 bypass");
    }

    #[test]
    fn a_host_is_a_name_or_an_address_with_or_without_a_port() {
        for host in ["a", "a.b-c_d~1", "a:80", "a:", "127.0.0.1:65535", "[::1]", "[::1]:80"] {
            assert!(is_host(host.as_bytes()), "{host}");
        }
        for host in [
            "", ":80", "a b", "a,b", "u@a", "a/b", "a:b", "a:65536", "a:123456", "a:80:80", "[::1",
            "[::1]x", "[a]", "::1", "a%41", "a\tb", "a;b", "*", "a#b", "a?b", "a\\b", "é",
        ] {
            assert!(!is_host(host.as_bytes()), "{host}");
        }
    }
}
