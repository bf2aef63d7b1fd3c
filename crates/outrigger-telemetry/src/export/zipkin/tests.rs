use std::time::Duration;

use super::*;
use crate::export::encode::{scope, span_data};
use crate::span::{Attribute, FinishedSpan, SpanEvent, SpanKind as Kind, SpanStatus};

fn span() -> FinishedSpan {
    let start = SystemTime::UNIX_EPOCH + Duration::from_micros(1_700_000_000_000_000);
    FinishedSpan {
        trace_id: 0x0af7_6519_16cd_43dd_8448_eb21_1c80_319c,
        span_id: 0xb7ad_6b71_6920_3331,
        parent: Some(7),
        parent_is_remote: false,
        flags: 1,
        name: "GET".into(),
        kind: Kind::Client,
        start,
        end: start + Duration::from_millis(3),
        attributes: vec![
            Attribute::new("peer.service", "inventory"),
            Attribute::new("outrigger.endpoint", "127.0.0.1:4711"),
            Attribute::new("http.response.status_code", 503_u16),
        ],
        events: vec![SpanEvent {
            name: "retried".into(),
            at: start + Duration::from_millis(1),
            attributes: vec![Attribute::new("outrigger.attempt", 1_u8)],
        }],
        dropped_events: 0,
        links: Vec::new(),
        status: SpanStatus::Error("".into()),
        service: "orders".into(),
    }
}

#[test]
fn a_client_span_is_zipkins_v2_to_the_letter() {
    let wanted = r#"[{"annotations":[{"timestamp":1700000000001000,"value":"retried: {\"outrigger.attempt\":1}"}],"duration":3000,"id":"b7ad6b7169203331","kind":"CLIENT","localEndpoint":{"serviceName":"orders"},"name":"GET","parentId":"0000000000000007","remoteEndpoint":{"ipv4":"127.0.0.1","port":4711,"serviceName":"inventory"},"tags":{"error":"","http.response.status_code":"503","otel.scope.name":"outrigger-telemetry","otel.status_code":"ERROR","outrigger.endpoint":"127.0.0.1:4711","peer.service":"inventory"},"timestamp":1700000000000000,"traceId":"0af7651916cd43dd8448eb211c80319c"}]"#;
    let wanted: Json = serde_json::from_str(wanted).expect("JSON");
    assert_eq!(encode(&[span_data(&span(), &scope())], "orders"), wanted);
}

#[test]
fn an_internal_root_has_neither_kind_nor_parent_and_at_least_a_microsecond() {
    let mut root = span();
    (root.kind, root.parent, root.end) = (Kind::Internal, None, root.start);
    let json = one(&span_data(&root, &scope()), "orders");
    assert!(json.get("kind").is_none() && json.get("parentId").is_none());
    assert_eq!(json["duration"], 1);
}
