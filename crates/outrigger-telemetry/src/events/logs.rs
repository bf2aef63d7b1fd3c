//! Logs over OTLP.

use std::sync::{Arc, Weak};
use std::time::SystemTime;

use http::{HeaderName, HeaderValue, Request, Uri, header};
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Wire;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use opentelemetry_proto::tonic::resource::v1::Resource;
use outrigger_core::TraceContext;
use prost::Message;
use tokio::sync::{mpsc, oneshot};
use tokio::time::MissedTickBehavior;
use tracing::{Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

use super::{Fields, is_ours};
use crate::Telemetry;
use crate::config::{Compression, LogBatchConfig};
use crate::export::{ExportClient, ExportError, pack};
use crate::inherited::with_current;
use crate::metrics::{Metrics, Signal};
use crate::span::{Attribute, Value};

/// Sends `tracing` events to the collector as logs, with the trace they belong to.
///
/// Place a filter in front (`.with_filter`): every event that reaches it is sent. Events of the
/// exporters themselves are left out. When the queue is full an event is dropped and counted in
/// `outrigger.telemetry.logs`; nothing waits.
#[derive(Clone, Debug)]
pub struct LogLayer {
    telemetry: Telemetry,
}

impl LogLayer {
    /// A layer that sends by way of `telemetry`; sends nothing if no collector is configured.
    #[must_use]
    pub fn new(telemetry: &Telemetry) -> Self {
        Self { telemetry: telemetry.clone() }
    }
}

impl<S: Subscriber> Layer<S> for LogLayer {
    fn on_event(&self, event: &tracing::Event<'_>, _context: Context<'_, S>) {
        if is_ours(event) {
            return;
        }
        let Some(pipe) = self.telemetry.logs() else { return };
        let trace = with_current(|served| served.trace).unwrap_or(TraceContext::NONE);
        let fields = Fields::of(event);
        pipe.push(Record {
            at: self.telemetry.wall(),
            level: *event.metadata().level(),
            target: event.metadata().target(),
            message: fields.message,
            known: fields.rest,
            trace,
        });
    }
}

/// A log on its way.
#[derive(Debug)]
struct Record {
    at: SystemTime,
    level: Level,
    target: &'static str,
    message: String,
    known: Vec<Attribute>,
    trace: TraceContext,
}

/// The queue, and the task behind it.
#[derive(Debug)]
pub(crate) struct LogPipe {
    queue: mpsc::Sender<Record>,
    flushes: mpsc::Sender<oneshot::Sender<()>>,
    metrics: Arc<Metrics>,
}

impl LogPipe {
    pub(crate) fn start(
        client: ExportClient,
        address: Uri,
        headers: Vec<(HeaderName, HeaderValue)>,
        compression: Compression,
        batches: &LogBatchConfig,
        metrics: &Arc<Metrics>,
    ) -> Self {
        let (queue, waiting) = mpsc::channel(batches.max_queue);
        let (flushes, asked) = mpsc::channel(1);
        let metrics = Arc::clone(metrics);
        let runtime = client.runtime().clone();
        let weak = Arc::downgrade(&metrics);
        let sender = Sender { client, address, headers, compression, metrics: weak };
        // Ends when both channels are closed, which is when the handle is gone.
        runtime.spawn(sender.run(batches.clone(), waiting, asked));
        Self { queue, flushes, metrics }
    }

    fn push(&self, record: Record) {
        if self.queue.try_send(record).is_err() {
            self.metrics.export.log_dropped();
        }
    }

    pub(crate) async fn flush(&self) {
        let (done, sent) = oneshot::channel();
        if self.flushes.send(done).await.is_ok() {
            let _ = sent.await;
        }
    }
}

struct Sender {
    client: ExportClient,
    address: Uri,
    headers: Vec<(HeaderName, HeaderValue)>,
    compression: Compression,
    metrics: Weak<Metrics>,
}

impl Sender {
    async fn run(
        self,
        batches: LogBatchConfig,
        mut waiting: mpsc::Receiver<Record>,
        mut asked: mpsc::Receiver<oneshot::Sender<()>>,
    ) {
        let mut ticks = tokio::time::interval(batches.delay);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut batch = Vec::with_capacity(batches.max_batch);
        loop {
            let room = batches.max_batch - batch.len();
            let done = tokio::select! {
                taken = waiting.recv_many(&mut batch, room) => {
                    if taken == 0 {
                        return;
                    }
                    if batch.len() < batches.max_batch {
                        continue;
                    }
                    None
                }
                _ = ticks.tick() => None,
                done = asked.recv() => match done {
                    Some(done) => Some(done),
                    None => return,
                },
            };
            self.send(&mut batch).await;
            if let Some(done) = done {
                // Whatever was there when the flush was asked for goes with it.
                while let Ok(record) = waiting.try_recv() {
                    batch.push(record);
                    if batch.len() == batches.max_batch {
                        self.send(&mut batch).await;
                    }
                }
                self.send(&mut batch).await;
                let _ = done.send(());
            }
        }
    }

    async fn send(&self, batch: &mut Vec<Record>) {
        let Some(metrics) = self.metrics.upgrade() else { return };
        if batch.is_empty() {
            return;
        }
        let count = batch.len();
        let message = encode(&metrics, batch.drain(..)).encode_to_vec();
        let accepted = self.post(message).await.is_ok();
        metrics.export.sent(Signal::Logs, accepted);
        metrics.export.logs_sent(count, accepted);
    }

    async fn post(&self, message: Vec<u8>) -> Result<(), outrigger_core::BoxError> {
        let (body, encoding) = pack(message, self.compression)?;
        let mut request = Request::post(&self.address)
            .header(header::CONTENT_TYPE, "application/x-protobuf")
            .body(body)?;
        request.headers_mut().extend(encoding.map(|e| (header::CONTENT_ENCODING, e)));
        request.headers_mut().extend(self.headers.iter().cloned());
        let answer = self.client.send(request).await?;
        if answer.status().is_success() {
            Ok(())
        } else {
            Err(ExportError::Refused(answer.status()).into())
        }
    }
}

fn encode(metrics: &Metrics, batch: impl Iterator<Item = Record>) -> ExportLogsServiceRequest {
    let scope =
        InstrumentationScope { name: env!("CARGO_PKG_NAME").to_owned(), ..Default::default() };
    let who = metrics.resource.iter().map(|(k, v)| key_value(k, Wire::StringValue(v.clone())));
    ExportLogsServiceRequest {
        resource_logs: vec![ResourceLogs {
            resource: Some(Resource { attributes: who.collect(), ..Default::default() }),
            scope_logs: vec![ScopeLogs {
                scope: Some(scope),
                log_records: batch.map(record).collect(),
                schema_url: String::new(),
            }],
            schema_url: String::new(),
        }],
    }
}

fn record(log: Record) -> LogRecord {
    let since = log.at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let at = u64::try_from(since.as_nanos()).unwrap_or(u64::MAX);
    // The numbers of OpenTelemetry's data model.
    let severity = match log.level {
        Level::TRACE => 1,
        Level::DEBUG => 5,
        Level::INFO => 9,
        Level::WARN => 13,
        Level::ERROR => 17,
    };
    let mut attributes: Vec<_> =
        log.known.iter().map(|a| key_value(a.key, wire(&a.value))).collect();
    attributes.push(key_value("target", Wire::StringValue(log.target.to_owned())));
    let is_traced = log.trace.is_valid();
    LogRecord {
        time_unix_nano: at,
        observed_time_unix_nano: at,
        severity_number: severity,
        severity_text: log.level.as_str().to_owned(),
        body: Some(AnyValue { value: Some(Wire::StringValue(log.message)) }),
        attributes,
        flags: u32::from(log.trace.flags),
        trace_id: if is_traced { log.trace.trace_id.to_be_bytes().to_vec() } else { Vec::new() },
        span_id: if is_traced { log.trace.span_id.to_be_bytes().to_vec() } else { Vec::new() },
        ..Default::default()
    }
}

fn wire(value: &Value) -> Wire {
    match value {
        Value::Text(text) => Wire::StringValue(text.to_string()),
        Value::Integer(number) => Wire::IntValue(*number),
        Value::Float(number) => Wire::DoubleValue(*number),
        Value::Bool(claim) => Wire::BoolValue(*claim),
    }
}

fn key_value(key: &str, value: Wire) -> KeyValue {
    let value = Some(AnyValue { value: Some(value) });
    KeyValue { key: key.to_owned(), value, ..Default::default() }
}
