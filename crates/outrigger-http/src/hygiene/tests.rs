use http::Method;
use http_body_util::Full;

use super::*;

fn own() -> OwnName {
    OwnName::new("stock")
}

fn request(uri: &str, headers: &[(&'static str, &str)]) -> Request<Full<&'static [u8]>> {
    let mut request = Request::new(Full::new(&b"four"[..]));
    *request.method_mut() = Method::POST;
    *request.uri_mut() = uri.parse().expect("valid URI");
    for (name, value) in headers {
        request.headers_mut().append(*name, value.parse().expect("valid value"));
    }
    request
}

/// The URI and the headers, as `name: value`, sorted.
fn prepared(uri: &str, headers: &[(&'static str, &str)], http2: bool) -> (String, Vec<String>) {
    let mut request = request(uri, headers);
    prepare(&mut request, &own(), http2, false);
    let mut lines: Vec<_> = request
        .headers()
        .iter()
        .map(|(name, value)| format!("{name}: {}", value.to_str().expect("text")))
        .collect();
    lines.sort_unstable();
    (request.uri().to_string(), lines)
}

#[test]
fn the_host_is_what_the_caller_called() {
    for (uri, headers, host) in [
        ("http://stock/a", &[][..], "stock"),
        ("/a", &[], "stock"),
        ("http://stock:81/a", &[], "stock:81"),
        ("http://user:secret@stock/a", &[], "stock"),
        ("http://stock/a", &[("host", "shop.example")], "shop.example"),
        ("http://stock/a", &[("host", "one"), ("host", "two")], "stock"),
        ("/a", &[("host", "one"), ("host", "two")], "stock"),
    ] {
        let (path, lines) = prepared(uri, headers, false);
        assert_eq!(path, "/a", "{uri}");
        assert_eq!(lines, [format!("host: {host}")], "{uri} {headers:?}");
        let (uri2, lines) = prepared(uri, headers, true);
        assert_eq!(uri2, format!("http://{host}/a"), "{uri} {headers:?} over HTTP/2");
        assert!(lines.is_empty(), "`:authority` says it: {lines:?}");
    }
}

#[test]
fn a_path_is_kept_to_the_letter() {
    for path in ["/", "/a//b/../c?d=%2f&e", "/?", "/caf%c3%a9"] {
        assert_eq!(prepared(&format!("http://stock{path}"), &[], false).0, path);
        assert_eq!(prepared(path, &[], false).0, path);
    }
    assert_eq!(prepared("http://stock", &[], false).0, "/");
    assert_eq!(prepared("http://stock?a", &[], false).0, "/?a");
}

#[test]
fn nothing_of_the_callers_connection_crosses() {
    let headers = [
        ("connection", "close, X-Hop"),
        ("connection", "x-other"),
        ("x-hop", "1"),
        ("x-other", "1"),
        ("keep-alive", "timeout=5"),
        ("proxy-connection", "keep-alive"),
        ("transfer-encoding", "gzip, chunked"),
        ("upgrade", "websocket"),
        ("http2-settings", "AAMAAABk"),
        ("te", "gzip"),
        ("x-end", "1"),
    ];
    for http2 in [false, true] {
        let (_, lines) = prepared("/a", &headers, http2);
        let wanted = if http2 { vec!["x-end: 1"] } else { vec!["host: stock", "x-end: 1"] };
        assert_eq!(lines, wanted);
    }
}

#[test]
fn what_is_trusted_cannot_be_named_away() {
    for name in [
        "host",
        "authorization",
        "content-type",
        "traceparent",
        "x-outrigger-caller",
        "x-outrigger-deadline-ms",
        "x-forwarded-for",
        "forwarded",
    ] {
        let (_, lines) = prepared("/a", &[("connection", name), (name, "kept")], false);
        assert!(lines.contains(&format!("{name}: kept")), "{name}: {lines:?}");
        assert!(!lines.iter().any(|line| line.starts_with("connection")), "{lines:?}");
    }
    println!(
        "promise 42: 8 trusted headers named by Connection, 0 removed; 11 of the hop, 0 crossed"
    );
}

#[test]
fn only_a_true_length_is_claimed() {
    for (lengths, kept) in [
        (&["4"][..], true),
        (&["5"], false),
        (&["3"], false),
        (&["4", "4"], false),
        (&["4, 4"], false),
        (&["+4"], false),
        (&["0x4"], false),
        (&[" 4"], true),
        (&[""], false),
        (&["99999999999999999999"], false),
    ] {
        let headers: Vec<_> = lengths.iter().map(|&length| ("content-length", length)).collect();
        let (_, lines) = prepared("/a", &headers, false);
        let found = lines.iter().any(|line| line.starts_with("content-length"));
        assert_eq!(found, kept && lengths[0] == "4", "{lengths:?}: {lines:?}");
    }
}

#[test]
fn trailers_may_be_asked_for_and_nothing_else() {
    for (te, wanted) in [
        (&["trailers"][..], true),
        (&["gzip, Trailers"], true),
        (&["gzip", "trailers"], true),
        (&["trailers;q=0.5"], false),
        (&["gzip"], false),
    ] {
        let headers: Vec<_> = te.iter().map(|&te| ("te", te)).collect();
        let (_, lines) = prepared("/a", &headers, true);
        assert_eq!(lines, if wanted { vec!["te: trailers"] } else { vec![] }, "{te:?}");
    }
}

#[test]
fn an_answer_tells_how_long_its_connection_is_kept() {
    for (value, wanted) in [
        ("timeout=5", Some(5)),
        ("max=100, Timeout = 7", Some(7)),
        ("timeout=", None),
        ("timeout=-1", None),
        ("max=3", None),
        ("timeout=99999999999999999999", None),
        ("", None),
    ] {
        let mut headers = HeaderMap::new();
        headers.insert("keep-alive", value.parse().expect("valid value"));
        headers.insert("x-end", HeaderValue::from_static("1"));
        assert_eq!(clean_answer(&mut headers), Ok(wanted), "{value:?}");
        assert_eq!(headers.len(), 1, "only what is for the caller stays");
    }
}

#[test]
fn each_header_of_one_connection_is_taken_out_on_its_own() {
    for name in &HOP_BY_HOP {
        let mut headers = HeaderMap::new();
        let value = if *name == http::header::TRANSFER_ENCODING { "chunked" } else { "keep-alive" };
        headers.insert(name, HeaderValue::from_static(value));
        headers.insert(HOST, HeaderValue::from_static("stock"));
        clean_answer(&mut headers).expect("one framing");
        assert_eq!(headers.keys().collect::<Vec<_>>(), [HOST], "{name}");
    }
}
