use std::time::Instant;

use http::Response;
use outrigger_core::{BoxError, FailureKind};
use outrigger_limit::{AdaptiveLimit, AdaptivePermit, ConcurrencyLimit, Full, Permit};

use crate::admission::AtHead;
use crate::guarded_body::{BodyEnd, Guard};
use crate::signal::{failure_of, signal_of_error};
use crate::{GuardedBody, clock};

#[derive(Clone, Debug)]
pub(super) enum Bound {
    Fixed(ConcurrencyLimit),
    Adaptive(AdaptiveLimit),
}

impl Bound {
    pub(super) fn try_acquire(&self, now: Instant) -> Result<ConcurrencyPermit, Full> {
        match self {
            Self::Fixed(limit) => limit.try_acquire().map(Kind::Fixed),
            Self::Adaptive(limit) => limit.try_acquire(now).map(Kind::Adaptive),
        }
        .map(ConcurrencyPermit)
    }

    pub(super) fn left(&self) -> u32 {
        match self {
            Self::Fixed(limit) => limit.limit().saturating_sub(limit.in_flight()),
            Self::Adaptive(limit) => limit.limit().saturating_sub(limit.in_flight()),
        }
    }
}

/// The right to run one request, held until its response's body ends.
#[derive(Debug)]
pub struct ConcurrencyPermit(Kind);

#[derive(Debug)]
enum Kind {
    #[expect(dead_code, reason = "held for its drop")]
    Fixed(Permit),
    Adaptive(AdaptivePermit),
}

impl ConcurrencyPermit {
    /// Ends a request without an answer. That time ran out shows an overloaded service: for an
    /// adaptive bound a sign to come down.
    pub(crate) fn fail(self, error: &BoxError) {
        let Kind::Adaptive(permit) = self.0 else { return };
        let late = [FailureKind::Timeout, FailureKind::TryTimeout];
        if failure_of(signal_of_error(error)).is_some_and(|kind| late.contains(&kind)) {
            permit.complete(true, clock::now());
        }
    }
}

impl<B: http_body::Body> AtHead<Response<B>> for ConcurrencyPermit {
    type Response = Response<GuardedBody<B, Self>>;

    fn at_head(self, result: Result<Response<B>, BoxError>) -> Result<Self::Response, BoxError> {
        match result {
            Ok(response) => Ok(response.map(|body| GuardedBody::new(body, self))),
            Err(error) => {
                self.fail(&error);
                Err(error)
            }
        }
    }
}

impl Guard for ConcurrencyPermit {
    fn release(self, end: BodyEnd) {
        // A body that broke or that nobody read says nothing about how long the work takes.
        if let (Kind::Adaptive(permit), BodyEnd::Complete) = (self.0, end) {
            permit.complete(false, clock::now());
        }
    }
}
