//! Why a registry could not be asked, or was not believed.

use std::time::Duration;

use outrigger_core::BoxError;

use crate::RegistrationError;

/// Why a call to a registry came to nothing.
///
/// The text of the cause is not repeated in the message; it is the source.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RegistryError {
    /// No connection, or it broke. Retried by whatever loops; a single call may be repeated.
    #[error("the registry at {registry} cannot be reached")]
    Unreachable {
        /// Its address, without any secret.
        registry: Box<str>,
        /// What the wire said.
        source: BoxError,
    },
    /// No answer in time: hung, stopped, or without a quorum.
    #[error("the registry did not answer {what} within {after:?}")]
    Timeout {
        /// What was asked.
        what: &'static str,
        /// How long we waited.
        after: Duration,
    },
    /// The registry does not know the token at all: mistyped, expired, or of another registry.
    #[error("the registry denies {what}: it does not know the token")]
    UnknownToken {
        /// What was asked.
        what: &'static str,
    },
    /// The token, or whoever has none, has no right to this.
    #[error("the registry denies {what}: the token needs `{rule}`")]
    Denied {
        /// What was asked.
        what: &'static str,
        /// The rule that would allow it, in the registry's own language.
        rule: Box<str>,
    },
    /// The registry answered with an error.
    #[error("the registry answered {what} with status {status}: {text:?}")]
    Status {
        /// What was asked.
        what: &'static str,
        /// The HTTP status.
        status: u16,
        /// The beginning of what it said.
        text: Box<str>,
    },
    /// The answer is not one that can be believed; the last good set stays.
    #[error("the registry's answer to {what} is refused ({class})")]
    Answer {
        /// What was asked.
        what: &'static str,
        /// What is wrong with it, one of a fixed set of words.
        class: &'static str,
        /// Where in the answer, when a reader told.
        source: Option<BoxError>,
    },
    /// The registration was wrong before anything was sent.
    #[error("the registration is not valid")]
    Invalid(#[from] RegistrationError),
    /// The key cannot be asked for.
    #[error(
        "the key {key:?} cannot be asked for; allowed: 1 to 512 bytes of segments joined by `/`, \
         none empty, `.` or `..`, no control characters"
    )]
    Key {
        /// The key, shortened.
        key: Box<str>,
    },
    /// The value is longer than the registry takes.
    #[error("a value has {len} bytes; allowed: at most {max}")]
    Value {
        /// Its length.
        len: usize,
        /// What is allowed.
        max: usize,
    },
    /// The registration was taken back already, or whoever kept it has ended.
    #[error("the registration has ended")]
    Ended,
}

impl RegistryError {
    /// The kind of trouble, one of a fixed set of words: for metrics and [`Event::Registry`].
    ///
    /// [`Event::Registry`]: outrigger_core::Event::Registry
    #[must_use]
    pub const fn class(&self) -> &'static str {
        match self {
            Self::Unreachable { .. } => "unreachable",
            Self::Timeout { .. } => "timeout",
            Self::Denied { .. } | Self::UnknownToken { .. } => "denied",
            Self::Status { status: 429, .. } => "too_many_requests",
            Self::Status { status: 500..=599, .. } => "server_error",
            Self::Status { .. } => "status",
            Self::Answer { class, .. } => class,
            Self::Invalid(_) => "invalid",
            Self::Key { .. } | Self::Value { .. } => "refused",
            Self::Ended => "ended",
        }
    }

    /// Whether another token would help: this one is unknown, or lacks a right.
    #[must_use]
    pub const fn is_denied(&self) -> bool {
        matches!(self, Self::Denied { .. } | Self::UnknownToken { .. })
    }
}
