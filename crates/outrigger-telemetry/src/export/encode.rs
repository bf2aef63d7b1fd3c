//! Our spans in the SDK's words.

use opentelemetry::trace::{
    Event, Link, SpanContext, SpanId, SpanKind as SdkKind, Status, TraceFlags, TraceId, TraceState,
};
use opentelemetry::{InstrumentationScope, KeyValue, StringValue, Value as SdkValue};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{SpanData, SpanEvents, SpanLinks};

use crate::span::{Attribute, FinishedSpan, SpanKind, SpanStatus, Value};

/// Who records: this crate.
pub(super) fn scope() -> InstrumentationScope {
    InstrumentationScope::builder(env!("CARGO_PKG_NAME"))
        .with_version(env!("CARGO_PKG_VERSION"))
        .build()
}

pub(super) fn resource(attributes: &[(String, String)]) -> Resource {
    let attributes = attributes.iter().map(|(k, v)| KeyValue::new(k.clone(), v.clone()));
    Resource::builder_empty().with_attributes(attributes).build()
}

pub(super) fn span_data(span: &FinishedSpan, scope: &InstrumentationScope) -> SpanData {
    let mut events = SpanEvents::default();
    events.events = span
        .events
        .iter()
        .map(|e| Event::new(e.name.clone(), e.at, key_values(&e.attributes), 0))
        .collect();
    events.dropped_count = span.dropped_events;
    let mut links = SpanLinks::default();
    links.links = span
        .links
        .iter()
        .map(|l| Link::new(context(l.trace_id, l.span_id, 0), key_values(&l.attributes), 0))
        .collect();
    SpanData {
        span_context: context(span.trace_id, span.span_id, span.flags),
        parent_span_id: span.parent.map_or(SpanId::INVALID, SpanId::from),
        parent_span_is_remote: span.parent_is_remote,
        span_kind: match span.kind {
            SpanKind::Internal => SdkKind::Internal,
            SpanKind::Client => SdkKind::Client,
            SpanKind::Server => SdkKind::Server,
        },
        name: span.name.clone(),
        start_time: span.start,
        end_time: span.end.max(span.start),
        attributes: key_values(&span.attributes),
        dropped_attributes_count: 0,
        events,
        links,
        status: match &span.status {
            SpanStatus::Unset => Status::Unset,
            SpanStatus::Error(why) => Status::error(why.clone()),
        },
        instrumentation_scope: scope.clone(),
    }
}

fn context(trace_id: u128, span_id: u64, flags: u8) -> SpanContext {
    SpanContext::new(
        TraceId::from(trace_id),
        SpanId::from(span_id),
        TraceFlags::new(flags),
        false,
        TraceState::NONE,
    )
}

fn key_values(attributes: &[Attribute]) -> Vec<KeyValue> {
    attributes.iter().map(|a| KeyValue::new(a.key, value(&a.value))).collect()
}

fn value(value: &Value) -> SdkValue {
    match value {
        Value::Text(text) => SdkValue::String(StringValue::from(text.clone())),
        Value::Integer(number) => SdkValue::I64(*number),
        Value::Float(number) => SdkValue::F64(*number),
        Value::Bool(claim) => SdkValue::Bool(*claim),
    }
}
