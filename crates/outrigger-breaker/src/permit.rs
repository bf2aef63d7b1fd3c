//! What a call gets, and what becomes of it.

use std::time::{Duration, Instant};

use outrigger_core::{CircuitState, Outcome};

use crate::breaker::Shared;
use crate::sync::Arc;

/// The right to make one call.
///
/// It belongs to the state that issued it: an outcome that comes when the circuit has moved on is
/// not counted. Dropped without an outcome it counts as [`Outcome::Ignored`], and a probe's place
/// goes to the next call; so a future that is cancelled, or that panics, leaves nothing behind.
#[derive(Debug)]
#[must_use = "a permit that is dropped counts for nothing: record the call's outcome"]
pub struct Permit {
    shared: Arc<Shared>,
    generation: u64,
    role: Role,
}

/// What a permit's outcome is good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// It goes into the window.
    Counted,
    /// It decides on half-open.
    Probe(u64),
    /// Nothing: the circuit is disabled, or the outcome is recorded.
    Idle,
    /// Nothing: the call would have been rejected were the circuit not only observed.
    Spared,
}

impl Permit {
    #[inline]
    pub(crate) const fn new(shared: Arc<Shared>, generation: u64, role: Role) -> Self {
        Self { shared, generation, role }
    }

    /// Records what became of the call and how long it took, to the head of its response.
    #[inline]
    pub fn record(mut self, outcome: Outcome, elapsed: Duration, now: Instant) {
        match self.role {
            Role::Counted => self.shared.count(self.generation, outcome, elapsed, now),
            Role::Probe(id) => {
                self.role = Role::Idle;
                self.shared.judge(self.generation, id, outcome, elapsed, now);
            }
            Role::Idle | Role::Spared => {}
        }
    }

    /// Whether this call is a probe, on which the circuit's fate depends.
    #[must_use]
    pub const fn is_probe(&self) -> bool {
        matches!(self.role, Role::Probe(_))
    }

    /// Whether the call would have been rejected, were the circuit not in [`Mode::Observe`].
    ///
    /// [`Mode::Observe`]: crate::Mode::Observe
    #[must_use]
    pub const fn is_spared(&self) -> bool {
        matches!(self.role, Role::Spared)
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if let Role::Probe(id) = self.role {
            self.shared.give_back(self.generation, id);
        }
    }
}

/// A call was rejected: the circuit is open, or half-open with all probes under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the circuit is {}", .state.as_str())]
#[non_exhaustive]
pub struct Open {
    /// Open or half-open.
    pub state: CircuitState,
    /// Until the next probe may be made; never zero. Forced open: the configured open time.
    pub retry_after: Duration,
}
