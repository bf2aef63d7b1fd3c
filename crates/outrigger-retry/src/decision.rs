//! Whether to send a request again: one function of everything that bears on it.

#[cfg(test)]
mod tests;
mod wait;

use std::sync::Arc;
use std::time::{Duration, Instant};

use http::{HeaderMap, Method};
use outrigger_core::FailureKind;

use crate::condition::Conditions;
use crate::{
    BackoffConfig, Budget, Condition, ConfigError, GrpcCode, Methods, Reservation, RetryConfig,
    Signal, guard,
};
use wait::Wish;

/// The longest wait that an endpoint may ask for (`Retry-After`, gRPC pushback) and be waited for;
/// a longer one is the caller's to keep, so it gets the answer.
pub const MAX_WAIT: Duration = Duration::from_secs(10);

/// When to send a request again, compiled from a [`RetryConfig`].
#[derive(Clone, Debug)]
pub struct RetryRule {
    attempts: u8,
    when: Conditions,
    methods: Methods,
    backoff: BackoffConfig,
    body_limit: usize,
}

/// Everything that bears on the question, after one try has ended.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Situation<'a> {
    /// Now.
    pub now: Instant,
    /// What the try showed.
    pub signal: Signal,
    /// The request's method.
    pub method: &'a Method,
    /// Its path, which for gRPC names the call.
    pub path: &'a str,
    /// Retries made for it above us: `x-outrigger-attempt` as it came in.
    pub above: u8,
    /// Retries made by us so far.
    pub retries: u8,
    /// Whether the whole request can be sent again: its body is empty or was kept.
    pub replayable: bool,
    /// The instant after which nobody waits, be it the deadline or the policy's timeout.
    pub until: Option<Instant>,
    /// The head of the answer, when there was one.
    pub headers: Option<&'a HeaderMap>,
    /// Chance, in `[0, 1)`.
    pub random: f64,
}

impl<'a> Situation<'a> {
    /// After the first try of a replayable request that nobody retried above and nobody limits.
    #[must_use]
    pub const fn new(now: Instant, signal: Signal, method: &'a Method) -> Self {
        Self {
            now,
            signal,
            method,
            path: "/",
            above: 0,
            retries: 0,
            replayable: true,
            until: None,
            headers: None,
            random: 0.0,
        }
    }
}

/// What to do after a try.
#[derive(Debug)]
#[non_exhaustive]
pub enum Verdict {
    /// Send it again.
    Retry {
        /// The time to wait first.
        after: Duration,
        /// The token it costs; to be started when the wait is over.
        reservation: Reservation,
    },
    /// What the try showed is the answer.
    Stop {
        /// Why.
        why: Stop,
    },
}

/// Why a request is not sent again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Stop {
    /// It is not among the things that are retried, success above all.
    NotWanted,
    /// So many retries were made already.
    Attempts,
    /// An endpoint may have seen it, and its method gives no leave.
    Method,
    /// It is a retry itself: somebody above sent it again.
    Guard,
    /// Tries were made for it below.
    Below,
    /// Its body is too large to be kept, or is not over.
    Body,
    /// The endpoint asked not to, or to wait longer than we do.
    Pushback,
    /// The wait would outlast the deadline.
    Deadline,
    /// The destination bears no more retries now.
    Budget,
}

impl Stop {
    /// The word used in receipts, events and metrics; `None` when nothing was forbidden.
    #[must_use]
    pub const fn forbidden_by(self) -> Option<&'static str> {
        match self {
            Self::NotWanted => None,
            Self::Attempts => Some("attempts"),
            Self::Method => Some("method"),
            Self::Guard => Some("guard"),
            Self::Below => Some("below"),
            Self::Body => Some("body"),
            Self::Pushback => Some("pushback"),
            Self::Deadline => Some("deadline"),
            Self::Budget => Some("budget"),
        }
    }
}

impl RetryRule {
    /// Compiles a config.
    ///
    /// # Errors
    /// Whatever [`RetryConfig::validate`] finds.
    pub fn new(config: &RetryConfig) -> Result<Self, ConfigError> {
        config.validate()?;
        Ok(Self {
            attempts: config.attempts,
            when: config.when.iter().collect(),
            methods: config.methods.clone(),
            backoff: config.backoff,
            body_limit: config.body_limit,
        })
    }

    /// Whether retries are switched off, so that nothing need be kept for one.
    #[must_use]
    pub const fn is_off(&self) -> bool {
        self.attempts == 0
    }

    /// Units: bytes of a body that are kept.
    #[must_use]
    pub const fn body_limit(&self) -> usize {
        self.body_limit
    }

    /// Which requests may be delivered twice.
    #[must_use]
    pub const fn methods(&self) -> &Methods {
        &self.methods
    }

    /// Decides; takes a token of `budget` only for a retry that everything else allows.
    #[must_use]
    pub fn decide(&self, situation: &Situation<'_>, budget: &Arc<Budget>) -> Verdict {
        match self.judge(situation) {
            Ok(after) => match budget.reserve(situation.now) {
                Some(reservation) => Verdict::Retry { after, reservation },
                None => Verdict::Stop { why: Stop::Budget },
            },
            Err(why) => Verdict::Stop { why },
        }
    }

    /// The decision without the budget: how long to wait, or why not.
    ///
    /// # Errors
    /// The first reason not to, in the order of [`Stop`]'s variants.
    pub fn judge(&self, situation: &Situation<'_>) -> Result<Duration, Stop> {
        let Situation { now, signal, above, retries, .. } = *situation;
        if self.is_off() || !self.wants(signal) {
            return Err(Stop::NotWanted);
        }
        if retries >= self.attempts {
            return Err(Stop::Attempts);
        }
        if !signal.is_unseen() {
            if !self.methods.allow(situation.method, situation.path) {
                return Err(Stop::Method);
            }
            if above > 0 {
                return Err(Stop::Guard);
            }
        }
        if situation.headers.is_some_and(|headers| guard::read_tries(headers) > 1) {
            return Err(Stop::Below);
        }
        if !situation.replayable {
            return Err(Stop::Body);
        }
        let backoff = self.backoff.wait(retries + 1, situation.random);
        let wait = match situation.headers.map_or(Wish::None, Wish::of) {
            Wish::None => backoff,
            // Somebody who names a time spreads callers no better than we do: ours comes on top of
            // nothing, but never before it.
            Wish::AtLeast(asked) => asked.max(backoff),
            Wish::Exactly(asked) => asked,
            Wish::Never => return Err(Stop::Pushback),
        };
        if wait > MAX_WAIT {
            return Err(Stop::Pushback);
        }
        // At the deadline itself there is no time left for a try.
        if situation.until.is_some_and(|until| now + wait >= until) {
            return Err(Stop::Deadline);
        }
        Ok(wait)
    }

    /// Whether this is among the things that are retried at all: what a successful request is asked.
    #[must_use]
    pub fn wants(&self, signal: Signal) -> bool {
        let has = |condition| self.when.has(condition);
        // Envoy's `5xx` and `gateway-error` mean "or no answer at all" as well.
        let no_answer = has(Condition::ServerError) || has(Condition::GatewayError);
        let broken = no_answer || has(Condition::Reset);
        match signal {
            Signal::Failed(FailureKind::ConnectFailure) => broken || has(Condition::ConnectFailure),
            Signal::Failed(FailureKind::RefusedStream) => broken || has(Condition::RefusedStream),
            Signal::Failed(FailureKind::Reset) => broken,
            Signal::Failed(FailureKind::TryTimeout) => broken || has(Condition::Timeout),
            Signal::Status(status) => {
                let code = status.as_u16();
                has(Condition::Status(code))
                    || (status.is_server_error() && has(Condition::ServerError))
                    || (matches!(code, 502..=504) && has(Condition::GatewayError))
            }
            Signal::Grpc(code) => code != GrpcCode::OK && has(Condition::Grpc(code)),
            // The whole request's time is over, or no endpoint could serve it.
            Signal::Failed(_) | Signal::Rejected | Signal::Unknown => false,
        }
    }
}
