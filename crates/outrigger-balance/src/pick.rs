//! One choice, and what became of it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use outrigger_core::{Endpoint, FailureKind, Outcome, Rejected, ServiceName};

use crate::config::ErrorClass;
use crate::estimate::Nanos;
use crate::state::Member;

/// What one try asks for.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct PickRequest<'a> {
    /// The time.
    pub now: Instant,
    /// What the hashing algorithms go by, see [`hash_key`](crate::hash_key); without it they draw
    /// by lot. Others do not look at it.
    pub hash: Option<u64>,
    /// Only endpoints of this subset. One that the set does not know has no endpoints.
    pub subset: Option<&'a str>,
    /// Endpoints that earlier tries of the request went to: not chosen again while others are
    /// found within five draws and a look around.
    pub avoid: &'a [SocketAddr],
}

impl<'a> PickRequest<'a> {
    /// Any endpoint.
    #[must_use]
    pub const fn new(now: Instant) -> Self {
        Self { now, hash: None, subset: None, avoid: &[] }
    }

    /// What the hashing algorithms go by.
    #[must_use]
    pub const fn with_hash(mut self, hash: Option<u64>) -> Self {
        self.hash = hash;
        self
    }

    /// Only endpoints of this subset.
    #[must_use]
    pub const fn with_subset(mut self, subset: Option<&'a str>) -> Self {
        self.subset = subset;
        self
    }

    /// Rather not these.
    #[must_use]
    pub const fn with_avoid(mut self, tried: &'a [SocketAddr]) -> Self {
        self.avoid = tried;
        self
    }
}

/// There is nothing to choose from.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{service}` has no usable endpoint")]
#[non_exhaustive]
pub struct NoEndpoint {
    /// Who has none.
    pub service: ServiceName,
}

impl From<NoEndpoint> for Rejected {
    fn from(none: NoEndpoint) -> Self {
        Self::NoEndpoint { service: none.service }
    }
}

/// A chosen endpoint, on which one request is now in flight.
///
/// Dropped without [`Pick::complete`], the try counts as ignored: it is no longer in flight and
/// says nothing about the endpoint.
#[must_use = "a pick is in flight until it is completed or dropped"]
#[derive(Debug)]
pub struct Pick {
    seat: InFlight,
    candidates: u32,
    panicking: bool,
    load: f32,
}

impl Pick {
    #[inline]
    pub(crate) fn new(
        member: Arc<Member>,
        began: Nanos,
        counted: bool,
        candidates: u32,
        panicking: bool,
        load: f32,
        share: f32,
    ) -> Self {
        let state = &member.state;
        let before = state.waiting.begin(began) + state.answers.bodies();
        let per_root = if before == 0 { 1.0 } else { 1.0 / (1.0 + before as f32 / share).sqrt() };
        if counted {
            state.total.fetch_add(1, Relaxed);
        }
        let seat = InFlight { member, began, per_root, waiting: true, counted };
        Self { seat, candidates, panicking, load }
    }

    /// The choice.
    #[must_use]
    pub fn endpoint(&self) -> &Endpoint {
        &self.seat.member.endpoint
    }

    /// How many there were to choose from.
    #[must_use]
    pub const fn candidates(&self) -> u32 {
        self.candidates
    }

    /// Whether ejection or the registry's checks were ignored.
    #[must_use]
    pub const fn is_panicking(&self) -> bool {
        self.panicking
    }

    /// The load by which it was chosen, lower is better; 0 where the algorithm knows none.
    ///
    /// Units: nanoseconds times requests for peak EWMA, requests for least request.
    #[must_use]
    pub fn load(&self) -> f64 {
        f64::from(self.load)
    }

    /// Tells what became of the try, at the response's head or when it broke.
    ///
    /// What comes back keeps the request in flight until the response's body ends; dropped at
    /// once, it ends now.
    ///
    /// Cost: a handful of atomic operations; only an error that ejects takes a lock.
    #[inline]
    pub fn complete(self, completion: &Completion) -> InFlight {
        let mut seat = self.seat;
        seat.settle(completion);
        seat
    }
}

/// A request in flight on an endpoint, until this is dropped.
#[must_use = "dropping it says that the request has ended"]
#[derive(Debug)]
pub struct InFlight {
    member: Arc<Member>,
    began: Nanos,
    /// One over the root of the requests by weight that were in flight, this one included.
    per_root: f32,
    waiting: bool,
    /// Whether it is in the set's total, which only bounded hashing keeps.
    counted: bool,
}

impl InFlight {
    /// Where it is in flight.
    #[must_use]
    pub fn endpoint(&self) -> &Endpoint {
        &self.member.endpoint
    }

    /// Tells that the response broke after its head: counts as one more failed answer.
    pub fn fail(self, completion: &Completion) {
        if self.judge(completion) {
            self.member.state.answers.judged_again();
        }
    }

    fn settle(&mut self, completion: &Completion) {
        let judged = self.judge(completion);
        let state = &self.member.state;
        // In this order it is in flight at every moment.
        state.answers.head(judged);
        state.waiting.end(self.began);
        self.waiting = false;
    }

    /// Takes note of a verdict; whether it was one.
    #[inline]
    fn judge(&self, completion: &Completion) -> bool {
        let state = &self.member.state;
        let now = state.nanos(completion.now);
        let elapsed = now.saturating_sub(self.began) as i64 as f32 * self.per_root;
        if completion.outcome != Outcome::Success || completion.retry_after.is_some() {
            return self.judge_trouble(completion, now, elapsed);
        }
        state.latency.observe(now, elapsed);
        state.doubt.lower();
        self.end_row();
        true
    }

    /// The verdicts that are not plain successes.
    #[cold]
    fn judge_trouble(&self, completion: &Completion, now: Nanos, elapsed: f32) -> bool {
        let state = &self.member.state;
        if let (Some(429 | 503), Some(after)) = (completion.status, completion.retry_after) {
            state.doubt.rest(now, after);
        }
        if completion.outcome == Outcome::Success {
            state.latency.observe(now, elapsed);
            state.doubt.lower();
            self.end_row();
            return true;
        }
        // A quick failure is no quick answer; and whoever went away after three seconds tells
        // that the answer takes longer than that, while one who left early tells nothing.
        if state.latency.own(now).is_some_and(|cost| elapsed > cost) {
            state.latency.observe(now, elapsed);
        }
        if !completion.outcome.is_failure() {
            return false;
        }
        state.failures.fetch_add(1, Relaxed);
        state.doubt.raise(now);
        if self.is_of_now()
            && let Some(core) = state.core.upgrade()
        {
            core.failed(&self.member, completion, now);
        }
        true
    }

    /// No error in a row any more.
    #[inline]
    fn end_row(&self) {
        let in_a_row = &self.member.state.in_a_row;
        // Read first: nearly always it is 0, and the line stays shared.
        if in_a_row.load(Relaxed) != 0 && self.is_of_now() {
            in_a_row.store(0, Relaxed);
        }
    }

    /// Whether it was begun since the endpoint last came back.
    fn is_of_now(&self) -> bool {
        self.began >= self.member.state.judged_from.load(Relaxed)
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        let state = &self.member.state;
        if self.waiting {
            state.waiting.end(self.began);
        } else {
            state.answers.end();
        }
        if self.counted {
            state.total.fetch_sub(1, Relaxed);
        }
    }
}

/// What became of a try.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Completion {
    /// When.
    pub now: Instant,
    /// The classifier's verdict.
    pub outcome: Outcome,
    /// The answer's status; for gRPC the HTTP status that its code stands for.
    pub status: Option<u16>,
    /// How it broke, when it did.
    pub failure: Option<FailureKind>,
    /// `Retry-After` of a 429 or 503: the endpoint asks to be left alone.
    pub retry_after: Option<Duration>,
}

impl Completion {
    /// An answer with this verdict.
    #[must_use]
    pub const fn new(now: Instant, outcome: Outcome) -> Self {
        Self { now, outcome, status: None, failure: None, retry_after: None }
    }

    /// An answer of a kind that nobody complains of.
    #[must_use]
    pub const fn success(now: Instant) -> Self {
        Self::new(now, Outcome::Success)
    }

    /// A try that broke on the wire.
    #[must_use]
    pub const fn failure(now: Instant, kind: FailureKind) -> Self {
        let mut completion = Self::new(now, Outcome::Failure);
        completion.failure = Some(kind);
        completion
    }

    /// An answer with this status: a failure if it is 500 or more.
    #[must_use]
    pub const fn status(now: Instant, status: u16) -> Self {
        let outcome = if status >= 500 { Outcome::Failure } else { Outcome::Success };
        Self::new(now, outcome).with_status(Some(status))
    }

    /// The answer's status.
    #[must_use]
    pub const fn with_status(mut self, status: Option<u16>) -> Self {
        self.status = status;
        self
    }

    /// The answer's `Retry-After`.
    #[must_use]
    pub const fn with_retry_after(mut self, after: Option<Duration>) -> Self {
        self.retry_after = after;
        self
    }

    /// Whether it counts towards ejection: never a 4xx, which is the caller's fault or a limit.
    pub(crate) fn is_error(&self, class: ErrorClass) -> bool {
        if !self.outcome.is_failure() || matches!(self.status, Some(400..=499)) {
            return false;
        }
        match class {
            ErrorClass::Server => true,
            ErrorClass::Gateway => self.failure.is_some() || matches!(self.status, Some(502..=504)),
        }
    }
}
