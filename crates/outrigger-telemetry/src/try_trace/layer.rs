//! The layer.

use tower_layer::Layer;

use super::TryTrace;
use crate::Telemetry;

/// Records each try as a client span, and writes the headers that name it as the parent.
///
/// It writes `traceparent` (or B3, by configuration) and mirrors the number of retries into the
/// baggage. The span ends with the response's body.
#[derive(Clone, Debug)]
pub struct TryTraceLayer {
    telemetry: Telemetry,
}

impl TryTraceLayer {
    /// A layer that records with `telemetry`.
    #[must_use]
    pub fn new(telemetry: &Telemetry) -> Self {
        Self { telemetry: telemetry.clone() }
    }
}

impl<S> Layer<S> for TryTraceLayer {
    type Service = TryTrace<S>;

    fn layer(&self, inner: S) -> TryTrace<S> {
        TryTrace::new(inner, self.telemetry.clone())
    }
}
