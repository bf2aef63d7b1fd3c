//! The layer.

use tower_layer::Layer;

use super::ClientTrace;
use crate::Telemetry;

/// Starts or continues the trace of each call, and records the call as a whole.
///
/// Place it outermost. It puts the trace into the context, makes the receipt of a sampled call,
/// and passes `tracestate` and `baggage` on; `traceparent` is written per try, by
/// [`TryTraceLayer`](crate::TryTraceLayer).
#[derive(Clone, Debug)]
pub struct ClientTraceLayer {
    telemetry: Telemetry,
}

impl ClientTraceLayer {
    /// A layer that records with `telemetry`.
    #[must_use]
    pub fn new(telemetry: &Telemetry) -> Self {
        Self { telemetry: telemetry.clone() }
    }
}

impl<S> Layer<S> for ClientTraceLayer {
    type Service = ClientTrace<S>;

    fn layer(&self, inner: S) -> ClientTrace<S> {
        ClientTrace::new(inner, self.telemetry.clone())
    }
}
