use std::sync::Arc;
use std::time::Instant;

use http::Response;
use outrigger_balance::{Completion, InFlight, Pick};
use outrigger_core::{
    BoxError, Context, Decision, Endpoint, Event, Failed, FailureKind, Outcome, Receipt,
};
use outrigger_retry::Signal;

use super::BalanceLayer;
use crate::admission::AtHead;
use crate::guarded_body::{BodyEnd, Guard};
use crate::signal::{Ends, failure_of, retry_after, signal_of, status_of};
use crate::{GuardedBody, ServedBy, clock};

/// A try from its pick to its response's head.
#[derive(Debug)]
pub struct Flight {
    rule: Arc<BalanceLayer>,
    pick: Option<Pick>,
    began: Instant,
    started: Instant,
    ends: Ends,
    attempt: u8,
    receipt: Option<Arc<Receipt>>,
}

impl Flight {
    pub(super) fn new(
        rule: Arc<BalanceLayer>,
        pick: Pick,
        began: Instant,
        context: &Context,
    ) -> Self {
        Self {
            rule,
            pick: Some(pick),
            began,
            started: context.started,
            ends: Ends::of(context),
            attempt: context.attempt,
            receipt: context.receipt.clone(),
        }
    }

    pub(crate) fn endpoint(&self) -> &Endpoint {
        self.pick.as_ref().expect("a flight has its pick until it lands").endpoint()
    }

    /// Judges the try at its head, or at its end without one.
    #[inline]
    pub(crate) fn land<B>(
        mut self,
        result: &mut Result<Response<B>, BoxError>,
        now: Instant,
    ) -> Option<Seat> {
        let pick = self.pick.take()?;
        let signal = signal_of(result);
        let outcome = match signal {
            Signal::Rejected => Outcome::Ignored,
            signal => self.rule.classifier.outcome(signal, self.ends.deadline_left(now)),
        };
        let address = pick.endpoint().address();
        let mut completion = Completion::new(now, outcome).with_status(status_of(signal));
        completion.failure = failure_of(signal);
        match result {
            Ok(response) if completion.status.is_some_and(|status| status >= 400) => {
                completion.retry_after = retry_after(response.headers());
                response.extensions_mut().insert(ServedBy(address));
            }
            Ok(_) => {}
            Err(error) => name_endpoint(error, address),
        }
        self.tell(&pick, signal, outcome, now);
        let seat = pick.complete(&completion);
        Some(Seat { watched: outcome == Outcome::Success, seat })
    }

    fn tell(&self, pick: &Pick, signal: Signal, outcome: Outcome, now: Instant) {
        let elapsed = now.saturating_duration_since(self.began);
        let (status, failure) = (status_of(signal), failure_of(signal));
        if let Some(receipt) = &self.receipt {
            receipt.push(
                now.saturating_duration_since(self.started),
                Decision::Tried {
                    attempt: self.attempt,
                    endpoint: Some(pick.endpoint().address()),
                    status,
                    failure,
                    outcome,
                    elapsed,
                },
            );
        }
        self.rule.observers.emit(&Event::Tried {
            service: self.rule.set.service(),
            endpoint: pick.endpoint(),
            attempt: self.attempt,
            status,
            failure,
            outcome,
            elapsed,
        });
    }
}

impl<B: http_body::Body> AtHead<Response<B>> for Flight {
    type Response = Response<GuardedBody<B, Seat>>;

    fn at_head(
        self,
        mut result: Result<Response<B>, BoxError>,
    ) -> Result<Self::Response, BoxError> {
        let seat = self.land(&mut result, clock::now()).expect("a flight lands once");
        result.map(|response| response.map(|body| GuardedBody::new(body, seat)))
    }
}

/// A failure says where it happened; one that does not know is told.
fn name_endpoint(error: &mut BoxError, endpoint: std::net::SocketAddr) {
    if let Some(failed) = error.downcast_mut::<Failed>() {
        failed.endpoint.get_or_insert(endpoint);
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        let Some(pick) = self.pick.take() else { return };
        let now = clock::now();
        let (signal, outcome) = if self.ends.timed_out(now) {
            (Signal::Failed(FailureKind::Timeout), Outcome::Failure)
        } else if self.ends.deadline_left(now).is_some_and(|left| left.is_zero()) {
            (Signal::Failed(FailureKind::Deadline), Outcome::Ignored)
        } else {
            (Signal::Unknown, Outcome::Ignored)
        };
        self.tell(&pick, signal, outcome, now);
        let mut completion = Completion::new(now, outcome);
        completion.failure = failure_of(signal);
        drop(pick.complete(&completion));
    }
}

/// A place among the requests in flight on an endpoint, held by the response's body.
#[derive(Debug)]
pub struct Seat {
    seat: InFlight,
    /// Whether the head was a success, so that a break of the body is news.
    watched: bool,
}

impl Guard for Seat {
    fn release(self, end: BodyEnd) {
        if self.watched && end == BodyEnd::Broken {
            self.seat.fail(&Completion::failure(clock::now(), FailureKind::Reset));
        }
    }
}
