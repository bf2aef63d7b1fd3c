//! Who is let in: reads, under a name of this machine, from nobody else's page.

use std::net::{IpAddr, SocketAddr};

use http::request::Parts;
use http::uri::Authority;
use http::{HeaderMap, Method, StatusCode, header};

/// Why a request is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Refused {
    pub(crate) status: StatusCode,
    pub(crate) code: &'static str,
    pub(crate) message: &'static str,
}

/// Looks at what a request is, on either surface.
pub(crate) fn reads_only(method: &Method) -> Result<(), Refused> {
    if matches!(*method, Method::GET | Method::HEAD) {
        return Ok(());
    }
    Err(Refused {
        status: StatusCode::METHOD_NOT_ALLOWED,
        code: "method",
        message: "this surface is for reading: allowed are GET and HEAD",
    })
}

/// Looks at whose name a request carries, and on whose behalf it comes. `local` is the address
/// that was connected to.
pub(crate) fn is_from_here(head: &Parts, local: SocketAddr) -> Result<(), Refused> {
    let mut names = head.headers.get_all(header::HOST).iter().map(|host| host.to_str().ok());
    let host = names.next().flatten().filter(|_| names.next().is_none());
    let host = host.and_then(|host| host.parse::<Authority>().ok());
    let target = head.uri.authority();
    let named = match (target, &host) {
        (Some(target), None) if !head.headers.contains_key(header::HOST) => target,
        (Some(target), Some(host)) if target == host => target,
        (None, Some(host)) => host,
        _ => {
            return Err(Refused {
                status: StatusCode::BAD_REQUEST,
                code: "host",
                message: "a request needs one Host, which is a name or an address, and its port",
            });
        }
    };
    if !is_ours(named, local) {
        return Err(Refused {
            status: StatusCode::MISDIRECTED_REQUEST,
            code: "host",
            message: "this surface answers to localhost, to loopback addresses and to the address \
                      it listens on; under any other name a foreign page could read it",
        });
    }
    if is_on_behalf(&head.headers, named, head.uri.path()) {
        return Err(Refused {
            status: StatusCode::FORBIDDEN,
            code: "cross_site",
            message: "a browser sent this on behalf of another page",
        });
    }
    Ok(())
}

/// Whether a name is one of this machine: loopback under any port, for tunnels end there, or the
/// very address that was connected to.
fn is_ours(named: &Authority, local: SocketAddr) -> bool {
    if named.as_str().contains('@') {
        return false;
    }
    let host = named.host();
    let bare = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host);
    match bare.parse::<IpAddr>() {
        Ok(ip) if ip.to_canonical().is_loopback() => true,
        Ok(ip) => {
            ip.to_canonical() == local.ip().to_canonical()
                && named.port_u16().unwrap_or(80) == local.port()
        }
        Err(_) => host.eq_ignore_ascii_case("localhost"),
    }
}

/// Whether a browser says that another page is behind the request. To follow a link to the page
/// itself is no harm.
fn is_on_behalf(headers: &HeaderMap, named: &Authority, path: &str) -> bool {
    let word = |name: &str| headers.get(name).map(|value| value.to_str().unwrap_or("?"));
    let is_foreign =
        word("sec-fetch-site").is_some_and(|site| !matches!(site, "same-origin" | "none"));
    let is_link = path == "/" && word("sec-fetch-mode") == Some("navigate");
    let is_elsewhere = word("origin").is_some_and(|origin| {
        origin.split_once("://").is_none_or(|(_, host)| !host.eq_ignore_ascii_case(named.as_str()))
    });
    is_elsewhere || (is_foreign && !is_link)
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    fn asked(target: &str, headers: &[(&str, &str)]) -> Result<(), Refused> {
        let mut request = Request::get(target);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let (head, ()) = request.body(()).expect("a request").into_parts();
        is_from_here(&head, "10.1.2.3:15990".parse().expect("an address"))
    }

    fn status(target: &str, headers: &[(&str, &str)]) -> u16 {
        asked(target, headers).map_or_else(|refused| refused.status.as_u16(), |()| 200)
    }

    #[test]
    fn names_of_this_machine_are_answered_and_no_other() {
        for (host, wanted) in [
            ("localhost", 200),
            ("LOCALHOST:15990", 200),
            ("localhost:8080", 200),
            ("127.0.0.1:15990", 200),
            ("127.1.2.3", 200),
            ("[::1]:15990", 200),
            ("[::ffff:127.0.0.1]:15990", 200),
            ("10.1.2.3:15990", 200),
            ("10.1.2.3", 421),
            ("10.1.2.3:15991", 421),
            ("10.1.2.4:15990", 421),
            ("0.0.0.0:15990", 421),
            ("localhost.", 421),
            ("localhost.evil.example:15990", 421),
            ("127.0.0.1.evil.example", 421),
            ("evil.example:15990", 421),
            ("user@localhost", 421),
            ("2130706433", 421),
            ("0x7f000001", 421),
            ("", 400),
            ("local host", 400),
            ("[::1", 400),
        ] {
            assert_eq!(status("/", &[("host", host)]), wanted, "{host:?}");
        }
    }

    #[test]
    fn a_name_in_the_target_counts_as_much_as_the_host() {
        assert_eq!(status("http://localhost:1/", &[]), 200);
        assert_eq!(status("http://evil.example/", &[]), 421);
        assert_eq!(status("http://localhost/", &[("host", "localhost")]), 200);
        assert_eq!(status("http://localhost/", &[("host", "evil.example")]), 400);
        assert_eq!(status("http://evil.example/", &[("host", "localhost")]), 400);
        assert_eq!(status("/", &[]), 400);
        assert_eq!(status("/", &[("host", "localhost"), ("host", "evil.example")]), 400);
    }

    #[test]
    fn another_pages_request_is_refused_but_for_a_link_to_the_page() {
        let host = ("host", "localhost:15990");
        let site = |site| ("sec-fetch-site", site);
        assert_eq!(status("/api/v1/state", &[host, site("same-origin")]), 200);
        assert_eq!(status("/api/v1/state", &[host, site("none")]), 200);
        assert_eq!(status("/api/v1/state", &[host, site("cross-site")]), 403);
        assert_eq!(status("/api/v1/events", &[host, site("same-site")]), 403);
        let follow = ("sec-fetch-mode", "navigate");
        assert_eq!(status("/", &[host, site("cross-site"), follow]), 200);
        assert_eq!(status("/metrics", &[host, site("cross-site"), follow]), 403);
        assert_eq!(status("/", &[host, site("cross-site"), ("sec-fetch-mode", "no-cors")]), 403);
        assert_eq!(status("/", &[host, ("origin", "http://localhost:15990")]), 200);
        assert_eq!(status("/", &[host, ("origin", "http://evil.example")]), 403);
        assert_eq!(status("/", &[host, ("origin", "null")]), 403);
    }
}
