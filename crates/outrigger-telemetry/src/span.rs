//! A span as others see it, and the one that is being recorded.

mod live;

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

pub(crate) use live::{LiveSpan, SpanLog, error_type};

/// The value of an attribute.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Value {
    /// A text.
    Text(Cow<'static, str>),
    /// A whole number.
    Integer(i64),
    /// A number.
    Float(f64),
    /// A claim.
    Bool(bool),
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => f.write_str(text),
            Self::Integer(number) => fmt::Display::fmt(number, f),
            Self::Float(number) => fmt::Display::fmt(number, f),
            Self::Bool(claim) => fmt::Display::fmt(claim, f),
        }
    }
}

macro_rules! value_from {
    ($($from:ty => $variant:ident $(as $as:ty)?),* $(,)?) => {
        $(impl From<$from> for Value {
            fn from(value: $from) -> Self {
                Self::$variant(value $(as $as)?.into())
            }
        })*
    };
}
value_from! {
    &'static str => Text, String => Text, Cow<'static, str> => Text, i64 => Integer,
    u32 => Integer, u16 => Integer, u8 => Integer, f64 => Float, bool => Bool,
}

/// Something that is known of a span or an event.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Attribute {
    /// OpenTelemetry's name where it has one, else `outrigger.…`.
    pub key: &'static str,
    /// What it is.
    pub value: Value,
}

impl Attribute {
    /// An attribute.
    #[must_use]
    pub fn new(key: &'static str, value: impl Into<Value>) -> Self {
        Self { key, value: value.into() }
    }
}

/// What a span is to the one at the other end of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SpanKind {
    /// Work inside the process: here, a call with all its tries.
    Internal,
    /// One try, seen from the caller.
    Client,
    /// One request, seen from whoever serves it.
    Server,
}

impl SpanKind {
    /// OpenTelemetry's word, in lower case.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Internal => "internal",
            Self::Client => "client",
            Self::Server => "server",
        }
    }
}

/// How a span ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum SpanStatus {
    /// Nothing went wrong.
    #[default]
    Unset,
    /// Something did; the text is ours, never a payload's.
    Error(Cow<'static, str>),
}

/// Something that happened within a span.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct SpanEvent {
    /// What.
    pub name: Cow<'static, str>,
    /// When.
    pub at: SystemTime,
    /// What is known of it.
    pub attributes: Vec<Attribute>,
}

/// Another span that has to do with one.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct SpanLink {
    /// Its trace.
    pub trace_id: u128,
    /// Its id.
    pub span_id: u64,
    /// Why it is linked.
    pub attributes: Vec<Attribute>,
}

/// A span that has ended.
///
/// Shape: `trace_id` and `span_id` are never zero; `end >= start`.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct FinishedSpan {
    /// The trace it belongs to.
    pub trace_id: u128,
    /// Its own id.
    pub span_id: u64,
    /// The span above it; `None` at the root.
    pub parent: Option<u64>,
    /// Whether the span above it is another process's.
    pub parent_is_remote: bool,
    /// The trace's flags.
    pub flags: u8,
    /// What it is, in few words and of few kinds.
    pub name: Cow<'static, str>,
    /// Its part.
    pub kind: SpanKind,
    /// By the wall clock.
    pub start: SystemTime,
    /// `start` and the time that went by on the monotonic clock.
    pub end: SystemTime,
    /// What is known of it.
    pub attributes: Vec<Attribute>,
    /// What happened within it, in order.
    pub events: Vec<SpanEvent>,
    /// Events beyond what a span keeps.
    pub dropped_events: u32,
    /// Other spans that have to do with it.
    pub links: Vec<SpanLink>,
    /// How it ended.
    pub status: SpanStatus,
    /// The service that recorded it.
    pub service: Arc<str>,
}

impl FinishedSpan {
    /// The value of an attribute.
    #[must_use]
    pub fn attribute(&self, key: &str) -> Option<&Value> {
        self.attributes.iter().find(|a| a.key == key).map(|a| &a.value)
    }
}

/// Takes spans as they end: the page that shows them, a test, an exporter of one's own.
///
/// Cost: called where the request ends, so an implementation takes no lock that is held for long,
/// does no I/O, and bounds what it keeps.
pub trait SpanSink: fmt::Debug + Send + Sync {
    /// Takes one.
    fn finished(&self, span: &FinishedSpan);
}
