//! failsafe's state machine, with our window as its policy and an atomic as its mirror.

use std::fmt;
use std::hint;
use std::time::Duration;

use failsafe::{FailurePolicy, Instrument, StateMachine};

use crate::sync::{Arc, AtomicBool, AtomicU64, Ordering};

/// What a call meets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Path {
    Closed,
    Open,
    HalfOpen,
    Disabled,
    ForcedOpen,
}

/// State and generation in one word, so that a call learns both with one read and without a lock.
///
/// The generation rises with every change of state. Written under the breaker's lock only.
#[derive(Debug)]
pub(crate) struct Word(AtomicU64);

/// A word as it was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Reading(u64);

const PATH: u64 = 0b0111;
const OBSERVE: u64 = 0b1000;
const GENERATION: u32 = 4;

impl Word {
    #[inline]
    pub(crate) fn load(&self) -> Reading {
        Reading(self.0.load(Ordering::SeqCst))
    }

    /// Goes to another state, with a generation of its own.
    pub(crate) fn enter(&self, path: Path) {
        let before = self.0.load(Ordering::SeqCst);
        let generation = (before >> GENERATION) + 1;
        let next = generation << GENERATION | before & OBSERVE | path as u64;
        self.0.store(next, Ordering::SeqCst);
    }

    /// Whether the verdict is only told, not obeyed.
    pub(crate) fn observe(&self, observe: bool) {
        let before = self.0.load(Ordering::SeqCst);
        let next = if observe { before | OBSERVE } else { before & !OBSERVE };
        self.0.store(next, Ordering::SeqCst);
    }
}

impl Reading {
    #[inline]
    pub(crate) const fn is_closed(self) -> bool {
        self.0 & PATH == Path::Closed as u64
    }

    #[inline]
    pub(crate) const fn generation(self) -> u64 {
        self.0 >> GENERATION
    }

    pub(crate) const fn is_observed(self) -> bool {
        self.0 & OBSERVE != 0
    }

    pub(crate) const fn path(self) -> Path {
        match self.0 & PATH {
            0 => Path::Closed,
            1 => Path::Open,
            2 => Path::HalfOpen,
            3 => Path::Disabled,
            _ => Path::ForcedOpen,
        }
    }
}

/// A policy of the user's own.
type Foreign = Box<dyn FailurePolicy + Send>;

/// failsafe's machine; every call of it happens under the breaker's lock.
pub(crate) struct Machine {
    machine: StateMachine<Gate, Mirror>,
    word: Arc<Word>,
    orders: Arc<Orders>,
    /// Whether a policy of the user's own decides.
    is_foreign: bool,
}

impl fmt::Debug for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.machine, f)
    }
}

impl Machine {
    /// A closed machine, and the word that mirrors it.
    pub(crate) fn new(foreign: Option<Foreign>) -> (Self, Arc<Word>) {
        let word = Arc::new(Word(AtomicU64::new(0)));
        let orders = Arc::new(Orders::default());
        let is_foreign = foreign.is_some();
        let gate = Gate { orders: Arc::clone(&orders), foreign };
        let mirror = Mirror { word: Arc::clone(&word), orders: Arc::clone(&orders) };
        let machine = StateMachine::new(gate, mirror);
        (Self { machine, word: Arc::clone(&word), orders, is_foreign }, word)
    }

    pub(crate) const fn is_foreign(&self) -> bool {
        self.is_foreign
    }

    /// Closed or half-open → open, by our own verdict. A span of the foreign policy's own wins.
    pub(crate) fn trip(&self) -> Option<Duration> {
        self.orders.trip.store(true, Ordering::SeqCst);
        self.machine.on_error();
        self.orders.trip.store(false, Ordering::SeqCst);
        self.orders.take_span()
    }

    /// Tells the foreign policy of a failure while closed; the span for which it opened.
    pub(crate) fn failure(&self) -> Option<Duration> {
        self.machine.on_error();
        self.orders.take_span()
    }

    /// Tells the foreign policy of a success while closed.
    pub(crate) fn success(&self) {
        self.machine.on_success();
    }

    /// Open → half-open. `false` when the system's clock stands still or has gone back.
    ///
    /// failsafe opens for no time at all and compares with `>` on the system's own clock, so the
    /// first question may come too early by a tick of it, some 20 to 100 ns.
    pub(crate) fn half_open(&self) -> bool {
        const TICKS: u32 = 10_000;
        for _ in 0..TICKS {
            if self.machine.is_call_permitted() {
                return true;
            }
            hint::spin_loop();
        }
        // The clock was set back since the machine opened, which a monotonic clock forbids and a
        // faked or migrated one does all the same. Opened anew it is right again in a tick.
        self.orders.mute.store(true, Ordering::SeqCst);
        self.machine.reset();
        let _span_of_no_account = self.trip();
        self.orders.mute.store(false, Ordering::SeqCst);
        (0..TICKS).any(|_| {
            hint::spin_loop();
            self.machine.is_call_permitted()
        })
    }

    /// Half-open → closed, by the success of the last probe.
    pub(crate) fn recover(&self) {
        self.machine.on_success();
    }

    /// Open or half-open → closed, by order; nothing when it is closed already.
    pub(crate) fn reset(&self) {
        self.machine.reset();
    }

    /// Closed → a state that failsafe does not know.
    pub(crate) fn bypass(&self, path: Path) {
        self.word.enter(path);
    }
}

/// What the machine's halves tell each other; under the breaker's lock as well.
#[derive(Debug, Default)]
struct Orders {
    /// The next failure trips.
    trip: AtomicBool,
    /// The mirror looks away.
    mute: AtomicBool,
    /// For how long the foreign policy wants it open, in nanoseconds plus one; 0 for no wish.
    span: AtomicU64,
}

impl Orders {
    fn wish(&self, span: Duration) {
        let nanos = u64::try_from(span.as_nanos()).unwrap_or(u64::MAX - 1);
        self.span.store(nanos.saturating_add(1), Ordering::SeqCst);
    }

    fn take_span(&self) -> Option<Duration> {
        self.span.swap(0, Ordering::SeqCst).checked_sub(1).map(Duration::from_nanos)
    }
}

/// failsafe's policy: trips when our window says so, or when the user's own policy does.
struct Gate {
    orders: Arc<Orders>,
    foreign: Option<Foreign>,
}

impl FailurePolicy for Gate {
    fn record_success(&mut self) {
        if let Some(policy) = &mut self.foreign {
            policy.record_success();
        }
    }

    fn mark_dead_on_failure(&mut self) -> Option<Duration> {
        // The open time runs on our clock, so failsafe's own is none.
        if self.orders.mute.load(Ordering::SeqCst) {
            return Some(Duration::ZERO);
        }
        if let Some(policy) = &mut self.foreign {
            let span = policy.mark_dead_on_failure();
            if let Some(span) = span {
                self.orders.wish(span);
            }
            return span.map(|_| Duration::ZERO);
        }
        self.orders.trip.load(Ordering::SeqCst).then_some(Duration::ZERO)
    }

    fn revived(&mut self) {
        if self.orders.mute.load(Ordering::SeqCst) {
            return;
        }
        if let Some(policy) = &mut self.foreign {
            policy.revived();
        }
    }
}

/// failsafe's instrument: writes its state into the word.
#[derive(Debug)]
struct Mirror {
    word: Arc<Word>,
    orders: Arc<Orders>,
}

impl Mirror {
    fn show(&self, path: Path) {
        if !self.orders.mute.load(Ordering::SeqCst) {
            self.word.enter(path);
        }
    }
}

impl Instrument for Mirror {
    fn on_call_rejected(&self) {}

    fn on_open(&self) {
        self.show(Path::Open);
    }

    fn on_half_open(&self) {
        self.show(Path::HalfOpen);
    }

    fn on_closed(&self) {
        self.show(Path::Closed);
    }
}
