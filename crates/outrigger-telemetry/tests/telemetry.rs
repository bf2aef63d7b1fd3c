//! The crate from outside: layers, sinks, collectors, pages.

#[path = "telemetry/collector.rs"]
mod collector;
#[path = "telemetry/docs.rs"]
mod docs;
#[path = "telemetry/features.rs"]
mod features;
#[path = "telemetry/layers.rs"]
mod layers;
#[path = "telemetry/pages.rs"]
mod pages;
#[path = "telemetry/support.rs"]
mod support;
