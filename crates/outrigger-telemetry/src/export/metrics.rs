//! Metrics over OTLP, every so often.

use std::sync::{Arc, Weak};
use std::time::{Duration, SystemTime};

use http::{HeaderName, HeaderValue, Request, Uri, header};
use prost::Message;
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};
use tokio::task::AbortHandle;
use tokio::time::MissedTickBehavior;

use super::client::{ExportClient, ExportError, Tls};
use crate::config::{Compression, TelemetryConfig};
use crate::metrics::{Metrics, Signal};

/// The task that sends metrics; ends when this is dropped.
#[derive(Debug)]
pub(super) struct MetricsTask {
    flushes: mpsc::Sender<oneshot::Sender<()>>,
    task: AbortHandle,
}

impl MetricsTask {
    pub(super) fn start(
        config: &TelemetryConfig,
        runtime: &Handle,
        metrics: &Arc<Metrics>,
        tls: &Tls,
        started: SystemTime,
    ) -> Option<Self> {
        let address = config.otlp.address(Signal::Metrics)?;
        if config.metrics_off {
            return None;
        }
        let timeout = config.metrics.timeout.min(*config.otlp.timeout.of(Signal::Metrics));
        let sender = Sender {
            client: ExportClient::new(runtime, timeout, tls.clone()),
            address,
            headers: config.otlp.headers.of(Signal::Metrics).clone(),
            compression: config.otlp.compression,
            metrics: Arc::downgrade(metrics),
            started,
        };
        let (flushes, asked) = mpsc::channel(1);
        let task = runtime.spawn(sender.run(config.metrics.interval, asked)).abort_handle();
        Some(Self { flushes, task })
    }

    pub(super) async fn flush(&self, limit: Duration) {
        let (done, sent) = oneshot::channel();
        let flushing = async {
            if self.flushes.send(done).await.is_ok() {
                let _ = sent.await;
            }
        };
        let _ = tokio::time::timeout(limit, flushing).await;
    }

    pub(super) fn stop(&self) {
        self.task.abort();
    }
}

impl Drop for MetricsTask {
    fn drop(&mut self) {
        self.task.abort();
    }
}

struct Sender {
    client: ExportClient,
    address: Uri,
    headers: Vec<(HeaderName, HeaderValue)>,
    compression: Compression,
    metrics: Weak<Metrics>,
    started: SystemTime,
}

impl Sender {
    async fn run(self, interval: Duration, mut asked: mpsc::Receiver<oneshot::Sender<()>>) {
        let mut ticks = tokio::time::interval(interval);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        // The first tick comes at once, when there is nothing to tell.
        ticks.tick().await;
        loop {
            let done = tokio::select! {
                _ = ticks.tick() => None,
                done = asked.recv() => match done {
                    Some(done) => Some(done),
                    None => return,
                },
            };
            let Some(metrics) = self.metrics.upgrade() else { return };
            let sent = self.send(&metrics).await;
            metrics.export.sent(Signal::Metrics, sent.is_ok());
            if let Err(error) = sent {
                tracing::debug!(error, "metrics not exported");
            }
            if let Some(done) = done {
                let _ = done.send(());
            }
        }
    }

    async fn send(&self, metrics: &Metrics) -> Result<(), outrigger_core::BoxError> {
        #[expect(clippy::disallowed_methods, reason = "an export is labelled with the time of day")]
        let now = SystemTime::now();
        let message = metrics.otlp(self.started, now).encode_to_vec();
        let (body, encoding) = super::pack(message, self.compression)?;
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
