//! One line.

use std::io::Write;
use std::time::{Duration, SystemTime};

use outrigger_core::{Event, NormalPath, PolicyVersion, RouteName, ServiceName};

/// A request that was served, on its way to the writer.
#[derive(Debug)]
pub(super) struct Line {
    at: SystemTime,
    service: Option<ServiceName>,
    route: RouteName,
    method: &'static str,
    path: Box<str>,
    status: Option<u16>,
    grpc_status: Option<u8>,
    reason: Option<&'static str>,
    endpoint: Option<Box<str>>,
    attempts: u8,
    elapsed: Duration,
    bytes: u64,
    caller: Option<ServiceName>,
    trace_id: u128,
    policy: PolicyVersion,
}

/// Most bytes of a path that are kept.
const MAX_PATH: usize = 2_048;

impl Line {
    /// `None` for any other event.
    pub(super) fn of(event: &Event<'_>, at: SystemTime) -> Option<Self> {
        let Event::Served {
            context,
            method,
            path,
            status,
            grpc_status,
            reason,
            endpoint,
            attempts,
            bytes,
            elapsed,
        } = *event
        else {
            return None;
        };
        Some(Self {
            at,
            service: context.service.clone(),
            route: context.route.clone(),
            method,
            path: shortened(path).into(),
            status,
            grpc_status,
            reason,
            endpoint: endpoint.map(Into::into),
            attempts,
            elapsed,
            bytes,
            caller: context.caller.clone(),
            trace_id: context.trace.trace_id,
            policy: context.policy,
        })
    }

    /// Appends it, with its line feed.
    pub(super) fn write(&self, to: &mut Vec<u8>) {
        to.extend_from_slice(b"{\"time\":");
        text(to, Some(&humantime::format_rfc3339_millis(self.at).to_string()));
        key(to, "service");
        text(to, self.service.as_ref().map(ServiceName::as_str));
        key(to, "route");
        text(to, Some(self.route.as_str()));
        key(to, "method");
        text(to, Some(self.method));
        key(to, "path");
        let normal = NormalPath::new(&self.path);
        text(to, Some(normal.as_ref().map_or(&*self.path, |path| path.as_str())));
        key(to, "status");
        number(to, self.status);
        if self.grpc_status.is_some() {
            key(to, "grpc_status");
            number(to, self.grpc_status);
        }
        key(to, "reason");
        text(to, self.reason);
        key(to, "endpoint");
        text(to, self.endpoint.as_deref());
        key(to, "attempts");
        number(to, Some(self.attempts));
        key(to, "ms");
        let micros = self.elapsed.as_micros();
        number(to, Some(format_args!("{}.{:03}", micros / 1_000, micros % 1_000)));
        key(to, "bytes");
        number(to, Some(self.bytes));
        key(to, "caller");
        text(to, self.caller.as_ref().map(ServiceName::as_str));
        key(to, "trace_id");
        let trace = (self.trace_id != 0).then(|| format!("{:032x}", self.trace_id));
        text(to, trace.as_deref());
        key(to, "policy_version");
        let policy = (self.policy != PolicyVersion::default()).then(|| self.policy.to_string());
        text(to, policy.as_deref());
        to.extend_from_slice(b"}\n");
    }
}

fn shortened(path: &str) -> &str {
    if path.len() <= MAX_PATH {
        return path;
    }
    let end = (0..=MAX_PATH).rev().find(|at| path.is_char_boundary(*at));
    &path[..end.unwrap_or(0)]
}

fn key(to: &mut Vec<u8>, name: &str) {
    to.extend_from_slice(b",\"");
    to.extend_from_slice(name.as_bytes());
    to.extend_from_slice(b"\":");
}

fn text(to: &mut Vec<u8>, text: Option<&str>) {
    // Memory takes everything.
    let _ = match text {
        Some(text) => serde_json::to_writer(&mut *to, text).map_err(|_| ()),
        None => to.write_all(b"null").map_err(|_| ()),
    };
}

fn number(to: &mut Vec<u8>, number: Option<impl std::fmt::Display>) {
    let _ = match number {
        Some(number) => write!(to, "{number}"),
        None => to.write_all(b"null"),
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(path: &str) -> serde_json::Value {
        let line = Line {
            at: SystemTime::UNIX_EPOCH + Duration::from_millis(1_500),
            service: None,
            route: RouteName::default(),
            method: "GET",
            path: shortened(path).into(),
            status: Some(200),
            grpc_status: None,
            reason: None,
            endpoint: None,
            attempts: 1,
            elapsed: Duration::from_micros(1_050),
            bytes: 3,
            caller: Some("orders".parse().expect("valid")),
            trace_id: 0xab,
            policy: PolicyVersion(0xc),
        };
        let mut text = Vec::new();
        line.write(&mut text);
        assert_eq!(text.iter().filter(|byte| **byte == b'\n').count(), 1);
        serde_json::from_slice(&text).expect("JSON")
    }

    #[test]
    fn every_field_is_there_and_what_is_not_known_is_null() {
        assert_eq!(
            line("/a//b"),
            serde_json::json!({
                "time": "1970-01-01T00:00:01.500Z", "service": null, "route": "default",
                "method": "GET", "path": "/a/b", "status": 200, "reason": null, "endpoint": null,
                "attempts": 1, "ms": 1.05, "bytes": 3, "caller": "orders",
                "trace_id": "000000000000000000000000000000ab", "policy_version": "00000000000c",
            })
        );
    }

    #[test]
    fn no_path_breaks_out_of_its_text() {
        for path in ["/\"},{\"status\":1", "/a\nb", "/\\", "/\u{7f}\u{1b}[2J", "/ä"] {
            let found = line(path);
            assert_eq!(found["status"], 200, "{path:?}");
            assert!(found["path"].as_str().is_some_and(|text| text.starts_with('/')), "{found}");
        }
        let long = format!("/{}ä", "a".repeat(2_046));
        assert_eq!(line(&long)["path"].as_str().map(str::len), Some(2_047), "a whole character");
    }
}
