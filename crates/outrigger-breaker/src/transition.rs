//! What is told to others.

use std::collections::VecDeque;
use std::fmt;
use std::time::Instant;

use outrigger_core::CircuitState;

/// A change of a circuit's state; each is told once, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Transition {
    /// The state before.
    pub from: CircuitState,
    /// The state now.
    pub to: CircuitState,
    /// What brought it about.
    pub cause: Cause,
    /// When.
    pub at: Instant,
}

/// What brought a change of state about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Cause {
    /// Too large a share of failed calls.
    FailureRatio,
    /// Too large a share of slow calls.
    SlowRatio,
    /// Too many failures in a row.
    ConsecutiveFailures,
    /// The user's own policy said so.
    Policy,
    /// The open time was over, and a call came.
    Waited,
    /// A probe failed or was slow.
    ProbeFailed,
    /// All probes succeeded.
    Recovered,
    /// Half-open lasted for as long as it may.
    StayOver,
    /// An operator or a reload changed the mode or the parameters.
    Reconfigured,
    /// An operator closed it.
    Reset,
}

impl Cause {
    /// The word used in logs.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::FailureRatio => "failure_ratio",
            Self::SlowRatio => "slow_ratio",
            Self::ConsecutiveFailures => "consecutive_failures",
            Self::Policy => "policy",
            Self::Waited => "waited",
            Self::ProbeFailed => "probe_failed",
            Self::Recovered => "recovered",
            Self::StayOver => "stay_over",
            Self::Reconfigured => "reconfigured",
            Self::Reset => "reset",
        }
    }
}

/// Whoever is told.
pub(crate) struct Listener(pub(crate) Box<dyn Fn(&Transition) + Send + Sync>);

impl fmt::Debug for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Listener")
    }
}

/// Transitions that were made and not yet told.
///
/// They are told outside of the lock, since a listener may ask the circuit; by one thread at a
/// time, since the order would be lost otherwise.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    waiting: VecDeque<Transition>,
    telling: bool,
}

impl Outbox {
    pub(crate) fn push(&mut self, transition: Transition) {
        self.waiting.push_back(transition);
    }

    pub(crate) const fn is_telling(&self) -> bool {
        self.telling
    }

    /// The next to tell; `None` ends the telling.
    pub(crate) fn next(&mut self) -> Option<Transition> {
        let next = self.waiting.pop_front();
        self.telling = next.is_some();
        next
    }

    /// Another thread may go on telling: the listener panicked.
    pub(crate) const fn abandon(&mut self) {
        self.telling = false;
    }
}
