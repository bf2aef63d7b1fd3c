//! `tracing` events, as events of the span that is being served and as logs over OTLP.

#[cfg(feature = "logs")]
mod logs;
#[cfg(feature = "tracing-events")]
mod spans;

use std::borrow::Cow;
use std::fmt;

use tracing::field::{Field, Visit};

#[cfg(feature = "logs")]
pub use logs::LogLayer;
#[cfg(feature = "logs")]
pub(crate) use logs::LogPipe;
#[cfg(feature = "tracing-events")]
pub use spans::SpanEventLayer;

use crate::span::{Attribute, Value};

/// The fields of an event: its message, and the rest.
#[derive(Debug, Default)]
struct Fields {
    message: String,
    rest: Vec<Attribute>,
}

impl Fields {
    fn of(event: &tracing::Event<'_>) -> Self {
        let mut fields = Self::default();
        event.record(&mut fields);
        fields
    }

    fn set(&mut self, field: &Field, value: Value) {
        if field.name() == "message" {
            self.message = value.to_string();
        } else {
            self.rest.push(Attribute { key: field.name(), value });
        }
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.set(field, Value::Text(Cow::Owned(format!("{value:?}"))));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.set(field, Value::Text(Cow::Owned(value.to_owned())));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.set(field, Value::Integer(value));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.set(field, Value::Integer(i64::try_from(value).unwrap_or(i64::MAX)));
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.set(field, Value::Float(value));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.set(field, Value::Bool(value));
    }
}

/// Whether an event comes from what exports: sending it would make another one.
fn is_ours(event: &tracing::Event<'_>) -> bool {
    let target = event.metadata().target();
    ["outrigger_telemetry", "opentelemetry", "hyper", "h2", "tonic", "tower"].iter().any(|own| {
        target.strip_prefix(own).is_some_and(|rest| !rest.starts_with(char::is_alphanumeric))
    })
}
