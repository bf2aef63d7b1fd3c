//! What became of a try or of a request.

/// What became of a try, as a classifier judges it; flows back to load, ejection, breaker, budget.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Outcome {
    /// The endpoint did its work, which includes answers that blame the caller (4xx).
    Success,
    /// The endpoint or the wire failed.
    Failure,
    /// Says nothing about the endpoint: the caller went away, or its own deadline passed.
    Ignored,
}

impl Outcome {
    /// Whether this is [`Outcome::Failure`].
    #[must_use]
    pub const fn is_failure(self) -> bool {
        matches!(self, Self::Failure)
    }

    /// The word used in metrics and logs.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Failure => "failure",
            Self::Ignored => "ignored",
        }
    }
}
