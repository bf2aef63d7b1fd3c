//! Spans, propagation, metrics and OTLP export for Outrigger.
