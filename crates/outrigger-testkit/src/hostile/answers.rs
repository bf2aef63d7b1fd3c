//! The table of hostile answers.

use std::time::Duration;

use super::HostileAnswer;
use super::wire::{Act, answer, entry, ok};

const MS: Duration = Duration::from_millis(1);

/// What is wrong with an answer, what is done, and the words of which one must name it.
type Table = Vec<(&'static str, Act, &'static [&'static str])>;

fn list(entries: &str) -> Act {
    Act::Answer(ok(9, &format!("[{entries}]")))
}

fn raw(text: &str) -> Act {
    Act::AnswerAndClose(text.replace('\n', "\r\n").into_bytes())
}

fn status(line: &str, body: &str) -> Act {
    Act::Answer(answer(line, &[("X-Consul-Index", "1")], body.as_bytes()))
}

/// Every answer, for a watch of this service.
#[expect(clippy::too_many_lines, reason = "a table")]
pub(super) fn all(service: &str) -> Vec<HostileAnswer> {
    let entry = |address: &str, port: &str| entry(service, address, port);
    let good = entry("10.0.0.1", "80");
    let many = vec![good.as_str(); 101].join(",");
    let deep = "[".repeat(200_000);
    let head = "HTTP/1.1 200 OK\nX-Consul-Index: 9\n";
    let flood: String = (0..200).map(|n| format!("X-{n}: 1\n")).collect();
    let long_head = format!("{head}X-Long: {}\n\n", "x".repeat(1 << 20));
    let chunked = format!("{head}Transfer-Encoding: chunked\n\n").replace('\n', "\r\n");
    let piece = [b"4000\r\n".to_vec(), vec![b' '; 0x4000], b"\r\n".to_vec()].concat();
    let gzip = answer("200 OK", &[("Content-Encoding", "gzip")], b"\x1f\x8b\x08\x00bomb");
    let continues = "HTTP/1.1 100 Continue\r\n\r\n".repeat(10);
    let table: Table = vec![
        ("cut short", raw(&format!("{head}Content-Length: 500\n\n[{{\"Node\"")), &["truncated"]),
        (
            "a gigabyte announced",
            raw(&format!("{head}Content-Length: 1073741824\n\n[")),
            &["too_long"],
        ),
        ("without an end", Act::Endless(chunked.clone().into_bytes(), piece), &["too_long"]),
        (
            "without an end or a length",
            Act::Endless(format!("{head}\n").replace('\n', "\r\n").into(), vec![b' '; 0x4000]),
            &["too_long"],
        ),
        ("two hundred thousand deep", Act::Answer(ok(9, &deep)), &["wrong_type", "too_deep"]),
        ("port 0", list(&entry("10.0.0.1", "0")), &["bad_port"]),
        ("port 70000", list(&entry("10.0.0.1", "70000")), &["bad_port"]),
        ("port -1", list(&entry("10.0.0.1", "-1")), &["bad_port"]),
        (
            "a port beyond all integers",
            list(&entry("10.0.0.1", "99999999999999999999")),
            &["wrong_type"],
        ),
        ("port 80.5", list(&entry("10.0.0.1", "80.5")), &["wrong_type"]),
        ("a port in quotes", list(&entry("10.0.0.1", "\"80\"")), &["wrong_type", "not_json"]),
        ("no address", list(&entry("", "80")), &["empty_address"]),
        ("0.0.0.0", list(&entry("0.0.0.0", "80")), &["unspecified_address"]),
        ("a newline in the address", list(&entry("10.0.0.1\\r\\nX: y", "80")), &["bad_address"]),
        ("169.254.169.254", list(&entry("169.254.169.254", "80")), &["link_local_address"]),
        (
            "a mapped link-local address",
            list(&entry("::ffff:169.254.169.254", "80")),
            &["link_local_address"],
        ),
        ("a multicast address", list(&entry("239.1.1.1", "80")), &["multicast_address"]),
        (
            "an empty id",
            list(r#"{"Service":{"ID":"","Address":"10.0.0.1","Port":1}}"#),
            &["bad_id"],
        ),
        (
            "NUL in an id",
            list(r#"{"Service":{"ID":"a\u0000","Address":"10.0.0.1","Port":1}}"#),
            &["bad_id"],
        ),
        ("more than are allowed", list(&many), &["too_many"]),
        ("no text", Act::Answer(answer("200 OK", &[], b"[\"\xff\xfe\"]")), &["bad_utf8"]),
        (
            "half a surrogate",
            list(r#"{"Service":{"ID":"\ud800","Address":"10.0.0.1","Port":1}}"#),
            &["not_json", "bad_id", "truncated"],
        ),
        ("an object", Act::Answer(ok(9, "{}")), &["wrong_type"]),
        ("null", Act::Answer(ok(9, "null")), &["wrong_type"]),
        ("a list of null", list("null"), &["wrong_type"]),
        ("nothing", Act::Answer(ok(9, "")), &["truncated"]),
        ("two lists", Act::Answer(ok(9, "[] []")), &["not_json"]),
        ("a page", Act::Answer(ok(9, "<html>welcome to the Wi-Fi</html>")), &["not_json"]),
        ("204", Act::Answer(answer("204 No Content", &[], b"")), &["truncated"]),
        ("compressed", Act::Answer(gzip), &["encoding"]),
        (
            "301",
            Act::Answer(answer("301 Moved", &[("Location", "http://127.0.0.1:1/")], b"")),
            &["redirect"],
        ),
        ("302 without a place", status("302 Found", ""), &["redirect"]),
        ("400", status("400 Bad Request", "no"), &["status"]),
        ("403", status("403 Forbidden", "ACL not found"), &["denied"]),
        ("500 that means 403", status("500 Internal", "rpc error: Permission denied"), &["denied"]),
        ("404", status("404 Not Found", ""), &["status"]),
        ("413", status("413 Too Large", ""), &["status"]),
        ("429", status("429 Too Many Requests", "wait"), &["too_many_requests"]),
        ("500", status("500 Internal", "No cluster leader"), &["server_error"]),
        ("503 with a terminal's codes", status("503 No", "\u{1b}[2Jboo\u{7}"), &["server_error"]),
        ("status 999", status("999 Odd", ""), &["status"]),
        ("status 42", raw("HTTP/1.1 42 Odd\n\n"), &["not_http", "unreachable"]),
        ("HTTP/0.9", raw("<html>hello</html>"), &["not_http"]),
        ("another protocol", raw("SSH-2.0-OpenSSH_9.2\n"), &["not_http"]),
        ("noise", Act::AnswerAndClose((0..=255).cycle().take(4096).collect()), &["not_http"]),
        (
            "two lengths",
            raw(&format!("{head}Content-Length: 2\nContent-Length: 3\n\n[]]")),
            &["not_http"],
        ),
        ("a length that is none", raw(&format!("{head}Content-Length: two\n\n[]")), &["not_http"]),
        (
            "a chunk without a size",
            raw(&format!("{head}Transfer-Encoding: chunked\n\nzz\n[]\n")),
            &["broken_body", "truncated", "not_http"],
        ),
        (
            "chunks that stop",
            raw(&format!("{head}Transfer-Encoding: chunked\n\n2\n[]\n")),
            &["truncated"],
        ),
        ("two hundred headers", raw(&format!("{head}{flood}\n[]")), &["not_http"]),
        ("a megabyte of header", raw(&long_head), &["not_http"]),
        (
            "an upgrade",
            raw("HTTP/1.1 101 Switching\nUpgrade: evil\nConnection: upgrade\n\n"),
            &["redirect", "not_http", "unreachable"],
        ),
        ("100 again and again", Act::Trickle(continues.into(), MS), &["timeout"]),
        ("one byte a while", Act::Trickle(ok(9, "[]"), 50 * MS), &["timeout"]),
        ("never", Act::Hang, &["timeout"]),
        ("a reset", Act::Reset, &["unreachable"]),
        ("closed without a word", Act::AnswerAndClose(Vec::new()), &["unreachable"]),
        (
            "empty from a server without a leader",
            Act::Answer(answer(
                "200 OK",
                &[("X-Consul-Index", "9"), ("X-Consul-KnownLeader", "false")],
                b"[]",
            )),
            &["no_leader"],
        ),
    ];
    table.into_iter().map(|(name, act, classes)| HostileAnswer { name, classes, act }).collect()
}
