//! Why a call gave no answer.

use std::error::Error as StdError;
use std::fmt;
use std::time::Duration;

use outrigger_core::{BoxError, Failed, Reason, Refusal, Rejected};

use crate::destination::DestinationError;

/// Why a call gave no answer of an endpoint.
///
/// Shape: exactly one of [`Error::rejected`] (no endpoint saw the request: always safe to send
/// again), [`Error::failed`] (an endpoint or the wire broke) and [`Error::destination`] (the URL
/// names no service), or none of them for a response body that breaks off.
#[derive(Debug)]
pub struct Error(BoxError);

impl Error {
    /// Wraps what the stack answered.
    pub(crate) fn new(error: impl Into<BoxError>) -> Self {
        Self(error.into())
    }

    /// Who refused and why, when no endpoint saw the request.
    #[must_use]
    pub fn rejected(&self) -> Option<&Rejected> {
        Rejected::find(&*self.0)
    }

    /// How the endpoint or the wire broke.
    #[must_use]
    pub fn failed(&self) -> Option<&Failed> {
        Failed::find(&*self.0)
    }

    /// Why the URL names no service.
    #[must_use]
    pub fn destination(&self) -> Option<&DestinationError> {
        self.0.downcast_ref()
    }

    /// The word of the contract's table, as in `x-outrigger-reason`.
    #[must_use]
    pub fn reason(&self) -> Option<Reason> {
        Refusal::of(&*self.0).map(|refusal| refusal.reason)
    }

    /// The HTTP status that a service should pass on to its own caller.
    #[must_use]
    pub fn status(&self) -> Option<u16> {
        Refusal::of(&*self.0).map(|refusal| refusal.http_status())
    }

    /// When to come back, where waiting helps.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        self.rejected().and_then(Rejected::retry_after)
    }

    /// The error as other middleware wants it.
    #[must_use]
    pub fn into_inner(self) -> BoxError {
        self.0
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // What it was is the source, which a handler's `?` carries on to whoever answers.
        f.write_str("the call has no answer")
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        Some(&*self.0)
    }
}

impl From<DestinationError> for Error {
    fn from(error: DestinationError) -> Self {
        Self::new(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_handler_that_passes_our_error_on_is_answered_as_the_contract_says() {
        let rejected = Rejected::NoEndpoint { service: "stock".parse().expect("a name") };
        let boxed: BoxError = Error::new(rejected).into();
        let refusal = Refusal::of(&*boxed).expect("found through our own error");
        assert_eq!(refusal.reason, Reason::NoEndpoint);
    }
}
