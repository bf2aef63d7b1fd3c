//! What differs from run to run, and so is not compared.

use serde_json::{Value, json};

/// Headers whose value is compared; of the index only the presence, and whether it is 1.
const HEADERS: &[&str] = &[
    "content-type",
    "x-consul-default-acl-policy",
    "x-consul-knownleader",
    "x-consul-lastcontact",
    "x-consul-query-backend",
    "x-consul-effective-consistency",
    "x-consul-results-filtered-by-acls",
    "x-consul-reason",
    "allow",
];

/// What only newer versions show, ignored beside an old one.
const NEW_KEYS: &[&str] = &[
    "Datacenter",
    "Interval",
    "Timeout",
    "ExposedPort",
    "PeerName",
    "ServicePorts",
    "ServiceSocketPath",
    "ServiceLocality",
    "Mode",
    "TLSServerName",
    "TCPUseTLS",
    "UDP",
    "GRPC",
    "OSService",
    "GRPCUseTLS",
    "consul-version",
    "read_replica",
    "x-consul-default-acl-policy",
    "x-consul-results-filtered-by-acls",
    "x-consul-query-backend",
    // Which reads a stream answers, and which errors carry an index, has changed.
    "x-consul-knownleader",
    "x-consul-lastcontact",
    "x-consul-index",
    "Backend",
    "NotModified",
    "ResultsFilteredByACLs",
    "Index",
    // A port of 0 is left out of some answers by newer ones.
    "Port",
];

/// One recorded answer, in the form in which answers are compared.
pub(crate) fn record(answer: &outrigger_e2e::raw::Answer, path: &str) -> Value {
    let body = match answer.json() {
        Some(mut value) => {
            mask(&mut value);
            order(&mut value, path);
            value
        }
        None => json!(text(&answer.text())),
    };
    let mut headers = serde_json::Map::new();
    for name in HEADERS {
        // Without a body the type means nothing, and versions differ in whether they send one.
        let skip = *name == "content-type" && answer.body.is_empty();
        if let Some(value) = answer.header(name).filter(|_| !skip) {
            headers.insert((*name).to_owned(), json!(value));
        }
    }
    headers.insert("x-consul-index".to_owned(), json!(answer.index().map(|_| "#")));
    json!({ "status": answer.status, "headers": headers, "body": body })
}

/// Removes from both sides what an old version does not know.
pub(crate) fn without_news(value: &Value) -> Value {
    match value {
        Value::Object(map) => Value::Object(
            map.iter()
                .filter(|(key, value)| !NEW_KEYS.contains(&key.as_str()) || is_kept(key, value))
                .map(|(key, value)| (key.clone(), without_news(value)))
                .collect(),
        ),
        Value::Array(items) => Value::Array(items.iter().map(without_news).collect()),
        Value::String(text) => json!(old_text(text)),
        other => other.clone(),
    }
}

/// Texts of newer versions without what they have gained: a character set, the end of a line, who
/// lacks which permission, and which part of the server has refused.
pub(crate) fn old_text(text: &str) -> &str {
    if text.starts_with("Permission denied") {
        return "Permission denied";
    }
    let text = text.trim_end().trim_end_matches("; charset=utf-8");
    let text = text.strip_prefix("raft apply failed: ").unwrap_or(text);
    text.strip_prefix("apply failed: ").unwrap_or(text)
}

fn is_kept(key: &str, value: &Value) -> bool {
    key == "Port" && *value != json!(0)
}

fn mask(value: &mut Value) {
    match value {
        Value::Object(map) => {
            for (key, value) in map.iter_mut() {
                match key.as_str() {
                    "CreateIndex" | "ModifyIndex" | "LTime" if value != &json!(0) => {
                        *value = json!("#");
                    }
                    // The server's own entry tells its version and port.
                    "ContentHash" | "Hash" | "CreateTime" => *value = json!("#"),
                    "consul" if value.is_object() => *value = json!("#"),
                    _ => mask(value),
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(mask),
        Value::String(string) => *string = text(string),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// Where two answers differ: pointer, ours, theirs, one a line.
pub(crate) fn differing(ours: &Value, theirs: &Value) -> String {
    let mut lines = Vec::new();
    differences(String::new(), Some(ours), Some(theirs), &mut lines);
    lines.join("\n")
}

fn differences(at: String, ours: Option<&Value>, theirs: Option<&Value>, lines: &mut Vec<String>) {
    match (ours, theirs) {
        (Some(Value::Object(a)), Some(Value::Object(b))) => {
            let keys: std::collections::BTreeSet<_> = a.keys().chain(b.keys()).collect();
            for key in keys {
                differences(format!("{at}/{key}"), a.get(key), b.get(key), lines);
            }
        }
        (Some(Value::Array(a)), Some(Value::Array(b))) if a.len() == b.len() => {
            for (n, (a, b)) in a.iter().zip(b).enumerate() {
                differences(format!("{at}/{n}"), Some(a), Some(b), lines);
            }
        }
        (a, b) if a == b => {}
        (a, b) => {
            let show = |value: Option<&Value>| {
                value.map_or_else(|| "nothing".to_owned(), Value::to_string)
            };
            lines.push(format!("  {at}: {} / {}", show(a), show(b)));
        }
    }
}

/// Lists without an order of their own get one.
fn order(value: &mut Value, path: &str) {
    let sort = |items: &mut Vec<Value>| items.sort_by_key(Value::to_string);
    match value {
        Value::Array(items) if path.starts_with("/v1/session/") => sort(items),
        Value::Array(items) if path.starts_with("/v1/agent/health/") => {
            items.iter_mut().for_each(|item| order(item, path));
            sort(items);
        }
        Value::Object(map) if path.starts_with("/v1/agent/health/") => {
            map.get_mut("Checks").and_then(Value::as_array_mut).into_iter().for_each(sort);
        }
        Value::Object(map) if path.starts_with("/v1/catalog/services") => {
            map.values_mut().filter_map(Value::as_array_mut).for_each(sort);
        }
        _ => {}
    }
}

/// Masks identifiers and ports on loopback.
pub(crate) fn text(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while !rest.is_empty() {
        if rest.len() >= 36 && rest.is_char_boundary(36) && is_uuid(&rest[..36]) {
            out.push_str("<uuid>");
            rest = &rest[36..];
        } else if let Some(after) = rest.strip_prefix("127.0.0.1:") {
            out.push_str("127.0.0.1:<port>");
            rest = after.trim_start_matches(|c: char| c.is_ascii_digit());
        } else {
            let mut chars = rest.chars();
            out.extend(chars.next());
            rest = chars.as_str();
        }
    }
    out
}

fn is_uuid(text: &str) -> bool {
    text.char_indices().all(|(at, c)| match at {
        8 | 13 | 18 | 23 => c == '-',
        _ => c.is_ascii_hexdigit(),
    })
}

#[test]
fn identifiers_and_ports_are_masked_and_nothing_else() {
    assert_eq!(
        text("a 464f70a0-53ef-8db1-0657-19ed33a24482 b 127.0.0.1:8080/x 10.0.0.1:80 é"),
        "a <uuid> b 127.0.0.1:<port>/x 10.0.0.1:80 é"
    );
}
