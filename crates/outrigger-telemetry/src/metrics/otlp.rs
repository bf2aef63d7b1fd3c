//! The metrics in OTLP's words.

use std::time::SystemTime;

use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::metrics::v1 as wire;
use opentelemetry_proto::tonic::resource::v1::Resource;

use super::histogram::BOUNDS;
use super::{MetricInfo, MetricKind, Metrics, Sample, Series};

impl Metrics {
    /// All metrics as one message, cumulative since `started`.
    pub(crate) fn otlp(&self, started: SystemTime, now: SystemTime) -> ExportMetricsServiceRequest {
        let span = Span { from: unix_nanos(started), to: unix_nanos(now) };
        let mut metrics = Vec::new();
        self.visit(|info, series| {
            if !series.is_empty() {
                metrics.push(metric(info, &series, span));
            }
        });
        let scope = InstrumentationScope {
            name: env!("CARGO_PKG_NAME").to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            ..Default::default()
        };
        let attributes = self.resource.iter().map(|(k, v)| key_value(k, v)).collect();
        ExportMetricsServiceRequest {
            resource_metrics: vec![wire::ResourceMetrics {
                resource: Some(Resource { attributes, ..Default::default() }),
                scope_metrics: vec![wire::ScopeMetrics {
                    scope: Some(scope),
                    metrics,
                    schema_url: String::new(),
                }],
                schema_url: String::new(),
            }],
        }
    }
}

#[derive(Clone, Copy)]
struct Span {
    from: u64,
    to: u64,
}

fn metric(info: &MetricInfo, series: &Series, span: Span) -> wire::Metric {
    use wire::metric::Data;
    let cumulative = wire::AggregationTemporality::Cumulative as i32;
    let data = match info.kind {
        MetricKind::Histogram => Data::Histogram(wire::Histogram {
            data_points: series.iter().filter_map(|s| histogram(info, s, span)).collect(),
            aggregation_temporality: cumulative,
        }),
        MetricKind::Counter => Data::Sum(wire::Sum {
            data_points: series.iter().filter_map(|s| number(info, s, span)).collect(),
            aggregation_temporality: cumulative,
            is_monotonic: true,
        }),
        MetricKind::Gauge => Data::Gauge(wire::Gauge {
            data_points: series.iter().filter_map(|s| number(info, s, span)).collect(),
        }),
    };
    wire::Metric {
        name: info.name.to_owned(),
        description: info.help.to_owned(),
        unit: info.unit.to_owned(),
        metadata: Vec::new(),
        data: Some(data),
    }
}

fn number(
    info: &MetricInfo,
    (labels, sample): &(Vec<String>, Sample),
    span: Span,
) -> Option<wire::NumberDataPoint> {
    let value = match sample {
        // Beyond 2^63 nobody has counted yet.
        Sample::Counter(value) => i64::try_from(*value).unwrap_or(i64::MAX),
        Sample::Gauge(value) => *value,
        Sample::Histogram(_) => return None,
    };
    Some(wire::NumberDataPoint {
        attributes: attributes(info, labels),
        start_time_unix_nano: span.from,
        time_unix_nano: span.to,
        value: Some(wire::number_data_point::Value::AsInt(value)),
        ..Default::default()
    })
}

fn histogram(
    info: &MetricInfo,
    (labels, sample): &(Vec<String>, Sample),
    span: Span,
) -> Option<wire::HistogramDataPoint> {
    let Sample::Histogram(read) = sample else { return None };
    Some(wire::HistogramDataPoint {
        attributes: attributes(info, labels),
        start_time_unix_nano: span.from,
        time_unix_nano: span.to,
        count: read.count(),
        sum: Some(read.sum_seconds),
        bucket_counts: read.counts.to_vec(),
        explicit_bounds: BOUNDS.to_vec(),
        ..Default::default()
    })
}

fn attributes(info: &MetricInfo, labels: &[String]) -> Vec<KeyValue> {
    let known = info.labels.iter().zip(labels).filter(|(_, value)| !value.is_empty());
    known
        .map(|(key, value)| match (*key, value.parse()) {
            // A number by OpenTelemetry's conventions.
            ("http.response.status_code", Ok(code)) => KeyValue {
                key: (*key).to_owned(),
                value: Some(AnyValue { value: Some(Value::IntValue(code)) }),
                ..Default::default()
            },
            _ => key_value(key, value),
        })
        .collect()
}

fn key_value(key: &str, value: &str) -> KeyValue {
    KeyValue {
        key: key.to_owned(),
        value: Some(AnyValue { value: Some(Value::StringValue(value.to_owned())) }),
        ..Default::default()
    }
}

fn unix_nanos(at: SystemTime) -> u64 {
    let since = at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}
