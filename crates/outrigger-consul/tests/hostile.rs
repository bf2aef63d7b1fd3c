//! Answers that no honest agent gives: whatever comes, the last good set stays, the class of the
//! trouble is named, and a good answer after it is used.

#![expect(clippy::disallowed_methods, reason = "a test's deadline is on the runtime's clock")]

#[path = "support/fake.rs"]
#[expect(dead_code, reason = "each suite uses a part of it")]
mod fake;

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use fake::{Act, Fake, Noted, Question, answer, entry, instances, ok};
use outrigger_consul::Consul;
use outrigger_core::Freshness;
use outrigger_discovery::{Query, Resolver};

const MS: Duration = Duration::from_millis(1);

fn list(entries: &str) -> Act {
    Act::Answer(ok(9, &format!("[{entries}]")))
}

fn raw(text: &str) -> Act {
    Act::AnswerAndClose(text.replace('\n', "\r\n").into_bytes())
}

fn status(line: &str, body: &str) -> Act {
    Act::Answer(answer(line, &[("X-Consul-Index", "1")], body.as_bytes()))
}

/// Each answer, and the words of which one must name it.
fn classes() -> Vec<(&'static str, Act, &'static [&'static str])> {
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
    vec![
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
    ]
}

const WELL: u8 = 0;
const HOSTILE: u8 = 1;
const WELL_AGAIN: u8 = 2;

async fn survive(name: &'static str, act: Act, wanted: &'static [&'static str]) {
    let phase = Arc::new(AtomicU8::new(WELL));
    let now = Arc::clone(&phase);
    let fake = Fake::start(move |question: &Question| {
        if question.target.starts_with("/v1/status") {
            return Act::Answer(ok(1, "\"127.0.0.1:8300\""));
        }
        if question.target.starts_with("/v1/catalog") {
            return Act::Answer(ok(1, "{}"));
        }
        match now.load(Ordering::SeqCst) {
            WELL if question.index() == 0 => Act::Answer(ok(8, &instances([81, 82]))),
            // The blocking query ends as soon as the mood changes.
            WELL => Act::Later(100 * MS, status_bytes()),
            // Over in a moment too: what follows is asked without waiting, so with a short deadline.
            HOSTILE if question.index() != 0 => Act::Answer(status_bytes()),
            HOSTILE => act.clone(),
            _ => Act::Answer(ok(20, &instances([81, 82, 83]))),
        }
    })
    .await;
    let (noted, observers) = Noted::new();
    let mut config = fake.config().with_observers(observers);
    config.timeout = 300 * MS;
    config.max_answer = 4 << 20;
    config.max_instances = 100;
    let consul = Consul::new(config).expect("valid");
    let mut watch = consul.watch(&Query::new("stock".parse().expect("valid")));
    let first = watch.next().await.expect("a snapshot");
    assert_eq!(first.instances.len(), 2, "{name}");
    phase.store(HOSTILE, Ordering::SeqCst);

    let named = async {
        loop {
            let all = noted.all();
            if wanted.iter().any(|class| all.iter().any(|n| n.ends_with(&format!(" {class}")))) {
                return;
            }
            tokio::time::sleep(20 * MS).await;
        }
    };
    let named = tokio::time::timeout(Duration::from_secs(15), named).await;
    assert!(named.is_ok(), "{name}: none of {wanted:?} in {:?}", noted.all());
    let kept = consul.watched();
    assert_eq!(kept[0].instances.len(), 2, "{name}: the last good set stays");
    assert_eq!(kept[0].freshness, Freshness::Stale, "{name}");

    phase.store(WELL_AGAIN, Ordering::SeqCst);
    let again = async {
        loop {
            let snapshot = watch.next().await.expect("a snapshot");
            if snapshot.instances.len() == 3 && snapshot.freshness == Freshness::Live {
                return;
            }
            assert_eq!(snapshot.instances.len(), 2, "{name}: nothing hostile got in");
        }
    };
    let again = tokio::time::timeout(Duration::from_secs(15), again).await;
    assert!(again.is_ok(), "{name}: a good answer is used again");
}

fn status_bytes() -> Vec<u8> {
    answer("500 Internal", &[], b"the mood changes")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_hostile_answer_is_named_and_survived() {
    let classes = classes();
    assert!(classes.len() >= 30, "{}", classes.len());
    let started = tokio::time::Instant::now();
    let before = resident();
    let mut running = tokio::task::JoinSet::new();
    for (name, act, wanted) in classes {
        running.spawn(survive(name, act, wanted));
    }
    let mut failed = Vec::new();
    while let Some(done) = running.join_next().await {
        if let Err(error) = done {
            failed.push(error.to_string());
        }
    }
    assert!(failed.is_empty(), "{failed:#?}");
    assert!(started.elapsed() < Duration::from_secs(30));
    let grown = resident().saturating_sub(before);
    // All of them at once, and the agents beside them in this process.
    assert!(grown < 128 << 20, "{} MiB more than before", grown >> 20);
}

/// Bytes of memory in use, 0 where that is not told.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    kib.unwrap_or(0) << 10
}
