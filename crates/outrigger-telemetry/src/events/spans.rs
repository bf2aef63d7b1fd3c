//! Events of the span that is being served.

use tracing::Subscriber;
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

use super::{Fields, is_ours};
use crate::Telemetry;
use crate::inherited::with_current;
use crate::span::Attribute;

/// Adds each `tracing` event to the server's span of the request that the task serves.
///
/// Cost: for an event outside of a sampled request, one look at the task's local storage.
#[derive(Clone, Debug)]
pub struct SpanEventLayer {
    telemetry: Telemetry,
}

impl SpanEventLayer {
    /// A layer that takes the time from `telemetry`.
    #[must_use]
    pub fn new(telemetry: &Telemetry) -> Self {
        Self { telemetry: telemetry.clone() }
    }
}

impl<S: Subscriber> Layer<S> for SpanEventLayer {
    fn on_event(&self, event: &tracing::Event<'_>, _context: Context<'_, S>) {
        with_current(|served| {
            if served.log.is_none() || is_ours(event) {
                return;
            }
            let fields = Fields::of(event);
            let mut known = fields.rest;
            let metadata = event.metadata();
            known.push(Attribute::new("level", metadata.level().as_str()));
            known.push(Attribute::new("target", metadata.target().to_owned()));
            served.event(fields.message, self.telemetry.wall(), known);
        });
    }
}
