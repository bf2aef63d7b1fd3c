//! What was decided on the way of one request.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::{CircuitState, FailureKind, Outcome, Reason};

/// One decision, in the order it was taken.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Decision {
    /// A limiter was asked.
    Limited {
        /// Which one.
        limit: &'static str,
        /// Whether it let the request pass.
        admitted: bool,
        /// Tokens or permits left, where it can tell.
        remaining: Option<u32>,
    },
    /// A named rate limit was asked.
    Rate {
        /// Its name in the policy.
        rule: Arc<str>,
        /// Whether it let the request pass.
        admitted: bool,
        /// Whether it would have refused, and only observes.
        spared: bool,
        /// Tokens left.
        remaining: u32,
    },
    /// The subset was chosen, once for all tries.
    Split {
        /// Its key.
        subset: Arc<str>,
    },
    /// A fault was injected.
    Fault {
        /// How long the request was held back.
        delay: Option<Duration>,
        /// The status of the abort.
        abort: Option<u16>,
    },
    /// A copy of the request was sent elsewhere.
    Mirrored,
    /// An open circuit was answered for in another way.
    Fallback {
        /// `fixed`, or `service` when another one was asked.
        kind: &'static str,
    },
    /// Load was being shed.
    Shed {
        /// The share that is admitted.
        admits: f64,
        /// Whether this request was.
        admitted: bool,
    },
    /// A circuit was asked.
    Circuit {
        /// Its state at that moment.
        state: CircuitState,
        /// Whether the request passed.
        admitted: bool,
    },
    /// An endpoint was chosen.
    Picked {
        /// How many there were to choose from.
        candidates: u32,
        /// The choice.
        endpoint: SocketAddr,
        /// Its load in nanoseconds-weighted units of the picker, lower is better.
        load: f64,
        /// Whether the panic threshold made ejection be ignored.
        panicking: bool,
    },
    /// A try ended.
    Tried {
        /// 0 for the first.
        attempt: u8,
        /// Where it went, when an endpoint had been chosen.
        endpoint: Option<SocketAddr>,
        /// The status, when there was an answer.
        status: Option<u16>,
        /// How it broke, when it did.
        failure: Option<FailureKind>,
        /// The verdict.
        outcome: Outcome,
        /// How long it took, to the response's head.
        elapsed: Duration,
    },
    /// Another try was decided on.
    Retried {
        /// The number of the coming try, 1 for the first retry.
        attempt: u8,
        /// How long it waits.
        backoff: Duration,
    },
    /// Another try would have been right and was not made.
    NotRetried {
        /// What forbade it: `budget`, `attempts`, `method`, `guard`, `deadline`, `body`, `below`.
        why: &'static str,
    },
    /// We answered ourselves.
    Refused {
        /// Why.
        reason: Reason,
    },
}

/// The decisions taken for one request; exists for sampled requests only.
///
/// Shape: at most [`Receipt::MAX`] entries, later ones are counted and dropped.
#[derive(Debug, Default)]
pub struct Receipt {
    entries: Mutex<Entries>,
}

#[derive(Debug, Default)]
struct Entries {
    decisions: Vec<(Duration, Decision)>,
    dropped: u32,
}

impl Receipt {
    /// Most decisions that are kept.
    pub const MAX: usize = 64;

    /// An empty receipt.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Writes a decision down, `at` after the request's start.
    pub fn push(&self, at: Duration, decision: Decision) {
        // A poisoned lock holds whole entries all the same: each push is one `Vec::push`.
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        if entries.decisions.len() < Self::MAX {
            entries.decisions.push((at, decision));
        } else {
            entries.dropped = entries.dropped.saturating_add(1);
        }
    }

    /// The decisions so far, and how many more were dropped.
    #[must_use]
    pub fn decisions(&self) -> (Vec<(Duration, Decision)>, u32) {
        let entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        (entries.decisions.clone(), entries.dropped)
    }
}
