use std::time::Instant;

use http::Response;
use outrigger_breaker::{Breaker, Permit};
use outrigger_core::{BoxError, Context, Outcome};
use outrigger_retry::{Classifier, Signal};

use crate::admission::AtHead;
use crate::guarded_body::{BodyEnd, Guard};
use crate::signal::{Ends, signal_of};
use crate::{GuardedBody, clock};

/// An admitted call until its response's head.
#[derive(Debug)]
pub struct Flight {
    circuit: Breaker,
    permit: Option<Permit>,
    classifier: Classifier,
    began: Instant,
    ends: Ends,
}

impl Flight {
    pub(super) fn new(
        circuit: Breaker,
        permit: Permit,
        classifier: Classifier,
        context: &Context,
    ) -> Self {
        let (began, ends) = (context.started, Ends::of(context));
        Self { circuit, permit: Some(permit), classifier, began, ends }
    }

    /// Tells the circuit; what comes back watches the body.
    #[inline]
    pub(crate) fn land(mut self, signal: Signal, now: Instant) -> CircuitGuard {
        let outcome = match signal {
            // We refused it further in: that says nothing about the service.
            Signal::Rejected => Outcome::Ignored,
            signal => self.classifier.outcome(signal, self.ends.deadline_left(now)),
        };
        self.record(outcome, now);
        let watched = (outcome == Outcome::Success).then(|| self.circuit.clone());
        CircuitGuard { circuit: watched, began: self.began }
    }

    fn record(&mut self, outcome: Outcome, now: Instant) {
        if let Some(permit) = self.permit.take() {
            permit.record(outcome, now.saturating_duration_since(self.began), now);
        }
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        if self.permit.is_none() {
            return;
        }
        let now = clock::now();
        if self.ends.timed_out(now) {
            self.record(Outcome::Failure, now);
        }
    }
}

impl<B: http_body::Body> AtHead<Response<B>> for Flight {
    type Response = Response<GuardedBody<B, CircuitGuard>>;

    fn at_head(self, result: Result<Response<B>, BoxError>) -> Result<Self::Response, BoxError> {
        let guard = self.land(signal_of(&result), clock::now());
        result.map(|response| response.map(|body| GuardedBody::new(body, guard)))
    }
}

/// Watches the body of an answer that counted as a success: if it breaks, the circuit hears of a
/// failure too.
#[derive(Debug)]
pub struct CircuitGuard {
    circuit: Option<Breaker>,
    began: Instant,
}

impl Guard for CircuitGuard {
    fn release(self, end: BodyEnd) {
        let (BodyEnd::Broken, Some(circuit)) = (end, self.circuit) else { return };
        let now = clock::now();
        // The permit was used up at the head. Another is asked for to count this one; a probe's is
        // given back, for half-open is decided by heads.
        if let Ok(permit) = circuit.admit(now)
            && !permit.is_probe()
        {
            permit.record(Outcome::Failure, now.saturating_duration_since(self.began), now);
        }
    }
}
