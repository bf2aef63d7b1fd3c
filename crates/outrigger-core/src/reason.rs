//! The one place where a refusal becomes a status, a header and a gRPC code.

use std::error::Error;
use std::iter;
use std::time::Duration;

use crate::{Failed, FailureKind, Rejected};

/// Why an answer is ours and not an endpoint's; the value of `x-outrigger-reason`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Reason {
    /// A bucket is empty.
    RateLimited,
    /// The circuit is open.
    CircuitOpen,
    /// No usable endpoint.
    NoEndpoint,
    /// Too many requests in flight or waiting.
    Overloaded,
    /// The last try found no connection.
    ConnectFailure,
    /// The last try broke on the wire.
    Reset,
    /// The policy's timeout.
    Timeout,
    /// The caller's own deadline.
    Deadline,
    /// The request is malformed.
    BadRequest,
    /// The body is larger than is accepted.
    BodyTooLarge,
    /// No identity.
    Unauthorized,
    /// Not allowed.
    Forbidden,
    /// Injected.
    Fault,
}

impl Reason {
    /// Every reason, in the order of the contract's table.
    pub const ALL: [Self; 13] = [
        Self::RateLimited,
        Self::CircuitOpen,
        Self::NoEndpoint,
        Self::Overloaded,
        Self::ConnectFailure,
        Self::Reset,
        Self::Timeout,
        Self::Deadline,
        Self::BadRequest,
        Self::BodyTooLarge,
        Self::Unauthorized,
        Self::Forbidden,
        Self::Fault,
    ];

    /// The value of the reason header.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::RateLimited => "rate_limited",
            Self::CircuitOpen => "circuit_open",
            Self::NoEndpoint => "no_endpoint",
            Self::Overloaded => "overloaded",
            Self::ConnectFailure => "connect_failure",
            Self::Reset => "reset",
            Self::Timeout => "timeout",
            Self::Deadline => "deadline",
            Self::BadRequest => "bad_request",
            Self::BodyTooLarge => "body_too_large",
            Self::Unauthorized => "unauthorized",
            Self::Forbidden => "forbidden",
            Self::Fault => "fault",
        }
    }

    /// Reads the reason header.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.as_str() == text)
    }

    /// The HTTP status; a fault's own status replaces it.
    #[must_use]
    pub const fn http_status(self) -> u16 {
        match self {
            Self::RateLimited => 429,
            Self::CircuitOpen
            | Self::NoEndpoint
            | Self::Overloaded
            | Self::ConnectFailure
            | Self::Reset
            | Self::Fault => 503,
            Self::Timeout | Self::Deadline => 504,
            Self::BadRequest => 400,
            Self::BodyTooLarge => 413,
            Self::Unauthorized => 401,
            Self::Forbidden => 403,
        }
    }

    /// The gRPC status code.
    #[must_use]
    pub const fn grpc_status(self) -> u8 {
        match self {
            Self::Deadline => 4,
            Self::BadRequest => 3,
            Self::BodyTooLarge => 8,
            Self::Unauthorized => 16,
            Self::Forbidden => 7,
            // UNAVAILABLE, which is what Envoy answers for its limits and its timeout too.
            _ => 14,
        }
    }

    /// The body of the answer; Envoy's own text where Envoy has one, so that callers that were
    /// written against a mesh find what they know.
    #[must_use]
    pub const fn body(self) -> &'static str {
        match self {
            Self::RateLimited => "local_rate_limited",
            Self::CircuitOpen => "circuit open",
            Self::NoEndpoint => "no healthy upstream",
            Self::Overloaded => {
                "upstream connect error or disconnect/reset before headers. reset reason: overflow"
            }
            Self::ConnectFailure => {
                "upstream connect error or disconnect/reset before headers. reset reason: \
                 connection failure"
            }
            Self::Reset => {
                "upstream connect error or disconnect/reset before headers. reset reason: \
                 connection termination"
            }
            Self::Timeout => "upstream request timeout",
            Self::Deadline => "deadline exceeded",
            Self::BadRequest => "bad request",
            Self::BodyTooLarge => "Payload Too Large",
            Self::Unauthorized => "unauthorized",
            Self::Forbidden => "RBAC: access denied",
            Self::Fault => "fault filter abort",
        }
    }
}

/// A refusal ready to be answered: the reason and when to come back.
///
/// As an error it is the word of whoever stands inside and is no rule of a service; a layer further
/// out answers it like those.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("refused: {}", .reason.as_str())]
#[non_exhaustive]
pub struct Refusal {
    /// Why.
    pub reason: Reason,
    /// When waiting helps.
    pub retry_after: Option<Duration>,
    /// The limit and what is left of it, on limited routes.
    pub limit: Option<(u32, u32)>,
    /// The HTTP status, where it is not that of the reason: an injected fault's own.
    pub status: Option<u16>,
    /// The gRPC code, where it is neither that of the reason nor what stands for `status`.
    pub grpc_status: Option<u8>,
}

impl Refusal {
    /// A refusal that no waiting helps.
    #[must_use]
    pub const fn new(reason: Reason) -> Self {
        Self { reason, retry_after: None, limit: None, status: None, grpc_status: None }
    }

    /// The HTTP status of the answer.
    #[must_use]
    pub const fn http_status(&self) -> u16 {
        match self.status {
            Some(status) => status,
            None => self.reason.http_status(),
        }
    }

    /// The gRPC code of the answer.
    ///
    /// Source: for a status without a code of its own, gRPC's "HTTP to gRPC Status Code Mapping".
    #[must_use]
    pub const fn grpc_status(&self) -> u8 {
        match (self.grpc_status, self.status) {
            (Some(code), _) => code,
            (None, None) => self.reason.grpc_status(),
            (None, Some(400)) => 13,
            (None, Some(401)) => 16,
            (None, Some(403)) => 7,
            (None, Some(404)) => 12,
            (None, Some(429 | 502..=504)) => 14,
            (None, Some(_)) => 2,
        }
    }

    /// Reads what our layers put into an error; `None` for an error that is not ours.
    #[must_use]
    pub fn of(error: &(dyn Error + 'static)) -> Option<Self> {
        if let Some(rejected) = Rejected::find(error) {
            return Some(rejected.into());
        }
        if let Some(failed) = Failed::find(error) {
            return Some(failed.into());
        }
        iter::successors(Some(error), |&e| e.source()).find_map(|e| e.downcast_ref()).copied()
    }

    /// Units of `Retry-After` and `ratelimit-reset`: whole seconds, rounded up, so that a caller
    /// that obeys is not turned away again.
    #[must_use]
    pub fn retry_after_secs(&self) -> Option<u64> {
        let after = self.retry_after?;
        Some(after.as_secs() + u64::from(after.subsec_nanos() > 0))
    }

    /// Writes status, reason and waiting time into the head of a response.
    ///
    /// With `grpc` the status is 200 and the verdict stands in `grpc-status` and `grpc-message`,
    /// as in a trailers-only response.
    #[cfg(feature = "http")]
    pub fn write_head(&self, head: &mut http::response::Parts, grpc: bool) {
        use crate::header;
        use http::HeaderValue;

        head.status = http::StatusCode::from_u16(self.http_status()).unwrap_or(head.status);
        let headers = &mut head.headers;
        headers.insert(header::REASON, HeaderValue::from_static(self.reason.as_str()));
        if let Some(secs) = self.retry_after_secs() {
            headers.insert(http::header::RETRY_AFTER, HeaderValue::from(secs));
        }
        if let Some((limit, remaining)) = self.limit {
            headers.insert(header::RATELIMIT_LIMIT, HeaderValue::from(limit));
            headers.insert(header::RATELIMIT_REMAINING, HeaderValue::from(remaining));
            headers.insert(
                header::RATELIMIT_RESET,
                HeaderValue::from(self.retry_after_secs().unwrap_or(0)),
            );
        }
        if grpc {
            head.status = http::StatusCode::OK;
            headers
                .insert(http::header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
            headers.insert(header::GRPC_STATUS, HeaderValue::from(u16::from(self.grpc_status())));
            headers.insert(header::GRPC_MESSAGE, HeaderValue::from_static(self.reason.body()));
        } else {
            headers.insert(http::header::CONTENT_TYPE, HeaderValue::from_static("text/plain"));
        }
    }
}

impl From<&Rejected> for Refusal {
    fn from(rejected: &Rejected) -> Self {
        let reason = match rejected {
            Rejected::RateLimited { .. } => Reason::RateLimited,
            Rejected::CircuitOpen { .. } => Reason::CircuitOpen,
            Rejected::NoEndpoint { .. } => Reason::NoEndpoint,
            Rejected::Overloaded { .. } | Rejected::Shed { .. } => Reason::Overloaded,
            Rejected::BodyTooLarge { .. } => Reason::BodyTooLarge,
            Rejected::Fault { .. } => Reason::Fault,
        };
        let mut refusal = Self { retry_after: rejected.retry_after(), ..Self::new(reason) };
        match *rejected {
            Rejected::RateLimited { limit, grpc_status, .. } => {
                (refusal.limit, refusal.grpc_status) = (limit, grpc_status);
            }
            Rejected::Fault { status, grpc_status, .. } => {
                (refusal.status, refusal.grpc_status) = (Some(status), grpc_status);
            }
            _ => {}
        }
        refusal
    }
}

impl From<&Failed> for Refusal {
    fn from(failed: &Failed) -> Self {
        Self::new(match failed.kind {
            FailureKind::ConnectFailure => Reason::ConnectFailure,
            FailureKind::RefusedStream | FailureKind::Reset => Reason::Reset,
            FailureKind::TryTimeout | FailureKind::Timeout => Reason::Timeout,
            FailureKind::Deadline => Reason::Deadline,
            FailureKind::RequestBody => Reason::BadRequest,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ServiceName;

    #[test]
    fn waiting_times_are_rounded_up_so_that_an_obedient_caller_is_admitted() {
        let mut refusal = Refusal::new(Reason::RateLimited);
        refusal.retry_after = Some(Duration::from_millis(1));
        assert_eq!(refusal.retry_after_secs(), Some(1));
        refusal.retry_after = Some(Duration::from_secs(2));
        assert_eq!(refusal.retry_after_secs(), Some(2));
    }

    #[test]
    fn a_refusal_is_found_through_what_other_layers_wrap_around_it() {
        #[derive(Debug, thiserror::Error)]
        #[error("wrapped")]
        struct Wrapped(#[source] BoxError);
        use crate::BoxError;

        let service = ServiceName::new("stock").expect("valid");
        let error = Wrapped(Box::new(Rejected::NoEndpoint { service }));
        assert_eq!(Refusal::of(&error).map(|r| r.reason), Some(Reason::NoEndpoint));
        let error = Wrapped(Refusal::new(Reason::Forbidden).into());
        assert_eq!(Refusal::of(&error), Some(Refusal::new(Reason::Forbidden)));
    }

    #[test]
    fn a_fault_answers_with_the_status_of_the_policy_and_the_code_that_stands_for_it() {
        let service = ServiceName::new("stock").expect("valid");
        let fault = |status, grpc_status| {
            let rejected = Rejected::Fault { service: service.clone(), status, grpc_status };
            let refusal = Refusal::from(&rejected);
            (refusal.http_status(), refusal.grpc_status())
        };
        assert_eq!(fault(503, None), (503, 14));
        assert_eq!(fault(404, None), (404, 12));
        assert_eq!(fault(418, None), (418, 2), "what stands for nothing is unknown");
        assert_eq!(fault(503, Some(5)), (503, 5), "the policy's own code wins");
    }

    #[test]
    fn every_reason_reads_back_what_it_writes() {
        for reason in Reason::ALL {
            assert_eq!(Reason::parse(reason.as_str()), Some(reason));
        }
    }
}
