//! What happens under the lock: every change of state.

use std::time::Duration;

use crate::breaker::{Core, Shared, nanos_of, state_of};
use crate::config::{BreakerConfig, Mode};
use crate::machine::{Machine, Path};
use crate::permit::{Open, Role};
use crate::sync::Ordering;
use crate::transition::{Cause, Outbox, Transition};
use crate::window::Settled;

/// All that is not needed while the circuit is closed.
#[derive(Debug)]
pub(crate) struct Control {
    machine: Machine,
    /// Trips in a row without a recovery in between, less one: by it the open time doubles.
    doublings: u32,
    /// The last open time, before jitter.
    base: Duration,
    half_open: HalfOpen,
    pub(crate) outbox: Outbox,
}

/// The probes of one stay in half-open.
#[derive(Debug, Default)]
struct HalfOpen {
    /// When the stay is over.
    ends: u64,
    succeeded: u32,
    under_way: Vec<Probe>,
    next_id: u64,
}

#[derive(Debug)]
struct Probe {
    id: u64,
    lease_ends: u64,
}

impl Control {
    pub(crate) fn new(machine: Machine) -> Self {
        Self {
            machine,
            doublings: 0,
            base: Duration::ZERO,
            half_open: HalfOpen::default(),
            outbox: Outbox::default(),
        }
    }

    /// Asks for a call when the circuit is not closed, or was not a moment ago.
    pub(crate) fn admit(&mut self, shared: &Shared, nanos: u64) -> Result<(u64, Role), Open> {
        self.end_stay(shared, nanos);
        let mut path = shared.word.load().path();
        if path == Path::Open && nanos >= shared.until() && self.half_open(shared, nanos) {
            path = Path::HalfOpen;
        }
        let generation = shared.word.load().generation();
        match path {
            Path::HalfOpen => match self.half_open.admit(&shared.core.load().config, nanos) {
                Some(id) => {
                    self.close_gate(shared);
                    Ok((generation, Role::Probe(id)))
                }
                None => Err(shared.refusal(path, shared.until().saturating_sub(nanos))),
            },
            Path::Open => Err(shared.refusal(path, shared.until().saturating_sub(nanos))),
            Path::Closed => Ok((generation, Role::Counted)),
            Path::Disabled => Ok((generation, Role::Idle)),
            Path::ForcedOpen => {
                Err(shared.refusal(path, nanos_of(shared.core.load().config.open_for)))
            }
        }
    }

    /// Closed → open, unless somebody was faster.
    pub(crate) fn trip(&mut self, shared: &Shared, generation: u64, cause: Cause, nanos: u64) {
        let reading = shared.word.load();
        if reading.is_closed() && reading.generation() == generation {
            self.doublings = 0;
            self.open(shared, cause, nanos);
        }
    }

    /// Tells the user's own policy of an outcome; it may open the circuit.
    pub(crate) fn ask_policy(
        &mut self,
        shared: &Shared,
        generation: u64,
        failed: bool,
        nanos: u64,
    ) {
        let reading = shared.word.load();
        if !reading.is_closed() || reading.generation() != generation {
            return;
        }
        if !failed {
            self.machine.success();
        } else if let Some(span) = self.machine.failure() {
            self.doublings = 0;
            self.opened(shared, Cause::Policy, Path::Closed, nanos, Some(span));
        }
    }

    /// Takes the outcome of a probe.
    pub(crate) fn judge(
        &mut self,
        shared: &Shared,
        generation: u64,
        id: u64,
        good: bool,
        nanos: u64,
    ) {
        self.end_stay(shared, nanos);
        let reading = shared.word.load();
        if reading.path() != Path::HalfOpen || reading.generation() != generation {
            return;
        }
        self.half_open.forget(id);
        if !good {
            self.doublings = self.doublings.saturating_add(1);
            self.open(shared, Cause::ProbeFailed, nanos);
            return;
        }
        self.half_open.succeeded += 1;
        if self.half_open.succeeded >= shared.core.load().config.probes.get() {
            self.close(shared, Cause::Recovered, nanos);
        } else {
            self.close_gate(shared);
        }
    }

    /// A probe ended without saying anything: its place is free at once.
    pub(crate) fn give_back(&mut self, shared: &Shared, generation: u64, id: u64) {
        let reading = shared.word.load();
        if reading.path() == Path::HalfOpen && reading.generation() == generation {
            self.half_open.forget(id);
            self.close_gate(shared);
        }
    }

    /// Half-open → closed or open when it has lasted for too long.
    ///
    /// A probe that succeeded, with none failed and none under way, is enough here: a service that
    /// is called rarely would never get its last probe otherwise.
    pub(crate) fn end_stay(&mut self, shared: &Shared, nanos: u64) {
        let half_open = &self.half_open;
        if shared.word.load().path() != Path::HalfOpen || nanos < half_open.ends {
            return;
        }
        if half_open.succeeded > 0 && half_open.under_way.is_empty() {
            self.close(shared, Cause::StayOver, nanos);
        } else {
            // Opened when the stay ended and not when somebody looks: a circuit that nobody asked
            // in the meantime does not make its next caller wait once more.
            let since = self.half_open.ends;
            self.open(shared, Cause::StayOver, since);
        }
    }

    /// Open or half-open → closed, by order.
    pub(crate) fn reset(&mut self, shared: &Shared, nanos: u64) {
        if matches!(shared.word.load().path(), Path::Open | Path::HalfOpen) {
            let from = shared.word.load().path();
            let config = shared.core.load().config.clone();
            self.restart(shared, config, nanos);
            self.note(shared, from, Cause::Reset, nanos);
        }
    }

    /// Takes another configuration over.
    pub(crate) fn reconfigure(&mut self, shared: &Shared, config: BreakerConfig, nanos: u64) {
        self.end_stay(shared, nanos);
        let core = shared.core.load();
        if core.config == config {
            return;
        }
        let (before, after) = (core.config.mode, config.mode);
        let window = if core.config.window == config.window {
            core.window.clone()
        } else {
            Core::window(&config, &self.machine, nanos)
        };
        let (generation, run) = (core.generation, core.run.clone());
        drop(core);
        let longest = lengthened(shared, config.max_open_for, &config);
        let (probes, max_half_open) = (config.probes.get(), nanos_of(config.max_half_open));
        let settled = Settled::default();
        shared.core.store(Core { config, generation, window, run, settled });

        if before.is_judging() != after.is_judging() || !after.is_judging() {
            let from = shared.word.load().path();
            self.take_mode(shared, before, after, nanos);
            self.note(shared, from, Cause::Reconfigured, nanos);
            return;
        }
        shared.word.observe(after == Mode::Observe);
        match shared.word.load().path() {
            Path::Open => {
                let until = shared.until().min(nanos.saturating_add(longest));
                shared.until.store(until, Ordering::SeqCst);
            }
            // Fewer probes than have succeeded already: no other would be admitted.
            Path::HalfOpen if self.half_open.succeeded >= probes => {
                self.close(shared, Cause::Recovered, nanos);
            }
            Path::HalfOpen => {
                let ends = self.half_open.ends.min(nanos.saturating_add(max_half_open));
                self.half_open.ends = ends;
                self.close_gate(shared);
            }
            _ => {}
        }
    }

    /// Goes from one mode to another, of which at least one does not judge.
    pub(crate) fn take_mode(&mut self, shared: &Shared, before: Mode, after: Mode, nanos: u64) {
        if before != after {
            let config = shared.core.load().config.clone();
            self.restart(shared, config, nanos);
            match after {
                Mode::ForcedOpen => self.machine.bypass(Path::ForcedOpen),
                Mode::Disabled => self.machine.bypass(Path::Disabled),
                Mode::Enforce | Mode::Observe => {}
            }
        }
        shared.word.observe(after == Mode::Observe);
    }

    /// Any state → closed, with nothing remembered.
    fn restart(&mut self, shared: &Shared, config: BreakerConfig, nanos: u64) {
        self.renew_core(shared, config, nanos);
        match shared.word.load().path() {
            Path::Open | Path::HalfOpen => self.machine.reset(),
            Path::Closed | Path::Disabled | Path::ForcedOpen => self.machine.bypass(Path::Closed),
        }
    }

    /// Half-open → closed.
    fn close(&mut self, shared: &Shared, cause: Cause, nanos: u64) {
        let config = shared.core.load().config.clone();
        self.renew_core(shared, config, nanos);
        self.machine.recover();
        self.note(shared, Path::HalfOpen, cause, nanos);
    }

    /// Puts empty counts in place for the closed state that comes next.
    ///
    /// Before the word changes, so that no call is admitted whose outcome would find the old ones.
    fn renew_core(&mut self, shared: &Shared, config: BreakerConfig, nanos: u64) {
        let generation = shared.word.load().generation() + 1;
        shared.core.store(Core::new(config, generation, &self.machine, nanos));
        self.doublings = 0;
        self.half_open.under_way.clear();
        shared.until.store(0, Ordering::SeqCst);
    }

    /// Closed or half-open → open.
    fn open(&mut self, shared: &Shared, cause: Cause, since: u64) {
        let from = shared.word.load().path();
        let wished = self.machine.trip();
        self.opened(shared, cause, from, since, wished);
    }

    /// Decides for how long the circuit, just opened, stays so.
    fn opened(
        &mut self,
        shared: &Shared,
        cause: Cause,
        from: Path,
        since: u64,
        wished: Option<Duration>,
    ) {
        let core = shared.core.load();
        let config = &core.config;
        self.base = match wished {
            Some(span) => span.clamp(SHORTEST, config.max_open_for),
            // A policy without a wish of its own means: as long as the last time.
            None if self.machine.is_foreign() && self.base > Duration::ZERO => self.base,
            None => config
                .open_for
                .saturating_mul(1 << self.doublings.min(MOST_DOUBLINGS))
                .min(config.max_open_for),
        };
        let until = since.saturating_add(lengthened(shared, self.base, config));
        self.half_open.under_way.clear();
        shared.until.store(until, Ordering::SeqCst);
        self.note(shared, from, cause, since);
    }

    /// Open → half-open.
    fn half_open(&mut self, shared: &Shared, nanos: u64) -> bool {
        if !self.machine.half_open() {
            shared.until.store(nanos.saturating_add(nanos_of(self.base)), Ordering::SeqCst);
            return false;
        }
        self.half_open.ends =
            nanos.saturating_add(nanos_of(shared.core.load().config.max_half_open));
        self.half_open.succeeded = 0;
        self.half_open.under_way.clear();
        self.note(shared, Path::Open, Cause::Waited, nanos);
        true
    }

    /// Lets calls be rejected without the lock for as long as no place for a probe can be free.
    fn close_gate(&self, shared: &Shared) {
        let until = self.half_open.full_until(shared.core.load().config.probes.get());
        shared.until.store(until, Ordering::SeqCst);
    }

    /// Writes a transition down to be told.
    fn note(&mut self, shared: &Shared, from: Path, cause: Cause, nanos: u64) {
        let (from, to) = (state_of(from), state_of(shared.word.load().path()));
        if from != to && shared.listener.is_some() {
            let at = shared.origin + Duration::from_nanos(nanos);
            self.outbox.push(Transition { from, to, cause, at });
        }
    }
}

/// Shortest open time of a policy of the user's own: some backoffs begin at zero.
const SHORTEST: Duration = Duration::from_millis(1);

/// Beyond it the longest allowed open time is long reached: 1 ms doubled so often is 12 days.
const MOST_DOUBLINGS: u32 = 30;

/// An open time with its jitter: longer by at most the configured part, never shorter, since
/// nobody is to be asked before the configured time is over.
fn lengthened(shared: &Shared, base: Duration, config: &BreakerConfig) -> u64 {
    let draw = mix(shared.seed ^ mix(shared.word.load().generation()));
    let unit = (draw >> 11) as f64 / (1_u64 << 53) as f64;
    nanos_of(base + base.mul_f64(config.jitter.get() * unit))
}

/// Spreads a counter over all 64 bits. Source: Steele et al., SplitMix, 2014; its finalizer.
const fn mix(number: u64) -> u64 {
    let z = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

impl HalfOpen {
    /// A place for a probe, unless all are taken or no more are needed.
    fn admit(&mut self, config: &BreakerConfig, nanos: u64) -> Option<u64> {
        self.under_way.retain(|probe| probe.lease_ends > nanos);
        if self.taken() >= config.probes.get() {
            return None;
        }
        self.next_id += 1;
        let lease_ends = nanos.saturating_add(nanos_of(config.probe_lease));
        self.under_way.push(Probe { id: self.next_id, lease_ends });
        Some(self.next_id)
    }

    fn forget(&mut self, id: u64) {
        self.under_way.retain(|probe| probe.id != id);
    }

    fn taken(&self) -> u32 {
        // At most 1,000 probes are allowed.
        self.succeeded.saturating_add(self.under_way.len() as u32)
    }

    /// Until when no call can be a probe; 0 when one can be at once.
    fn full_until(&self, probes: u32) -> u64 {
        if self.taken() < probes {
            return 0;
        }
        let leases = self.under_way.iter().map(|probe| probe.lease_ends);
        leases.fold(self.ends, u64::min)
    }
}
