//! What a try showed, and what that says about the endpoint.

use std::time::Duration;

use http::{HeaderMap, StatusCode};
use outrigger_core::{FailureKind, Outcome, header};

/// A gRPC status code, 0 to 16; what lies above is read as `UNKNOWN`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct GrpcCode(u8);

impl GrpcCode {
    /// No error.
    pub const OK: Self = Self(0);
    /// The caller gave up.
    pub const CANCELLED: Self = Self(1);
    /// The endpoint cannot say what went wrong.
    pub const UNKNOWN: Self = Self(2);
    /// Too late.
    pub const DEADLINE_EXCEEDED: Self = Self(4);
    /// A quota is used up.
    pub const RESOURCE_EXHAUSTED: Self = Self(8);
    /// There is no such method.
    pub const UNIMPLEMENTED: Self = Self(12);
    /// An invariant of the endpoint is broken.
    pub const INTERNAL: Self = Self(13);
    /// The endpoint cannot serve now.
    pub const UNAVAILABLE: Self = Self(14);
    /// Data is lost for good.
    pub const DATA_LOSS: Self = Self(15);

    /// The code of this number.
    #[must_use]
    pub const fn new(code: u8) -> Self {
        if code > 16 { Self::UNKNOWN } else { Self(code) }
    }

    /// The number.
    #[must_use]
    pub const fn get(self) -> u8 {
        self.0
    }

    /// Reads `grpc-status` of a head; `None` when it stands in the trailers or nowhere.
    #[must_use]
    pub fn of(headers: &HeaderMap) -> Option<Self> {
        let text = headers.get(header::GRPC_STATUS)?.to_str().ok()?;
        Some(text.parse().map_or(Self::UNKNOWN, Self::new))
    }

    /// The HTTP status that it stands for, so that one rule serves both.
    ///
    /// Source: google/rpc/code.proto, as Envoy maps it.
    #[must_use]
    pub const fn http_status(self) -> u16 {
        match self.0 {
            0 => 200,
            1 => 499,
            3 | 9 | 11 => 400,
            4 => 504,
            5 => 404,
            6 | 10 => 409,
            7 => 403,
            8 => 429,
            12 => 501,
            14 => 503,
            16 => 401,
            _ => 500,
        }
    }

    pub(crate) const fn bit(self) -> u32 {
        1 << self.0
    }

    pub(crate) const fn word(self) -> Option<&'static str> {
        match self {
            Self::UNAVAILABLE => Some("unavailable"),
            Self::CANCELLED => Some("cancelled"),
            Self::DEADLINE_EXCEEDED => Some("deadline_exceeded"),
            Self::RESOURCE_EXHAUSTED => Some("resource_exhausted"),
            Self::INTERNAL => Some("internal"),
            _ => None,
        }
    }
}

/// What a try showed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Signal {
    /// A head with this HTTP status, and no gRPC code in it.
    Status(StatusCode),
    /// A head that carries a gRPC code: an answer without a body.
    Grpc(GrpcCode),
    /// The endpoint or the wire failed.
    Failed(FailureKind),
    /// We refused it ourselves, below the retry: no endpoint, no capacity.
    Rejected,
    /// An error that nobody has a word for: a failure, and never retried.
    Unknown,
}

impl Signal {
    /// What a response's head shows.
    #[must_use]
    pub fn of(status: StatusCode, headers: &HeaderMap) -> Self {
        // Only a gRPC call is answered with 200 and a code, and only then is it worth the look-up.
        if status == StatusCode::OK
            && let Some(code) = GrpcCode::of(headers)
        {
            return Self::Grpc(code);
        }
        Self::Status(status)
    }

    /// Whether the endpoint certainly did not start on the request.
    #[must_use]
    pub const fn is_unseen(self) -> bool {
        matches!(self, Self::Failed(kind) if kind.is_unseen())
    }
}

/// Which answers count as the endpoint's errors.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum Errors {
    /// Any 5xx but 501 and 505, timeouts, resets, refused connections.
    #[default]
    Server,
    /// Of the statuses only 502, 503 and 504.
    Gateway,
}

/// Judges what a try says about its endpoint.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Classifier {
    errors: Errors,
}

/// A 504 or DEADLINE_EXCEEDED this close to the caller's own deadline is the deadline's doing: the
/// endpoint was told the time left in whole milliseconds, rounded down, and lives by its own clock.
const DEADLINE_SLACK: Duration = Duration::from_millis(20);

impl Classifier {
    /// A classifier that counts these errors.
    #[must_use]
    pub const fn new(errors: Errors) -> Self {
        Self { errors }
    }

    /// The verdict on an endpoint, or on a whole request.
    ///
    /// `deadline_left` is what remains of the caller's own deadline, when it has one: whoever sets
    /// an impossible deadline must not get an endpoint ejected. For the same reason 501, 505 and
    /// `UNIMPLEMENTED` count as success: they blame the request, and a request can be made to
    /// provoke them. 429 and our own refusals are no failure of the endpoint either.
    #[must_use]
    pub fn outcome(&self, signal: Signal, deadline_left: Option<Duration>) -> Outcome {
        let near = deadline_left.is_some_and(|left| left <= DEADLINE_SLACK);
        match signal {
            Signal::Status(StatusCode::GATEWAY_TIMEOUT) if near => Outcome::Ignored,
            Signal::Grpc(GrpcCode::DEADLINE_EXCEEDED) if near => Outcome::Ignored,
            Signal::Status(status) if self.blames_the_endpoint(status) => Outcome::Failure,
            Signal::Grpc(
                GrpcCode::UNKNOWN
                | GrpcCode::DEADLINE_EXCEEDED
                | GrpcCode::INTERNAL
                | GrpcCode::UNAVAILABLE
                | GrpcCode::DATA_LOSS,
            ) => Outcome::Failure,
            Signal::Grpc(GrpcCode::CANCELLED)
            | Signal::Failed(FailureKind::Deadline | FailureKind::RequestBody)
            | Signal::Rejected => Outcome::Ignored,
            Signal::Failed(_) | Signal::Unknown => Outcome::Failure,
            Signal::Status(_) | Signal::Grpc(_) => Outcome::Success,
        }
    }

    fn blames_the_endpoint(self, status: StatusCode) -> bool {
        match self.errors {
            Errors::Server => status.is_server_error() && !matches!(status.as_u16(), 501 | 505),
            Errors::Gateway => matches!(status.as_u16(), 502..=504),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(code: u16) -> Signal {
        Signal::Status(StatusCode::from_u16(code).expect("valid"))
    }

    #[test]
    fn what_the_caller_provokes_is_no_failure_of_the_endpoint() {
        let classifier = Classifier::default();
        for code in [400, 401, 403, 404, 405, 413, 417, 429, 431, 499, 501, 505] {
            assert_eq!(classifier.outcome(status(code), None), Outcome::Success, "{code}");
        }
        for code in [3, 5, 6, 7, 8, 9, 10, 11, 12, 16] {
            let signal = Signal::Grpc(GrpcCode::new(code));
            assert_eq!(classifier.outcome(signal, None), Outcome::Success, "grpc {code}");
        }
        let soon = Some(Duration::from_millis(1));
        let signals = [status(504), Signal::Grpc(GrpcCode::DEADLINE_EXCEEDED)];
        for signal in signals {
            assert_eq!(classifier.outcome(signal, soon), Outcome::Ignored);
            assert_eq!(classifier.outcome(signal, None), Outcome::Failure);
            let long = Some(Duration::from_secs(5));
            assert_eq!(classifier.outcome(signal, long), Outcome::Failure, "time was left");
        }
        for kind in [FailureKind::Deadline, FailureKind::RequestBody] {
            assert_eq!(
                classifier.outcome(Signal::Failed(kind), None),
                Outcome::Ignored,
                "{kind:?}"
            );
        }
    }

    #[test]
    fn the_endpoints_errors_are_counted_as_the_policy_says() {
        let gateway = Classifier::new(Errors::Gateway);
        for code in [500, 507] {
            assert_eq!(Classifier::default().outcome(status(code), None), Outcome::Failure);
            assert_eq!(gateway.outcome(status(code), None), Outcome::Success);
        }
        for kind in [
            FailureKind::ConnectFailure,
            FailureKind::RefusedStream,
            FailureKind::Reset,
            FailureKind::TryTimeout,
            FailureKind::Timeout,
        ] {
            assert_eq!(gateway.outcome(Signal::Failed(kind), None), Outcome::Failure, "{kind:?}");
        }
    }

    #[test]
    fn a_grpc_code_is_read_from_the_head_and_nonsense_is_unknown() {
        let mut headers = HeaderMap::new();
        assert_eq!(Signal::of(StatusCode::OK, &headers), status(200));
        for (text, code) in [("14", 14), ("0", 0), ("99", 2), ("-1", 2), ("x", 2), ("256", 2)] {
            headers.insert(header::GRPC_STATUS, text.parse().expect("valid"));
            assert_eq!(
                Signal::of(StatusCode::OK, &headers),
                Signal::Grpc(GrpcCode::new(code)),
                "{text}"
            );
        }
    }
}
