//! What an endpoint or the wire did to a try.

use std::error::Error;
use std::fmt;
use std::iter;
use std::net::SocketAddr;

/// The error of middleware, as in tower.
pub type BoxError = Box<dyn Error + Send + Sync>;

/// How a try, or the whole request, broke.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum FailureKind {
    /// No connection, so no byte of the request was seen: safe to send again, whatever it is.
    ConnectFailure,
    /// The endpoint refused the HTTP/2 stream before it looked at it: safe to send again.
    RefusedStream,
    /// The connection or the stream broke after the request had begun.
    Reset,
    /// The time for one try ran out.
    TryTimeout,
    /// The policy's time for the whole request ran out.
    Timeout,
    /// The caller's own deadline passed; says nothing about the endpoint.
    Deadline,
    /// The request's own body failed on its way out; says nothing about the endpoint.
    RequestBody,
}

impl FailureKind {
    /// The word used in metrics, logs and the reason header.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ConnectFailure => "connect_failure",
            Self::RefusedStream => "refused_stream",
            Self::Reset => "reset",
            Self::TryTimeout => "try_timeout",
            Self::Timeout => "timeout",
            Self::Deadline => "deadline",
            Self::RequestBody => "request_body",
        }
    }

    /// Whether the endpoint certainly did not start on the request.
    #[must_use]
    pub const fn is_unseen(self) -> bool {
        matches!(self, Self::ConnectFailure | Self::RefusedStream)
    }
}

/// A try that an endpoint or the wire broke.
///
/// The cause is the [`Error::source`]; it is not repeated in the message.
#[derive(Debug)]
#[non_exhaustive]
pub struct Failed {
    /// How it broke.
    pub kind: FailureKind,
    /// Where, when an endpoint had been chosen.
    pub endpoint: Option<SocketAddr>,
    /// Why, as the layer below told it.
    pub cause: Option<BoxError>,
}

impl Failed {
    /// A failure without endpoint or cause.
    #[must_use]
    pub const fn new(kind: FailureKind) -> Self {
        Self { kind, endpoint: None, cause: None }
    }

    /// Names the endpoint.
    #[must_use]
    pub const fn with_endpoint(mut self, endpoint: SocketAddr) -> Self {
        self.endpoint = Some(endpoint);
        self
    }

    /// Names the cause.
    #[must_use]
    pub fn with_cause(mut self, cause: impl Into<BoxError>) -> Self {
        self.cause = Some(cause.into());
        self
    }

    /// Finds the failure in a boxed error, whatever other layers have wrapped around it.
    pub fn find<'e>(error: &'e (dyn Error + 'static)) -> Option<&'e Self> {
        iter::successors(Some(error), |&e| e.source()).find_map(|e| e.downcast_ref())
    }
}

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.kind {
            FailureKind::ConnectFailure => "no connection",
            FailureKind::RefusedStream => "stream refused",
            FailureKind::Reset => "connection reset",
            FailureKind::TryTimeout => "try timed out",
            FailureKind::Timeout => "request timed out",
            FailureKind::Deadline => "deadline passed",
            FailureKind::RequestBody => "request body failed",
        })?;
        match self.endpoint {
            Some(endpoint) => write!(f, " at {endpoint}"),
            None => Ok(()),
        }
    }
}

impl Error for Failed {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.cause.as_ref().map(|cause| &**cause as &(dyn Error + 'static))
    }
}
