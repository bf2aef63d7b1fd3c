//! The circuit: what is asked before a call and told afterwards.

use std::fmt;
use std::sync::PoisonError;
use std::time::{Duration, Instant};

use failsafe::FailurePolicy;
use outrigger_core::{CircuitState, Event, Observers, Outcome, Reason, RouteName, ServiceName};

use crate::config::{BreakerConfig, ConfigError, Mode, Window};
use crate::control::Control;
use crate::machine::{Machine, Path, Reading, Word};
use crate::permit::{Open, Permit, Role};
use crate::sync::{Arc, AtomicU64, Mutex, MutexGuard, Ordering, Swap};
use crate::transition::{Cause, Listener, Transition};
use crate::window::{CallWindow, Mark, Run, Settled, Sliding, Tally, TimeWindow};

/// A circuit: closed, open, half-open. A clone is another handle to the same one.
///
/// Cost: [`admit`](Self::admit) and [`Permit::record`] take no lock while the circuit is closed,
/// and none to reject while it is open; nothing allocates but a change of state.
#[derive(Clone, Debug)]
pub struct Breaker {
    shared: Arc<Shared>,
}

impl Breaker {
    /// A closed circuit. `seed` makes the jitter of open times: another one in each process.
    ///
    /// # Errors
    /// [`ConfigError`] names the value that is out of range.
    pub fn new(config: BreakerConfig, seed: u64, now: Instant) -> Result<Self, ConfigError> {
        Self::builder(config).seed(seed).build(now)
    }

    /// A circuit that tells its transitions, or that opens by a policy of the user's own.
    pub const fn builder(config: BreakerConfig) -> BreakerBuilder {
        BreakerBuilder { config, seed: 0, listener: None, spared: None, policy: None }
    }

    /// Asks whether a call may be made.
    ///
    /// # Errors
    /// [`Open`] when the circuit is open, or half-open with all its probes under way. Another call
    /// makes sense after `retry_after`.
    #[inline]
    pub fn admit(&self, now: Instant) -> Result<Permit, Open> {
        let reading = self.shared.word.load();
        if reading.is_closed() {
            return Ok(self.permit(reading.generation(), Role::Counted));
        }
        self.admit_otherwise(reading, now)
    }

    #[cold]
    fn admit_otherwise(&self, reading: Reading, now: Instant) -> Result<Permit, Open> {
        match self.shared.gate(reading, now) {
            Ok((generation, role)) => Ok(self.permit(generation, role)),
            Err(_) if reading.is_observed() => {
                if let Some(spared) = &self.shared.spared {
                    (spared.0)();
                }
                Ok(self.permit(reading.generation(), Role::Spared))
            }
            Err(open) => Err(open),
        }
    }

    #[inline]
    fn permit(&self, generation: u64, role: Role) -> Permit {
        Permit::new(Arc::clone(&self.shared), generation, role)
    }

    /// Looks whether a call would be rejected, and changes nothing; what is seen may be over when
    /// the call is made.
    ///
    /// # Errors
    /// [`Open`] when the call would be rejected now.
    pub fn peek(&self, now: Instant) -> Result<(), Open> {
        let (shared, reading) = (&*self.shared, self.shared.word.load());
        if reading.is_closed() || reading.is_observed() {
            return Ok(());
        }
        match reading.path() {
            Path::Closed | Path::Disabled => Ok(()),
            Path::ForcedOpen => Err(shared.forced()),
            path @ (Path::Open | Path::HalfOpen) => {
                let (nanos, until) = (shared.nanos(now), shared.until());
                if nanos < until { Err(shared.refusal(path, until - nanos)) } else { Ok(()) }
            }
        }
    }

    /// The state, as a listener was told it; a stay in half-open that is over ends here.
    ///
    /// An open circuit whose time is over is still open: the next call makes it half-open.
    #[must_use]
    pub fn state(&self, now: Instant) -> CircuitState {
        let shared = &*self.shared;
        if shared.word.load().path() == Path::HalfOpen {
            let nanos = shared.nanos(now);
            shared.locked(|control| control.end_stay(shared, nanos));
        }
        state_of(shared.word.load().path())
    }

    /// What the window holds; nothing while another policy decides.
    #[must_use]
    pub fn tally(&self, now: Instant) -> Tally {
        self.shared.core.load().window.tally(self.shared.nanos(now))
    }

    /// The configuration in use.
    #[must_use]
    pub fn config(&self) -> BreakerConfig {
        self.shared.core.load().config.clone()
    }

    /// Takes another configuration over.
    ///
    /// State, open time and probes stay. The counts stay as long as `window` is the same. From and
    /// to a mode that does not judge, forced open or disabled, everything starts anew.
    ///
    /// # Errors
    /// [`ConfigError`] names the value that is out of range; nothing changes then.
    pub fn reconfigure(&self, config: BreakerConfig, now: Instant) -> Result<(), ConfigError> {
        config.validate()?;
        let nanos = self.shared.nanos(now);
        self.shared.locked(|control| control.reconfigure(&self.shared, config, nanos));
        Ok(())
    }

    /// Closes an open or half-open circuit and clears its counts; an operator's order. Nothing
    /// happens while the circuit is forced open or disabled.
    pub fn reset(&self, now: Instant) {
        let nanos = self.shared.nanos(now);
        self.shared.locked(|control| control.reset(&self.shared, nanos));
    }
}

/// What a [`Breaker`] is made of.
#[must_use = "nothing is made before `build`"]
pub struct BreakerBuilder {
    config: BreakerConfig,
    seed: u64,
    listener: Option<Listener>,
    spared: Option<OnSpared>,
    policy: Option<Box<dyn FailurePolicy + Send>>,
}

impl fmt::Debug for BreakerBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BreakerBuilder")
            .field("config", &self.config)
            .field("seed", &self.seed)
            .field("policy", &self.policy.is_some())
            .finish_non_exhaustive()
    }
}

impl BreakerBuilder {
    /// Where the jitter of open times comes from; with the same seed it is the same. Default 0.
    pub const fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// Is told each transition once, in order, by one thread at a time.
    ///
    /// It may ask the circuit. What it does delays the call that brought the transition about.
    pub fn listener(mut self, listener: impl Fn(&Transition) + Send + Sync + 'static) -> Self {
        self.listener = Some(Listener(Box::new(listener)));
        self
    }

    /// Emits each transition as [`Event::CircuitChanged`], which takes the listener's place, and
    /// each call that a circuit in [`Mode::Observe`] would have rejected as [`Event::Spared`].
    pub fn observers(
        mut self,
        observers: Observers,
        service: ServiceName,
        route: RouteName,
    ) -> Self {
        if observers.hears_requests() {
            let (observers, service, route) = (observers.clone(), service.clone(), route.clone());
            self.spared = Some(OnSpared(Box::new(move || {
                observers.emit(&Event::Spared {
                    service: &service,
                    route: &route,
                    reason: Reason::CircuitOpen,
                    rule: "breaker",
                });
            })));
        }
        self.listener(move |transition| {
            observers.emit(&Event::CircuitChanged {
                service: &service,
                route: &route,
                from: transition.from,
                to: transition.to,
            });
        })
    }

    /// Lets a policy of failsafe's kind decide when to open, and for how long.
    ///
    /// It takes the place of the window and its ratios, and is asked under a lock. It is told of
    /// each outcome that counts; a slow call is told as a failure where `slow_call` is set. The
    /// time that it answers is raised to 1 ms and cut to `max_open_for`.
    pub fn policy(mut self, policy: impl FailurePolicy + Send + 'static) -> Self {
        self.policy = Some(Box::new(policy));
        self
    }

    /// Makes the circuit, closed unless its mode says otherwise.
    ///
    /// # Errors
    /// [`ConfigError`] names the value that is out of range.
    pub fn build(self, now: Instant) -> Result<Breaker, ConfigError> {
        self.config.validate()?;
        let (machine, word) = Machine::new(self.policy);
        let core = Core::new(self.config.clone(), word.load().generation(), &machine, 0);
        let shared = Shared {
            word,
            until: AtomicU64::new(0),
            core: Swap::new(core),
            origin: now,
            seed: self.seed,
            control: Mutex::new(Control::new(machine)),
            listener: self.listener,
            spared: self.spared,
        };
        shared.lock().take_mode(&shared, Mode::Enforce, self.config.mode, 0);
        Ok(Breaker { shared: Arc::new(shared) })
    }
}

/// What all handles and permits share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) word: Arc<Word>,
    /// Calls before it, in nanoseconds, are rejected without a look behind the lock; matters in
    /// open and half-open only.
    pub(crate) until: AtomicU64,
    pub(crate) core: Swap<Core>,
    pub(crate) origin: Instant,
    pub(crate) seed: u64,
    control: Mutex<Control>,
    pub(crate) listener: Option<Listener>,
    spared: Option<OnSpared>,
}

/// Is told of calls that would have been rejected.
struct OnSpared(Box<dyn Fn() + Send + Sync>);

impl fmt::Debug for OnSpared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OnSpared")
    }
}

/// What is read per outcome and replaced as a whole: with each closed state, and on a reload.
#[derive(Debug)]
pub(crate) struct Core {
    pub(crate) config: BreakerConfig,
    /// The closed state that the window belongs to.
    pub(crate) generation: u64,
    pub(crate) window: Arc<Sliding>,
    pub(crate) run: Arc<Run>,
    pub(crate) settled: Settled,
}

impl Core {
    pub(crate) fn new(
        config: BreakerConfig,
        generation: u64,
        machine: &Machine,
        nanos: u64,
    ) -> Self {
        let window = Self::window(&config, machine, nanos);
        let settled = Settled::default();
        Self { config, generation, window, run: Arc::new(Run::default()), settled }
    }

    pub(crate) fn window(config: &BreakerConfig, machine: &Machine, nanos: u64) -> Arc<Sliding> {
        Arc::new(match config.window {
            _ if machine.is_foreign() => Sliding::Foreign,
            Window::Time(length) => Sliding::Time(TimeWindow::new(nanos_of(length), nanos)),
            Window::Calls(calls) => Sliding::Calls(CallWindow::new(calls)),
        })
    }

    #[inline]
    fn mark(&self, outcome: Outcome, elapsed: Duration) -> Option<Mark> {
        let slow = self.config.slow_call.is_some_and(|slow| elapsed >= slow.after);
        match outcome {
            Outcome::Success => Some(Mark { failed: false, slow }),
            Outcome::Failure => Some(Mark { failed: true, slow }),
            // What says nothing about the endpoint counts for nothing: neither as good nor as bad,
            // nor towards the minimum of calls.
            _ => None,
        }
    }

    #[inline]
    const fn holds_enough(&self, tally: Tally) -> bool {
        tally.total >= self.config.min_calls.get() as u64
    }

    /// Why the circuit should open now.
    #[inline]
    fn verdict(&self, tally: Option<Tally>, run: u32) -> Option<Cause> {
        let config = &self.config;
        if config.consecutive_failures.is_some_and(|most| run >= most.get()) {
            return Some(Cause::ConsecutiveFailures);
        }
        let tally = tally.filter(|&tally| self.holds_enough(tally))?;
        if config.failure_ratio.is_reached_by(tally.failed, tally.total) {
            return Some(Cause::FailureRatio);
        }
        let slow = config.slow_call?;
        slow.ratio.is_reached_by(tally.slow, tally.total).then_some(Cause::SlowRatio)
    }
}

impl Shared {
    /// Time since the circuit was made. A `now` from before that, which another thread's clock
    /// reading may be, is taken as that moment.
    #[inline]
    fn nanos(&self, now: Instant) -> u64 {
        nanos_of(now.saturating_duration_since(self.origin))
    }

    pub(crate) fn until(&self) -> u64 {
        self.until.load(Ordering::SeqCst)
    }

    fn lock(&self) -> MutexGuard<'_, Control> {
        // Whatever panics under the lock is foreign code inside failsafe, between two changes.
        self.control.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does something under the lock, then tells what came of it.
    fn locked<T>(&self, act: impl FnOnce(&mut Control) -> T) -> T {
        let mut control = self.lock();
        let answer = act(&mut control);
        if let Some(listener) = &self.listener {
            self.tell(control, listener);
        }
        answer
    }

    fn tell<'a>(&'a self, mut control: MutexGuard<'a, Control>, listener: &Listener) {
        /// Lets others go on when the listener panics.
        struct Telling<'a>(&'a Shared, bool);

        impl Drop for Telling<'_> {
            fn drop(&mut self) {
                if !self.1 {
                    self.0.lock().outbox.abandon();
                }
            }
        }

        if control.outbox.is_telling() {
            return;
        }
        let mut telling = Telling(self, true);
        while let Some(transition) = control.outbox.next() {
            drop(control);
            telling.1 = false;
            (listener.0)(&transition);
            telling.1 = true;
            control = self.lock();
        }
    }

    /// Asks what lies behind anything but closed.
    fn gate(&self, reading: Reading, now: Instant) -> Result<(u64, Role), Open> {
        let nanos = self.nanos(now);
        match reading.path() {
            Path::Disabled => Ok((reading.generation(), Role::Idle)),
            Path::ForcedOpen => Err(self.forced()),
            path @ (Path::Open | Path::HalfOpen) => {
                let until = self.until();
                if nanos < until {
                    return Err(self.refusal(path, until - nanos));
                }
                self.locked(|control| control.admit(self, nanos))
            }
            Path::Closed => Ok((reading.generation(), Role::Counted)),
        }
    }

    fn forced(&self) -> Open {
        Open { state: CircuitState::Open, retry_after: self.core.load().config.open_for }
    }

    pub(crate) fn refusal(&self, path: Path, wait: u64) -> Open {
        let mut retry_after = Duration::from_nanos(wait.max(1));
        if path == Path::HalfOpen {
            // The probes will most likely be answered long before their leases end.
            retry_after = retry_after.min(self.core.load().config.open_for);
        }
        Open { state: state_of(path), retry_after }
    }

    /// Counts an outcome of a call that was admitted while closed.
    #[inline]
    pub(crate) fn count(&self, generation: u64, outcome: Outcome, elapsed: Duration, now: Instant) {
        let core = self.core.load();
        if core.generation != generation {
            return;
        }
        let Some(mark) = core.mark(outcome, elapsed) else { return };
        let nanos = self.nanos(now);
        if matches!(*core.window, Sliding::Foreign) {
            let failed = mark.failed || mark.slow;
            return self.locked(|control| control.ask_policy(self, generation, failed, nanos));
        }
        let tally = core.window.record(nanos, mark, &core.settled);
        let run = core.run.record(mark.failed);
        if let Some(cause) = core.verdict(tally, run) {
            drop(core);
            self.trip(generation, cause, nanos);
        } else if tally.is_some_and(|tally| core.holds_enough(tally)) {
            core.window.settle(nanos, &core.settled);
        }
    }

    #[cold]
    fn trip(&self, generation: u64, cause: Cause, nanos: u64) {
        self.locked(|control| control.trip(self, generation, cause, nanos));
    }

    /// Takes the outcome of a probe.
    pub(crate) fn judge(
        &self,
        generation: u64,
        id: u64,
        outcome: Outcome,
        elapsed: Duration,
        now: Instant,
    ) {
        let mark = self.core.load().mark(outcome, elapsed);
        match mark {
            Some(mark) => {
                let (good, nanos) = (!mark.failed && !mark.slow, self.nanos(now));
                self.locked(|control| control.judge(self, generation, id, good, nanos));
            }
            None => self.give_back(generation, id),
        }
    }

    /// A probe ended without saying anything.
    pub(crate) fn give_back(&self, generation: u64, id: u64) {
        self.locked(|control| control.give_back(self, generation, id));
    }
}

pub(crate) const fn state_of(path: Path) -> CircuitState {
    match path {
        Path::Closed | Path::Disabled => CircuitState::Closed,
        Path::Open | Path::ForcedOpen => CircuitState::Open,
        Path::HalfOpen => CircuitState::HalfOpen,
    }
}

pub(crate) fn nanos_of(span: Duration) -> u64 {
    // 584 years; saturating costs nothing and cannot be reached.
    u64::try_from(span.as_nanos()).unwrap_or(u64::MAX)
}
