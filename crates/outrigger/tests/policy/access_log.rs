//! `telemetry.access_log`: what the server side writes down, and where.

use std::path::{Path, PathBuf};
use std::time::Duration;

use outrigger::telemetry::AccessLogTo;
use serde_json::Value;

use crate::fleet::policy;
use crate::inbound::Stock;

/// The lines of a log, once there are as many.
async fn lines(path: &Path, wanted: usize) -> Vec<Value> {
    let read = async {
        loop {
            let text = std::fs::read_to_string(path).unwrap_or_default();
            let lines: Vec<_> = text.lines().map(str::to_owned).collect();
            if lines.len() >= wanted {
                return lines;
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    let lines = tokio::time::timeout(Duration::from_secs(5), read).await.expect("written");
    assert_eq!(lines.len(), wanted, "{lines:?}");
    lines.iter().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

fn place() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().expect("a directory");
    let path = folder.path().join("access.log");
    (folder, path)
}

#[tokio::test]
async fn each_line_tells_the_request_and_nothing_secret() {
    let (_folder, path) = place();
    let text = policy(
        "telemetry: { access_log: all }\nroutes: [ { name: v2, match: { path_prefix: /v2 } } ]",
    );
    let to = AccessLogTo::File(path.clone());
    let stock = Stock::start(Some(&text), |builder| builder.access_log(to)).await;
    let version = outrigger_policy::version_of(&text).to_string();
    stock.status("/v2//x/./y?token=secret", "secret-user", "12345").await;
    let line = lines(&path, 1).await.remove(0);
    for (key, wanted) in [
        ("service", Value::from("stock")),
        ("route", "v2".into()),
        ("method", "POST".into()),
        ("path", "/v2/x/y".into()),
        ("status", 200.into()),
        ("reason", Value::Null),
        ("endpoint", stock.address.to_string().into()),
        ("attempts", 1.into()),
        ("bytes", 1.into()),
        ("caller", Value::Null),
        ("policy_version", version.into()),
    ] {
        assert_eq!(line[key], wanted, "{key} of {line}");
    }
    assert!(line["time"].as_str().is_some_and(|time| time.ends_with('Z')), "{line}");
    assert_eq!(line["trace_id"].as_str().map(str::len), Some(32), "{line}");
    assert!(line["ms"].as_f64().is_some_and(|ms| ms < 10_000.0), "{line}");
    assert!(!line.to_string().contains("secret"), "{line}");
}

#[tokio::test]
async fn which_requests_are_logged_is_the_policys_and_changes_with_it() {
    let (_folder, path) = place();
    let to = AccessLogTo::File(path.clone());
    let limit = "inbound: { body_limit: 4B }";
    let text = policy(limit);
    let mut stock = Stock::start(Some(&text), |builder| builder.access_log(to)).await;
    assert_eq!(stock.status("/ok", "a", "1").await, 200);
    assert_eq!(stock.status("/refused", "a", "12345").await, 413);
    let seen = lines(&path, 1).await;
    assert_eq!((&seen[0]["path"], &seen[0]["status"]), (&"/refused".into(), &413.into()));
    assert_eq!(seen[0]["reason"], "body_too_large", "errors are the default");

    stock.push(&policy(&format!("{limit}\ntelemetry: {{ access_log: none }}"))).await;
    assert_eq!(stock.status("/none", "a", "12345").await, 413);
    stock.push(&policy(&format!("{limit}\ntelemetry: {{ access_log: all }}"))).await;
    assert_eq!(stock.status("/all", "a", "1").await, 200);
    let seen = lines(&path, 2).await;
    assert_eq!(seen[1]["path"], "/all");
}

#[tokio::test]
async fn a_rotated_file_is_made_anew() {
    let (folder, path) = place();
    let to = AccessLogTo::File(path.clone());
    let text = policy("telemetry: { access_log: all }");
    let stock = Stock::start(Some(&text), |builder| builder.access_log(to)).await;
    stock.status("/before", "a", "").await;
    lines(&path, 1).await;
    let old = folder.path().join("access.log.1");
    std::fs::rename(&path, &old).expect("renamed");
    stock.status("/after", "a", "").await;
    assert_eq!(lines(&path, 1).await[0]["path"], "/after");
    assert_eq!(lines(&old, 1).await[0]["path"], "/before");
    let mut page = String::new();
    stock.fleet.telemetry().metrics().encode(&mut page);
    let counted = "outrigger_access_log_lines_total{outrigger_result=\"written\"} 2";
    assert!(page.contains(counted), "{page}");
}

#[tokio::test]
async fn a_file_that_cannot_be_is_named_at_the_start() {
    let to = AccessLogTo::File("/nowhere/at/all/access.log".into());
    let error = outrigger::builder("stock").consul("none").access_log(to).join().await;
    let message = error.expect_err("no such directory").to_string();
    assert!(message.contains("/nowhere/at/all/access.log"), "{message}");
}
