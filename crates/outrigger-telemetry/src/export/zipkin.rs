//! Spans as Zipkin's v2 JSON, for fleets that still live on Zipkin.

use std::net::{IpAddr, SocketAddr};
use std::time::SystemTime;

use bytes::Bytes;
use http::{Request, Uri, header};
use opentelemetry::Value;
use opentelemetry::trace::{SpanId, SpanKind, Status};
use opentelemetry_sdk::error::{OTelSdkError, OTelSdkResult};
use opentelemetry_sdk::trace::{SpanData, SpanExporter};
use serde_json::{Map, Value as Json, json};

use super::client::{ExportClient, ExportError};

/// Sends batches to `…/api/v2/spans`.
#[derive(Debug)]
pub(super) struct ZipkinExporter {
    client: ExportClient,
    address: Uri,
    service: String,
}

impl ZipkinExporter {
    pub(super) const fn new(client: ExportClient, address: Uri, service: String) -> Self {
        Self { client, address, service }
    }

    async fn send(&self, batch: &[SpanData]) -> Result<(), outrigger_core::BoxError> {
        let request = Request::post(&self.address)
            .header(header::CONTENT_TYPE, "application/json")
            .body(Bytes::from(encode(batch, &self.service).to_string()))?;
        let answer = self.client.send(request).await?;
        if answer.status().is_success() {
            Ok(())
        } else {
            Err(ExportError::Refused(answer.status()).into())
        }
    }
}

impl SpanExporter for ZipkinExporter {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let sent = self.send(&batch).await;
        sent.map_err(|error| OTelSdkError::InternalFailure(error.to_string()))
    }
}

/// The batch as Zipkin wants it. Source: Zipkin API v2, and OpenTelemetry's mapping to it.
fn encode(batch: &[SpanData], service: &str) -> Json {
    batch.iter().map(|span| one(span, service)).collect()
}

fn one(span: &SpanData, service: &str) -> Json {
    let start = micros(span.start_time);
    let elapsed = span.end_time.duration_since(span.start_time).unwrap_or_default();
    let mut json = json!({
        "traceId": span.span_context.trace_id().to_string(),
        "id": span.span_context.span_id().to_string(),
        "name": span.name,
        "timestamp": start,
        // Zero means "unknown" to Zipkin.
        "duration": elapsed.as_micros().max(1) as u64,
        "localEndpoint": { "serviceName": service },
    });
    if span.parent_span_id != SpanId::INVALID {
        json["parentId"] = span.parent_span_id.to_string().into();
    }
    match span.span_kind {
        SpanKind::Client => json["kind"] = "CLIENT".into(),
        SpanKind::Server => json["kind"] = "SERVER".into(),
        _ => {}
    }
    if let Some(remote) = remote(span) {
        json["remoteEndpoint"] = remote;
    }
    let events = span.events.iter();
    let notes: Vec<_> = events
        .map(|event| json!({ "timestamp": micros(event.timestamp), "value": note(event) }))
        .collect();
    if !notes.is_empty() {
        json["annotations"] = notes.into();
    }
    let tags = tags(span);
    if !tags.is_empty() {
        json["tags"] = tags.into();
    }
    json
}

/// An annotation is one text: the event's name, and what is known of it as JSON behind a colon.
fn note(event: &opentelemetry::trace::Event) -> String {
    if event.attributes.is_empty() {
        return event.name.to_string();
    }
    let known: Map<String, Json> =
        event.attributes.iter().map(|kv| (kv.key.to_string(), value(&kv.value))).collect();
    format!("{}: {}", event.name, Json::from(known))
}

fn value(value: &Value) -> Json {
    match value {
        Value::Bool(claim) => (*claim).into(),
        Value::I64(number) => (*number).into(),
        Value::F64(number) => (*number).into(),
        other => other.as_str().into_owned().into(),
    }
}

fn remote(span: &SpanData) -> Option<Json> {
    let find = |key: &str| span.attributes.iter().find(|kv| kv.key.as_str() == key);
    let service = find("peer.service")?.value.as_str().into_owned();
    let mut remote = json!({ "serviceName": service });
    let address = find("outrigger.endpoint").map(|kv| kv.value.as_str().into_owned());
    if let Some(Ok(address)) = address.map(|text| text.parse::<SocketAddr>()) {
        let family = if address.is_ipv4() { "ipv4" } else { "ipv6" };
        remote[family] = match address.ip() {
            IpAddr::V4(ip) => ip.to_string().into(),
            IpAddr::V6(ip) => ip.to_string().into(),
        };
        remote["port"] = address.port().into();
    }
    Some(remote)
}

fn tags(span: &SpanData) -> Map<String, Json> {
    let mut tags: Map<String, Json> = span
        .attributes
        .iter()
        .map(|kv| (kv.key.to_string(), kv.value.as_str().into_owned().into()))
        .collect();
    if let Status::Error { description } = &span.status {
        tags.insert("otel.status_code".to_owned(), "ERROR".into());
        tags.insert("error".to_owned(), description.to_string().into());
    }
    tags.insert("otel.scope.name".to_owned(), span.instrumentation_scope.name().into());
    tags
}

/// Microseconds since 1970; what lies before has none.
fn micros(at: SystemTime) -> u64 {
    let since = at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
