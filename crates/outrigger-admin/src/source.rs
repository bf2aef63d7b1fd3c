//! What a surface shows.

use std::borrow::Cow;
use std::fmt;

use serde::Serialize;

/// Says what is so at the moment; asked whenever somebody looks, by several at once.
///
/// Shape: nothing that is secret may be in any answer. An answer is whole and of one moment.
pub trait Source: fmt::Debug + Send + Sync + 'static {
    /// Whether requests should come.
    fn readiness(&self) -> Readiness;

    /// The document of `/api/v1/state`, in JSON; `None` when there is nothing any more to tell of.
    fn state(&self) -> Option<Vec<u8>>;

    /// Everything that is counted.
    ///
    /// Units: at most 1 MiB.
    fn metrics(&self, format: MetricsFormat) -> String;
}

/// How metrics are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum MetricsFormat {
    /// Prometheus' text format, version 0.0.4.
    Text,
    /// OpenMetrics, version 1.0.0.
    OpenMetrics,
}

impl MetricsFormat {
    /// The content type it is sent under.
    #[must_use]
    pub const fn content_type(self) -> &'static str {
        match self {
            Self::Text => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

/// Whether requests should come, and if not, why.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Readiness(Vec<Reason>);

/// Why requests should not come.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Reason {
    /// One of a fixed set of words.
    pub code: &'static str,
    /// The same for people.
    pub text: Cow<'static, str>,
}

impl Readiness {
    /// Nothing speaks against it.
    #[must_use]
    pub const fn ready() -> Self {
        Self(Vec::new())
    }

    /// Not ready, for this reason beside those before.
    #[must_use]
    pub fn because(mut self, code: &'static str, text: impl Into<Cow<'static, str>>) -> Self {
        self.0.push(Reason { code, text: text.into() });
        self
    }

    /// Whether nothing speaks against it.
    #[must_use]
    pub const fn is_ready(&self) -> bool {
        self.0.is_empty()
    }

    /// What speaks against it.
    #[must_use]
    pub fn reasons(&self) -> &[Reason] {
        &self.0
    }
}
