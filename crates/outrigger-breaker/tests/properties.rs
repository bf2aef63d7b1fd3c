//! The properties (a) to (o) of a circuit: the same calls to the crate and to a model that keeps
//! every call in a list and knows nothing of atomics, and never may they differ.
//!
//! `PROPTEST_CASES` sets the number of cases of each.

use std::num::NonZeroU32;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use outrigger_breaker::{
    Breaker, BreakerConfig, Mode, Permit, SlowCall, Tally, Transition, Window,
};
use outrigger_core::CircuitState::{self, Closed, HalfOpen, Open};
use outrigger_core::{Outcome, Ratio};
use proptest::prelude::*;

/// What can be done to a circuit.
#[derive(Clone, Debug)]
enum Act {
    Admit,
    /// Record the outcome of one of the calls under way.
    Record {
        which: usize,
        outcome: Outcome,
        slow: bool,
    },
    /// A call that comes and goes at once, so that thresholds are reached often.
    Call {
        outcome: Outcome,
        slow: bool,
    },
    Drop {
        which: usize,
    },
    Wait {
        millis: u64,
    },
    State,
    Reset,
    Reload {
        which: usize,
    },
}

/// The model: lists and plain arithmetic in milliseconds.
#[derive(Debug)]
struct Model {
    config: BreakerConfig,
    state: CircuitState,
    generation: u64,
    log: Vec<(u64, bool, bool)>,
    run: u32,
    until: u64,
    doublings: u32,
    stay_ends: u64,
    succeeded: u32,
    /// Serial number and end of the lease.
    under_way: Vec<(u64, u64)>,
    told: Vec<(CircuitState, CircuitState)>,
}

/// What a call got from the model.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Verdict {
    Counted,
    Probe,
    Spared,
    Rejected { wait: u64 },
}

const SLOW: Duration = Duration::from_secs(1);

fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).expect("short")
}

impl Model {
    fn new(config: BreakerConfig) -> Self {
        Self {
            config,
            state: Closed,
            generation: 0,
            log: Vec::new(),
            run: 0,
            until: 0,
            doublings: 0,
            stay_ends: 0,
            succeeded: 0,
            under_way: Vec::new(),
            told: Vec::new(),
        }
    }

    fn go(&mut self, to: CircuitState) {
        self.told.push((self.state, to));
        self.state = to;
        self.generation += 1;
    }

    fn open(&mut self, since: u64) {
        let span = self.config.open_for * 2_u32.pow(self.doublings.min(20));
        self.until = since + millis(span.min(self.config.max_open_for));
        self.go(Open);
    }

    fn close(&mut self) {
        self.log.clear();
        self.run = 0;
        self.doublings = 0;
        self.go(Closed);
    }

    fn end_stay(&mut self, now: u64) {
        if self.state == HalfOpen && now >= self.stay_ends {
            if self.succeeded > 0 && self.under_way.is_empty() {
                self.close();
            } else {
                self.open(self.stay_ends);
            }
        }
    }

    fn tally(&self, now: u64) -> Tally {
        let window: Vec<_> = match self.config.window {
            Window::Time(length) => {
                let slice = millis(length) / 16;
                self.log.iter().filter(|(at, ..)| at / slice + 16 > now / slice).collect()
            }
            Window::Calls(calls) => {
                let skip = self.log.len().saturating_sub(calls.get() as usize);
                self.log.iter().skip(skip).collect()
            }
        };
        let mut tally = Tally::default();
        tally.total = window.len() as u64;
        tally.failed = window.iter().filter(|(_, failed, _)| *failed).count() as u64;
        tally.slow = window.iter().filter(|(.., slow)| *slow).count() as u64;
        tally
    }

    fn admit(&mut self, now: u64, serial: u64) -> Verdict {
        self.end_stay(now);
        if self.state == Open && now >= self.until {
            self.go(HalfOpen);
            self.stay_ends = now + millis(self.config.max_half_open);
            self.succeeded = 0;
            self.under_way.clear();
        }
        let wait = match self.state {
            Closed => return Verdict::Counted,
            Open => self.until - now,
            _ => {
                // A place is looked for only when one may be free, or a lease may have ended.
                self.under_way.retain(|(_, lease)| *lease > now);
                let probes = self.config.probes.get() as usize;
                if self.succeeded as usize + self.under_way.len() < probes {
                    self.under_way.push((serial, now + millis(self.config.probe_lease)));
                    return Verdict::Probe;
                }
                let leases = self.under_way.iter().map(|(_, lease)| *lease);
                let free = leases.fold(self.stay_ends, u64::min) - now;
                free.min(millis(self.config.open_for))
            }
        };
        match self.config.mode {
            Mode::Observe => Verdict::Spared,
            _ => Verdict::Rejected { wait },
        }
    }

    fn record(&mut self, now: u64, call: &Call, outcome: Outcome, slow: bool) {
        if call.verdict == Verdict::Spared {
            return;
        }
        let slow = slow && self.config.slow_call.is_some();
        let failed = outcome == Outcome::Failure;
        if call.verdict == Verdict::Probe {
            if outcome == Outcome::Ignored {
                return self.give_back(call);
            }
            self.end_stay(now);
            if self.state != HalfOpen || self.generation != call.generation {
                return;
            }
            self.give_back(call);
            if failed || slow {
                self.doublings += 1;
                return self.open(now);
            }
            self.succeeded += 1;
            if self.succeeded >= self.config.probes.get() {
                self.close();
            }
            return;
        }
        if self.generation != call.generation || outcome == Outcome::Ignored {
            return;
        }
        self.log.push((now, failed, slow));
        self.run = if failed { self.run + 1 } else { 0 };
        let tally = self.tally(now);
        let enough = tally.total >= u64::from(self.config.min_calls.get());
        let reached = |ratio: Ratio, part: u64| part as f64 >= ratio.get() * tally.total as f64;
        let by_run = self.config.consecutive_failures.is_some_and(|most| self.run >= most.get());
        let by_failures = enough && reached(self.config.failure_ratio, tally.failed);
        let by_slowness =
            self.config.slow_call.is_some_and(|slow| enough && reached(slow.ratio, tally.slow));
        if by_run || by_failures || by_slowness {
            self.open(now);
        }
    }

    fn give_back(&mut self, call: &Call) {
        if self.state == HalfOpen && self.generation == call.generation {
            self.under_way.retain(|(serial, _)| *serial != call.serial);
        }
    }

    fn reload(&mut self, now: u64, config: BreakerConfig) {
        self.end_stay(now);
        if config == self.config {
            return;
        }
        if config.window != self.config.window {
            self.log.clear();
        }
        self.config = config;
        match self.state {
            Open => self.until = self.until.min(now + millis(self.config.max_open_for)),
            HalfOpen if self.succeeded >= self.config.probes.get() => self.close(),
            HalfOpen => {
                self.stay_ends = self.stay_ends.min(now + millis(self.config.max_half_open));
            }
            _ => {}
        }
    }
}

/// A call under way, on both sides.
struct Call {
    serial: u64,
    generation: u64,
    verdict: Verdict,
    permit: Permit,
}

/// Both sides, driven alike.
struct Pair {
    breaker: Breaker,
    told: Arc<Mutex<Vec<(CircuitState, CircuitState)>>>,
    model: Model,
    calls: Vec<Call>,
    origin: Instant,
    now: u64,
    serial: u64,
}

impl Pair {
    fn new(config: &BreakerConfig) -> Self {
        #[expect(clippy::disallowed_methods, reason = "any instant serves as an origin")]
        let origin = Instant::now();
        let told = Arc::new(Mutex::new(Vec::new()));
        let ours = Arc::clone(&told);
        let listener = move |t: &Transition| ours.lock().expect("sound").push((t.from, t.to));
        let breaker = Breaker::builder(config.clone()).listener(listener).build(origin);
        let breaker = breaker.expect("valid");
        let model = Model::new(config.clone());
        Self { breaker, told, model, calls: Vec::new(), origin, now: 0, serial: 0 }
    }

    fn instant(&self) -> Instant {
        self.origin + Duration::from_millis(self.now)
    }

    fn admit(&mut self) -> Result<bool, TestCaseError> {
        self.serial += 1;
        let verdict = self.model.admit(self.now, self.serial);
        let permit = match self.breaker.admit(self.instant()) {
            Ok(permit) => permit,
            Err(open) => {
                let wait = millis(open.retry_after);
                prop_assert_eq!(verdict, Verdict::Rejected { wait });
                prop_assert_eq!(open.state, self.model.state);
                return Ok(false);
            }
        };
        let seen = match (permit.is_probe(), permit.is_spared()) {
            (true, _) => Verdict::Probe,
            (_, true) => Verdict::Spared,
            _ => Verdict::Counted,
        };
        prop_assert_eq!(seen, verdict);
        let (serial, generation) = (self.serial, self.model.generation);
        self.calls.push(Call { serial, generation, verdict, permit });
        Ok(true)
    }

    fn record(&mut self, which: usize, outcome: Outcome, slow: bool) {
        if self.calls.is_empty() {
            return;
        }
        let call = self.calls.swap_remove(which % self.calls.len());
        self.model.record(self.now, &call, outcome, slow);
        let elapsed = if slow { SLOW } else { SLOW - Duration::from_nanos(1) };
        call.permit.record(outcome, elapsed, self.instant());
    }

    fn act(&mut self, act: &Act, configs: &[BreakerConfig]) -> Result<(), TestCaseError> {
        match *act {
            Act::Admit => {
                self.admit()?;
            }
            Act::Call { outcome, slow } => {
                if self.admit()? {
                    self.record(self.calls.len() - 1, outcome, slow);
                }
            }
            Act::Record { which, outcome, slow } => self.record(which, outcome, slow),
            Act::Drop { which } if !self.calls.is_empty() => {
                let call = self.calls.swap_remove(which % self.calls.len());
                if call.verdict == Verdict::Probe {
                    self.model.give_back(&call);
                }
                drop(call.permit);
            }
            Act::Drop { .. } => {}
            Act::Wait { millis } => self.now += millis,
            Act::State => {
                self.model.end_stay(self.now);
                prop_assert_eq!(self.breaker.state(self.instant()), self.model.state);
            }
            Act::Reset => {
                self.breaker.reset(self.instant());
                if self.model.state != Closed {
                    self.model.close();
                }
            }
            Act::Reload { which } => {
                let config = configs[which % configs.len()].clone();
                self.breaker.reconfigure(config.clone(), self.instant()).expect("valid");
                self.model.reload(self.now, config);
            }
        }
        Ok(())
    }

    fn agree(&self) -> Result<(), TestCaseError> {
        prop_assert_eq!(&*self.told.lock().expect("sound"), &self.model.told);
        if self.model.state == Closed {
            prop_assert_eq!(self.breaker.tally(self.instant()), self.model.tally(self.now));
        }
        let mut before = Closed;
        for (from, to) in &self.model.told {
            prop_assert_eq!(*from, before, "no state is skipped");
            prop_assert!(!matches!((from, to), (Closed, HalfOpen)));
            before = *to;
        }
        Ok(())
    }
}

fn configs() -> impl Strategy<Value = BreakerConfig> {
    let window = prop_oneof![
        prop_oneof![Just(1_600_u64), Just(16_000)]
            .prop_map(|ms| Window::Time(Duration::from_millis(ms))),
        (8_u32..12).prop_map(|calls| Window::Calls(NonZeroU32::new(calls).expect("not zero"))),
    ];
    let parts = (1_u32..=8, 1_u8..=100, proptest::option::of(1_u8..=100), any::<bool>());
    let row = proptest::option::of(2_u32..6);
    (window, parts, 1_u32..=4, row).prop_map(|(window, parts, probes, row)| {
        let (min_calls, failed, slow, observe) = parts;
        let mut config = BreakerConfig::default();
        config.window = window;
        config.mode = if observe { Mode::Observe } else { Mode::Enforce };
        config.min_calls = NonZeroU32::new(min_calls).expect("not zero");
        config.failure_ratio = Ratio::from_percent(failed);
        config.slow_call =
            slow.map(|percent| SlowCall { after: SLOW, ratio: Ratio::from_percent(percent) });
        config.consecutive_failures = row.and_then(NonZeroU32::new);
        config.probes = NonZeroU32::new(probes).expect("not zero");
        config.jitter = Ratio::ZERO;
        config.open_for = Duration::from_millis(500);
        config.max_open_for = Duration::from_millis(1_700);
        config.probe_lease = Duration::from_millis(900);
        config.max_half_open = Duration::from_millis(2_000);
        config
    })
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let outcome = || {
        prop_oneof![
            3 => Just(Outcome::Success),
            4 => Just(Outcome::Failure),
            1 => Just(Outcome::Ignored),
        ]
    };
    let act = prop_oneof![
        3 => Just(Act::Admit),
        6 => (outcome(), any::<bool>()).prop_map(|(outcome, slow)| Act::Call { outcome, slow }),
        4 => (0_usize..8, outcome(), any::<bool>())
            .prop_map(|(which, outcome, slow)| Act::Record { which, outcome, slow }),
        1 => (0_usize..8).prop_map(|which| Act::Drop { which }),
        3 => prop_oneof![0_u64..700, Just(100), Just(500), Just(2_000), Just(40_000)]
            .prop_map(|millis| Act::Wait { millis }),
        1 => Just(Act::State),
    ];
    // Orders are rare, or nothing would ever come to its end.
    let act = prop_oneof![
        40 => act,
        1 => Just(Act::Reset),
        2 => (0_usize..4).prop_map(|which| Act::Reload { which }),
    ];
    prop::collection::vec(act, 1..60)
}

/// 100,000 cases in the long run, as many as fit into a few seconds otherwise.
fn settings() -> ProptestConfig {
    let cases = std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok());
    ProptestConfig {
        cases: cases.unwrap_or(2_000),
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}

proptest! {
    #![proptest_config(settings())]

    #[test]
    fn a_circuit_does_what_its_model_does(
        first in configs(),
        others in prop::collection::vec(configs(), 1..3),
        acts in acts(),
    ) {
        let mut all = vec![first.clone()];
        all.extend(others);
        let mut pair = Pair::new(&first);
        for act in &acts {
            pair.act(act, &all)?;
            pair.agree()?;
        }
        // (n), rows 28 and 29: with a service that is well again, whatever was done before, and
        // with all calls under way stuck for ever, it is closed in a bounded time.
        let stuck = std::mem::take(&mut pair.calls);
        let mut limit = Duration::ZERO;
        while pair.breaker.state(pair.instant()) != Closed {
            prop_assert!(limit < Duration::from_secs(60), "still {:?}", pair.model);
            pair.act(&Act::Call { outcome: Outcome::Success, slow: false }, &all)?;
            pair.act(&Act::Wait { millis: 100 }, &all)?;
            limit += Duration::from_millis(100);
        }
        drop(stuck);
    }
}
