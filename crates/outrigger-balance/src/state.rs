//! What is remembered of one endpoint.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Instant;

use outrigger_core::{EjectionCause, Endpoint, Status};

use crate::config::SlowStart;
use crate::estimate::{Answers, Doubt, Estimate, Nanos, Waiting};
use crate::set::Core;

/// One endpoint of the set in use, and what is remembered of it.
#[derive(Debug)]
pub(crate) struct Member {
    pub(crate) endpoint: Endpoint,
    pub(crate) state: Arc<State>,
}

impl Member {
    pub(crate) fn is_critical(&self) -> bool {
        self.endpoint.instance().status == Status::Critical
    }

    pub(crate) fn weight(&self) -> u16 {
        self.endpoint.instance().weight()
    }
}

/// What is remembered of one endpoint, over all changes of the set.
///
/// The fields that a request touches are atomics, each right by itself; nothing here needs two of
/// them to agree.
#[derive(Debug)]
pub(crate) struct State {
    /// Requests from the pick to the head of the answer.
    pub(crate) waiting: Waiting,
    /// Answers that were judged, and those whose bodies are on their way.
    pub(crate) answers: Answers,
    pub(crate) latency: Estimate,
    pub(crate) doubt: Doubt,
    /// Judged answers that were failures.
    pub(crate) failures: AtomicU64,
    /// Those of them that count towards ejection.
    pub(crate) errors: AtomicU64,
    /// Errors since the last answer that was none.
    pub(crate) in_a_row: AtomicU32,
    pub(crate) ejected: AtomicBool,
    /// Tries begun before this say nothing about the endpoint as it is now: it was ejected then.
    pub(crate) judged_from: AtomicU64,
    /// When slow start began; 0 when it is over.
    pub(crate) warm_from: AtomicU64,
    /// The hash of its id and address: its place on rings and in apertures.
    pub(crate) key: u64,
    pub(crate) origin: Instant,
    pub(crate) total: Arc<AtomicU64>,
    pub(crate) core: Weak<Core>,
    ledger: Mutex<Ledger>,
}

/// What only sweeps, ejections and updates touch, under the set's lock.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    /// How many times `base_time` the next ejection lasts, less one.
    pub(crate) multiplier: u32,
    pub(crate) ejection: Option<Ejection>,
    pub(crate) swept_requests: u64,
    pub(crate) swept_errors: u64,
    /// Since when it has been absent or critical.
    pub(crate) away_since: Option<Nanos>,
    pub(crate) boot: Option<Arc<str>>,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Ejection {
    pub(crate) until: Nanos,
    pub(crate) cause: EjectionCause,
}

impl State {
    pub(crate) fn new(
        key: u64,
        boot: Option<Arc<str>>,
        origin: Instant,
        total: Arc<AtomicU64>,
        core: Weak<Core>,
    ) -> Self {
        Self {
            waiting: Waiting::default(),
            answers: Answers::default(),
            latency: Estimate::default(),
            doubt: Doubt::default(),
            failures: AtomicU64::new(0),
            errors: AtomicU64::new(0),
            in_a_row: AtomicU32::new(0),
            ejected: AtomicBool::new(false),
            judged_from: AtomicU64::new(0),
            warm_from: AtomicU64::new(0),
            key,
            origin,
            total,
            core,
            ledger: Mutex::new(Ledger { boot, ..Ledger::default() }),
        }
    }

    /// Requests from the pick to the end of the answer's body.
    #[inline]
    pub(crate) fn in_flight(&self) -> u32 {
        self.waiting.count() + self.answers.bodies()
    }

    /// Locked only while the set's lock is held, so it never waits.
    pub(crate) fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }

    #[inline]
    pub(crate) fn nanos(&self, now: Instant) -> Nanos {
        nanos(self.origin, now)
    }

    /// How slow an answer is, in nanoseconds over the root of one more than `queue`: by what was
    /// answered, by what waits if that is older, and 5 s more while the endpoint is doubted.
    #[inline]
    pub(crate) fn cost(&self, queue: f32, now: Nanos) -> Option<f32> {
        let answered = self.latency.read(now);
        let doubt = self.doubt.cost(now);
        if queue == 0.0 {
            // Nothing waits, and the root is 1.
            return match answered {
                Some(answered) => Some(answered + doubt),
                // One that has never done anything but fail is known well enough.
                None => (doubt > 0.0).then_some(doubt),
            };
        }
        let per_root = 1.0 / (1.0 + queue).sqrt();
        match answered {
            Some(answered) => {
                Some(answered.max(self.waiting.mean_age(now) * per_root) + doubt * per_root)
            }
            None => (doubt > 0.0).then_some(doubt * per_root),
        }
    }

    /// The share of its weight that it gets while it warms up.
    pub(crate) fn ramp(&self, now: Nanos, slow: &SlowStart) -> f32 {
        let from = self.warm_from.load(Relaxed);
        if from == 0 {
            return 1.0;
        }
        let grown = now.saturating_sub(from) as f64 / slow.window.as_nanos() as f64;
        if grown >= 1.0 {
            return 1.0;
        }
        let grown =
            if slow.aggression == 1.0 { grown } else { grown.powf(slow.aggression.recip()) };
        grown.max(slow.floor.get()) as f32
    }
}

/// Time since the origin; what lies before it is the origin.
#[inline]
pub(crate) fn nanos(origin: Instant, now: Instant) -> Nanos {
    let since = now.saturating_duration_since(origin);
    // Enough for 584 years.
    since.as_secs().wrapping_mul(1_000_000_000).wrapping_add(u64::from(since.subsec_nanos()))
}
