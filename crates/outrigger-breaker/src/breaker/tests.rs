//! The claims of a circuit, one by one; `tests/properties.rs` holds it against a model.

use std::num::NonZeroU32;
use std::panic::{self, AssertUnwindSafe};
use std::sync::atomic::AtomicU32;

use std::time::{Duration, Instant};

use outrigger_core::{CircuitState, Event, Observers, Outcome, Ratio, RouteName, ServiceName};

use crate::sync::{Arc, Mutex, Ordering};
use crate::{
    Breaker, BreakerConfig, Cause, FailurePolicy, Mode, SlowCall, Tally, Transition, Window,
};

const TICK: Duration = Duration::from_nanos(1);
const FAST: Duration = Duration::from_millis(1);

#[expect(clippy::disallowed_methods, reason = "any instant serves as an origin")]
fn epoch() -> Instant {
    Instant::now()
}

const fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

fn number(number: u32) -> NonZeroU32 {
    NonZeroU32::new(number).expect("not zero")
}

/// The defaults, with no jitter so that times are exact.
fn exact() -> BreakerConfig {
    BreakerConfig { jitter: Ratio::ZERO, ..BreakerConfig::default() }
}

fn breaker(config: BreakerConfig, now: Instant) -> Breaker {
    Breaker::new(config, 7, now).expect("valid")
}

fn call(breaker: &Breaker, outcome: Outcome, now: Instant) {
    breaker.admit(now).expect("admitted").record(outcome, FAST, now);
}

fn calls(breaker: &Breaker, count: usize, outcome: Outcome, now: Instant) {
    for _ in 0..count {
        call(breaker, outcome, now);
    }
}

fn tripped(config: BreakerConfig, now: Instant) -> Breaker {
    let min_calls = config.min_calls.get() as usize;
    let breaker = breaker(config, now);
    calls(&breaker, min_calls, Outcome::Failure, now);
    assert_eq!(breaker.state(now), CircuitState::Open);
    breaker
}

type Log = Arc<Mutex<Vec<Transition>>>;

fn logged(config: BreakerConfig, now: Instant) -> (Breaker, Log) {
    let log = Log::default();
    let ours = Arc::clone(&log);
    let listener = move |transition: &Transition| ours.lock().expect("sound").push(*transition);
    (Breaker::builder(config).listener(listener).build(now).expect("valid"), log)
}

fn told(log: &Log) -> Vec<(CircuitState, CircuitState, Cause)> {
    log.lock().expect("sound").iter().map(|t| (t.from, t.to, t.cause)).collect()
}

#[test]
fn below_the_minimum_of_calls_nothing_opens_it() {
    let t0 = epoch();
    let breaker = breaker(exact(), t0);
    calls(&breaker, 19, Outcome::Failure, t0);
    assert_eq!(breaker.state(t0), CircuitState::Closed, "(a) 19 of 20 calls, all failed");
    call(&breaker, Outcome::Success, t0);
    assert_eq!(breaker.state(t0), CircuitState::Open, "(b) the 20th, although good, is the 20th");
}

#[test]
fn it_opens_exactly_at_the_failure_ratio() {
    let t0 = epoch();
    let breaker = breaker(exact(), t0);
    calls(&breaker, 11, Outcome::Success, t0);
    calls(&breaker, 10, Outcome::Failure, t0);
    assert_eq!(breaker.state(t0), CircuitState::Closed, "10 of 21");
    call(&breaker, Outcome::Failure, t0);
    assert_eq!(breaker.state(t0), CircuitState::Open, "11 of 22 is one half");
}

#[test]
fn it_opens_exactly_at_the_slow_ratio_whatever_the_outcomes() {
    let t0 = epoch();
    let slow_call = SlowCall { after: secs(1), ratio: Ratio::from_percent(80) };
    let breaker = breaker(BreakerConfig { slow_call: Some(slow_call), ..exact() }, t0);
    calls(&breaker, 4, Outcome::Success, t0);
    let took = |breaker: &Breaker, elapsed| {
        breaker.admit(t0).expect("closed").record(Outcome::Success, elapsed, t0);
    };
    for _ in 0..15 {
        took(&breaker, secs(1));
    }
    took(&breaker, secs(1) - TICK);
    assert_eq!(breaker.state(t0), CircuitState::Closed, "15 of 20: the last was just not slow");
    assert_eq!(breaker.tally(t0), Tally { total: 20, failed: 0, slow: 15 });
    for _ in 0..4 {
        took(&breaker, secs(1));
    }
    assert_eq!(breaker.state(t0), CircuitState::Closed, "19 of 24");
    took(&breaker, secs(1));
    assert_eq!(breaker.state(t0), CircuitState::Open, "20 of 25 is 0.8");
}

#[test]
fn it_opens_exactly_at_the_failures_in_a_row() {
    let t0 = epoch();
    let config = BreakerConfig { consecutive_failures: Some(number(3)), ..exact() };
    let breaker = breaker(config, t0);
    calls(&breaker, 2, Outcome::Failure, t0);
    call(&breaker, Outcome::Success, t0);
    calls(&breaker, 2, Outcome::Failure, t0);
    call(&breaker, Outcome::Ignored, t0);
    assert_eq!(breaker.state(t0), CircuitState::Closed, "a success in between, an ignored one");
    call(&breaker, Outcome::Failure, t0);
    assert_eq!(breaker.state(t0), CircuitState::Open);
}

#[test]
fn open_rejects_until_the_last_tick_and_says_when_to_come_back() {
    let t0 = epoch();
    let breaker = tripped(exact(), t0);
    for (now, wait) in [(t0, secs(5)), (t0 + secs(3), secs(2)), (t0 + secs(5) - TICK, TICK)] {
        let open = breaker.admit(now).expect_err("(c), (d) open");
        assert_eq!((open.state, open.retry_after), (CircuitState::Open, wait));
    }
    let probe = breaker.admit(t0 + secs(5)).expect("(d) the first call after `open_for`");
    assert!(probe.is_probe());
    assert_eq!(breaker.state(t0 + secs(5)), CircuitState::HalfOpen);
}

#[test]
fn a_now_from_before_does_not_open_the_gate() {
    let t0 = epoch();
    let breaker = tripped(exact(), t0 + secs(10));
    let open = breaker.admit(t0).expect_err("another thread's clock reading");
    assert_eq!(open.retry_after, secs(5), "it is taken as the moment the circuit was made");
}

#[test]
fn failed_probe_reopens_the_circuit_for_twice_as_long_up_to_the_cap_and_anew_after_a_recovery() {
    let t0 = epoch();
    let breaker = tripped(exact(), t0);
    let mut due = t0 + secs(5);
    for wait in [10, 20, 40, 60, 60] {
        assert!(breaker.admit(due - TICK).is_err(), "open until the last tick");
        call(&breaker, Outcome::Failure, due);
        assert_eq!(breaker.state(due), CircuitState::Open, "(g) one failed probe is enough");
        due += secs(wait);
    }
    assert!(breaker.admit(due - TICK).is_err());
    calls(&breaker, 3, Outcome::Success, due);
    assert_eq!(breaker.state(due), CircuitState::Closed);
    calls(&breaker, 20, Outcome::Failure, due);
    let open = breaker.admit(due).expect_err("open again");
    assert_eq!(open.retry_after, secs(5), "(g) the first open time again");
}

#[test]
fn as_many_successes_as_probes_close_it_and_clear_the_counts() {
    let t0 = epoch();
    let breaker = tripped(exact(), t0);
    let due = t0 + secs(5);
    calls(&breaker, 2, Outcome::Success, due);
    assert_eq!(breaker.state(due), CircuitState::HalfOpen, "two of three");
    call(&breaker, Outcome::Success, due);
    assert_eq!(breaker.state(due), CircuitState::Closed, "(f)");
    assert_eq!(breaker.tally(due), Tally::default(), "(f) the failures of before are forgotten");
    calls(&breaker, 19, Outcome::Failure, due);
    assert_eq!(breaker.state(due), CircuitState::Closed);
}

#[test]
fn a_slow_probe_is_a_failed_one() {
    let t0 = epoch();
    let slow_call = SlowCall { after: secs(1), ratio: Ratio::HALF };
    let breaker = tripped(BreakerConfig { slow_call: Some(slow_call), ..exact() }, t0);
    let due = t0 + secs(5);
    breaker.admit(due).expect("probe").record(Outcome::Success, secs(1), due);
    assert_eq!(breaker.state(due), CircuitState::Open);
}

#[test]
fn an_outcome_of_an_older_state_does_not_count_in_the_new_one() {
    let t0 = epoch();
    let breaker = breaker(exact(), t0);
    let early: Vec<_> = (0..50).map(|_| breaker.admit(t0).expect("closed")).collect();
    calls(&breaker, 20, Outcome::Failure, t0);
    let due = t0 + secs(5);
    let mut early = early.into_iter();
    let mut late = |outcome| early.next().expect("enough").record(outcome, secs(5), due);
    late(Outcome::Failure);
    assert_eq!(breaker.state(due), CircuitState::Open, "(i) open");
    let probes: Vec<_> = (0..3).map(|_| breaker.admit(due).expect("probe")).collect();
    late(Outcome::Failure);
    late(Outcome::Success);
    assert_eq!(breaker.state(due), CircuitState::HalfOpen, "(i) half-open");
    for probe in probes {
        probe.record(Outcome::Success, FAST, due);
    }
    for _ in 0..40 {
        late(Outcome::Failure);
    }
    assert_eq!(breaker.state(due), CircuitState::Closed, "(i) closed");
    assert_eq!(breaker.tally(due), Tally::default());
}

#[test]
fn a_late_probe_of_an_older_half_open_counts_for_nothing() {
    let t0 = epoch();
    let breaker = tripped(exact(), t0);
    let due = t0 + secs(5);
    let late: Vec<_> = (0..2).map(|_| breaker.admit(due).expect("probe")).collect();
    call(&breaker, Outcome::Failure, due);
    let again = due + secs(10);
    let probe = breaker.admit(again).expect("probe of the second half-open");
    for late in late {
        late.record(Outcome::Failure, secs(10), again);
    }
    assert_eq!(breaker.state(again), CircuitState::HalfOpen);
    assert_eq!(breaker.admit(again).iter().chain(&breaker.admit(again)).count(), 2, "and 2 more");
    drop(probe);
}

#[test]
fn ignored_cancelled_and_dropped_calls_give_their_probe_back() {
    let t0 = epoch();
    let breaker = tripped(exact(), t0);
    let due = t0 + secs(5);
    for round in 0..100 {
        let probes: Vec<_> = (0..3).map(|_| breaker.admit(due).expect("(h) a probe")).collect();
        assert!(breaker.admit(due).is_err(), "(e) round {round}: no fourth");
        for (n, probe) in probes.into_iter().enumerate() {
            match n {
                0 => drop(probe),
                1 => probe.record(Outcome::Ignored, FAST, due),
                _ => {
                    let panicking = AssertUnwindSafe(move || {
                        let _probe = probe;
                        panic::resume_unwind(Box::new("the probe's future panics"));
                    });
                    assert!(panic::catch_unwind(panicking).is_err());
                }
            }
        }
    }
    assert_eq!(breaker.state(due), CircuitState::HalfOpen);
}

#[test]
fn a_stuck_probe_loses_its_place_and_half_open_ends_all_the_same() {
    let t0 = epoch();
    let breaker = tripped(exact(), t0);
    let due = t0 + secs(5);
    let stuck: Vec<_> = (0..3).map(|_| breaker.admit(due).expect("probe")).collect();
    let lapsed = due + secs(15);
    let open = breaker.admit(lapsed - TICK).expect_err("all places are taken");
    assert_eq!((open.state, open.retry_after), (CircuitState::HalfOpen, TICK));
    calls(&breaker, 3, Outcome::Success, lapsed);
    assert_eq!(breaker.state(lapsed), CircuitState::Closed);
    drop(stuck);
    assert_eq!(breaker.state(lapsed), CircuitState::Closed, "given back to a state long gone");
}

#[test]
fn the_late_outcome_of_a_stuck_probe_still_counts() {
    let t0 = epoch();
    let breaker = tripped(exact(), t0);
    let due = t0 + secs(5);
    let stuck: Vec<_> = (0..3).map(|_| breaker.admit(due).expect("probe")).collect();
    let late = due + secs(20);
    for probe in stuck {
        probe.record(Outcome::Success, secs(20), late);
    }
    assert_eq!(breaker.state(late), CircuitState::Closed, "slower than the lease, not broken");
}

#[test]
fn half_open_has_a_maximum_stay_after_which_it_opens_for_as_long_as_before() {
    let t0 = epoch();
    let (breaker, log) = logged(exact(), t0);
    calls(&breaker, 20, Outcome::Failure, t0);
    let due = t0 + secs(5);
    let stuck = breaker.admit(due).expect("probe");
    let over = due + secs(60);
    assert_eq!(breaker.state(over - TICK), CircuitState::HalfOpen);
    assert_eq!(breaker.state(over), CircuitState::Open, "(n)");
    assert_eq!(breaker.admit(over).expect_err("open").retry_after, secs(5));
    stuck.record(Outcome::Success, secs(60), over);
    assert_eq!(breaker.state(over), CircuitState::Open, "too late");
    assert!(breaker.admit(over + secs(5)).expect("the next half-open").is_probe());
    assert_eq!(log.lock().expect("sound")[2].at, over);
}

#[test]
fn a_rarely_called_service_recovers_by_the_one_probe_it_had() {
    let t0 = epoch();
    let breaker = tripped(exact(), t0);
    let due = t0 + secs(5);
    call(&breaker, Outcome::Success, due);
    let over = due + secs(60);
    assert_eq!(breaker.state(over), CircuitState::Closed, "none failed, none is under way");
}

#[test]
fn a_stay_that_nobody_saw_end_does_not_make_the_next_caller_wait() {
    let t0 = epoch();
    let (breaker, log) = logged(exact(), t0);
    calls(&breaker, 20, Outcome::Failure, t0);
    drop(breaker.admit(t0 + secs(5)).expect("probe"));
    let much_later = t0 + secs(3_600);
    assert!(breaker.admit(much_later).expect("a probe at once").is_probe());
    use CircuitState::{Closed, HalfOpen, Open};
    let expected = [
        (Closed, Open, Cause::FailureRatio),
        (Open, HalfOpen, Cause::Waited),
        (HalfOpen, Open, Cause::StayOver),
        (Open, HalfOpen, Cause::Waited),
    ];
    assert_eq!(told(&log), expected, "no state is skipped");
}

#[test]
fn whatever_happens_to_the_probes_half_open_is_left() {
    enum Fate {
        Dropped,
        Stuck,
        Ignored,
        Panicking,
        Reconfigured,
        SameInstant,
    }
    let t0 = epoch();
    for fate in [
        Fate::Dropped,
        Fate::Stuck,
        Fate::Ignored,
        Fate::Panicking,
        Fate::Reconfigured,
        Fate::SameInstant,
    ] {
        let breaker = tripped(exact(), t0);
        let mut now = t0 + secs(5);
        let mut kept = Vec::new();
        for n in 0..1_000_u32 {
            if let Ok(probe) = breaker.admit(now) {
                match fate {
                    Fate::Dropped => drop(probe),
                    Fate::Stuck => kept.push(probe),
                    Fate::Ignored => probe.record(Outcome::Ignored, FAST, now),
                    Fate::Panicking => {
                        let broken = AssertUnwindSafe(|| {
                            let _probe = probe;
                            panic::resume_unwind(Box::new(()));
                        });
                        assert!(panic::catch_unwind(broken).is_err());
                    }
                    Fate::Reconfigured => {
                        let probes = number(1 + n % 3);
                        breaker.reconfigure(BreakerConfig { probes, ..exact() }, now).expect("ok");
                        kept.push(probe);
                    }
                    Fate::SameInstant => {
                        probe.record(Outcome::Success, Duration::ZERO, now);
                        continue;
                    }
                }
            }
            if breaker.state(now) == CircuitState::Closed {
                break;
            }
            now += Duration::from_millis(137);
        }
        // The service is well again: within one stay, one open time and three calls it is closed.
        for _ in 0..1_000 {
            if let Ok(permit) = breaker.admit(now) {
                permit.record(Outcome::Success, FAST, now);
            }
            now += Duration::from_millis(137);
        }
        assert_eq!(breaker.state(now), CircuitState::Closed);
    }
}

#[test]
fn fewer_probes_than_have_succeeded_close_it_on_the_reload() {
    let t0 = epoch();
    let breaker = tripped(exact(), t0);
    let due = t0 + secs(5);
    calls(&breaker, 2, Outcome::Success, due);
    breaker.reconfigure(BreakerConfig { probes: number(2), ..exact() }, due).expect("valid");
    assert_eq!(breaker.state(due), CircuitState::Closed);
}

#[test]
fn of_a_herd_at_the_moment_of_half_open_exactly_the_probes_are_admitted() {
    let t0 = epoch();
    let breaker = tripped(exact(), t0);
    let due = t0 + secs(5);
    let admitted = AtomicU32::new(0);
    let barrier = std::sync::Barrier::new(1_000);
    std::thread::scope(|scope| {
        for _ in 0..1_000 {
            let start = std::thread::Builder::new().stack_size(64 << 10);
            let call = || {
                barrier.wait();
                let permit = breaker.admit(due);
                if permit.is_ok() {
                    admitted.fetch_add(1, Ordering::SeqCst);
                }
                // Nobody's outcome is known before the last one has asked.
                barrier.wait();
                if let Ok(permit) = permit {
                    permit.record(Outcome::Success, FAST, due);
                }
            };
            start.spawn_scoped(scope, call).expect("a thread");
        }
    });
    assert_eq!(admitted.load(Ordering::SeqCst), 3);
    assert_eq!(breaker.state(due), CircuitState::Closed);
}

#[test]
fn what_the_caller_did_wrong_can_neither_trip_it_nor_keep_it_open() {
    let t0 = epoch();
    let breaker = breaker(exact(), t0);
    calls(&breaker, 10_000, Outcome::Ignored, t0);
    assert_eq!(breaker.tally(t0), Tally::default(), "(o)");
    calls(&breaker, 19, Outcome::Failure, t0);
    calls(&breaker, 10_000, Outcome::Ignored, t0);
    assert_eq!(breaker.state(t0), CircuitState::Closed, "nor do they add to the minimum");
    // A cancelled call of a hostile client between any two probes.
    call(&breaker, Outcome::Failure, t0);
    let due = t0 + secs(5);
    for _ in 0..3 {
        for _ in 0..1_000 {
            drop(breaker.admit(due).expect("its place is given back"));
        }
        call(&breaker, Outcome::Success, due);
    }
    assert_eq!(breaker.state(due), CircuitState::Closed);
}

#[test]
fn forced_open_rejects_disabled_admits_and_observe_only_tells() {
    let t0 = epoch();
    let mode = |mode| BreakerConfig { mode, ..exact() };
    let forced = breaker(mode(Mode::ForcedOpen), t0);
    assert_eq!(forced.state(t0), CircuitState::Open);
    let much_later = t0 + secs(86_400);
    assert_eq!(forced.admit(much_later).expect_err("(j)").retry_after, secs(5));

    let disabled = breaker(mode(Mode::Disabled), t0);
    calls(&disabled, 100, Outcome::Failure, t0);
    assert_eq!((disabled.state(t0), disabled.tally(t0)), (CircuitState::Closed, Tally::default()));

    let (observed, log) = logged(mode(Mode::Observe), t0);
    calls(&observed, 20, Outcome::Failure, t0);
    assert_eq!(observed.state(t0), CircuitState::Open);
    let spared = observed.admit(t0).expect("(j) admitted all the same");
    assert!(spared.is_spared(), "and the caller can tell");
    spared.record(Outcome::Failure, FAST, t0);
    let due = t0 + secs(5);
    let probes: Vec<_> = (0..4).map(|_| observed.admit(due).expect("admitted")).collect();
    assert_eq!(probes.iter().filter(|permit| permit.is_probe()).count(), 3);
    assert_eq!(probes.iter().filter(|permit| permit.is_spared()).count(), 1);
    for permit in probes {
        permit.record(Outcome::Success, FAST, due);
    }
    use CircuitState::{Closed, HalfOpen, Open};
    let expected = [
        (Closed, Open, Cause::FailureRatio),
        (Open, HalfOpen, Cause::Waited),
        (HalfOpen, Closed, Cause::Recovered),
    ];
    assert_eq!(told(&log), expected);
}

#[test]
fn a_mode_is_changed_while_running_and_told() {
    let t0 = epoch();
    let (breaker, log) = logged(exact(), t0);
    let mode = |mode| BreakerConfig { mode, ..exact() };
    breaker.reconfigure(mode(Mode::ForcedOpen), t0).expect("valid");
    assert!(breaker.admit(t0).is_err());
    breaker.reconfigure(mode(Mode::Disabled), t0).expect("valid");
    calls(&breaker, 50, Outcome::Failure, t0);
    breaker.reconfigure(mode(Mode::Enforce), t0).expect("valid");
    calls(&breaker, 19, Outcome::Failure, t0);
    assert_eq!(breaker.state(t0), CircuitState::Closed, "counts begin anew");
    use CircuitState::{Closed, Open};
    let expected = [(Closed, Open, Cause::Reconfigured), (Open, Closed, Cause::Reconfigured)];
    assert_eq!(told(&log), expected);
}

#[test]
fn a_reload_keeps_the_state_and_the_counts_when_the_window_is_the_same() {
    let t0 = epoch();
    let breaker = breaker(exact(), t0);
    calls(&breaker, 19, Outcome::Failure, t0);
    let in_flight = breaker.admit(t0).expect("closed");
    breaker.reconfigure(exact(), t0).expect("valid");
    let longer = BreakerConfig { open_for: secs(7), ..exact() };
    breaker.reconfigure(longer.clone(), t0).expect("valid");
    assert_eq!(breaker.tally(t0).failed, 19, "(m)");
    in_flight.record(Outcome::Failure, FAST, t0);
    assert_eq!(breaker.admit(t0).expect_err("open").retry_after, secs(7), "the new time");
    breaker.reconfigure(exact(), t0).expect("valid");
    assert_eq!(breaker.admit(t0).expect_err("open").retry_after, secs(7), "(m) still open");
    let window = Window::Time(secs(20));
    breaker.reconfigure(BreakerConfig { window, ..longer }, t0).expect("valid");
    assert_eq!(breaker.state(t0), CircuitState::Open, "(m) with another window as well");
}

#[test]
fn a_shorter_cap_shortens_an_open_time_that_runs() {
    let t0 = epoch();
    let breaker = tripped(BreakerConfig { open_for: secs(60), ..exact() }, t0);
    let short = BreakerConfig { max_open_for: secs(5), ..exact() };
    breaker.reconfigure(short, t0).expect("valid");
    assert_eq!(breaker.admit(t0).expect_err("open").retry_after, secs(5));
    assert!(breaker.admit(t0 + secs(5)).is_ok());
}

#[test]
fn a_listener_may_ask_the_circuit_and_may_panic() {
    let t0 = epoch();
    let slot: Arc<Mutex<Option<Breaker>>> = Arc::default();
    let (ours, told) = (Arc::clone(&slot), Arc::new(AtomicU32::new(0)));
    let count = Arc::clone(&told);
    let breaker = Breaker::builder(exact())
        .listener(move |transition| {
            let breaker = ours.lock().expect("sound").clone().expect("set below");
            assert_eq!(breaker.state(transition.at), transition.to);
            let _admitted = breaker.admit(transition.at);
            if count.fetch_add(1, Ordering::SeqCst) == 0 {
                panic::resume_unwind(Box::new("a listener of little worth"));
            }
        })
        .build(t0)
        .expect("valid");
    *slot.lock().expect("sound") = Some(breaker.clone());
    let tripping = AssertUnwindSafe(|| calls(&breaker, 20, Outcome::Failure, t0));
    assert!(panic::catch_unwind(tripping).is_err());
    drop(breaker.admit(t0 + secs(5)).expect("probe"));
    assert_eq!(told.load(Ordering::SeqCst), 2, "the next transition is told");
    slot.lock().expect("sound").take();
}

#[test]
fn jitter_lengthens_by_at_most_its_part_and_differs_by_seed() {
    let t0 = epoch();
    let wait = |seed| {
        let config = BreakerConfig { min_calls: number(1), ..BreakerConfig::default() };
        let breaker = Breaker::new(config, seed, t0).expect("valid");
        call(&breaker, Outcome::Failure, t0);
        breaker.admit(t0).expect_err("open").retry_after
    };
    let waits: Vec<_> = (0..1_000).map(wait).collect();
    assert!(waits.iter().all(|&wait| wait >= secs(5) && wait <= Duration::from_millis(5_500)));
    let below = waits.iter().filter(|&&wait| wait < Duration::from_millis(5_250)).count();
    // Binomial, 1,000 × 1/2: five standard deviations are 79.
    assert!((421..=579).contains(&below), "{below} of 1,000 in the lower half");
    assert_eq!(wait(3), wait(3), "the same seed, the same jitter");
}

#[test]
fn a_policy_of_the_users_own_decides_when_and_for_how_long() {
    #[derive(Default)]
    struct Third(u32);
    impl FailurePolicy for Third {
        fn record_success(&mut self) {}
        fn mark_dead_on_failure(&mut self) -> Option<Duration> {
            self.0 += 1;
            self.0.is_multiple_of(3).then(|| secs(if self.0 == 3 { 2 } else { 0 }))
        }
        fn revived(&mut self) {
            self.0 = 3;
        }
    }
    let t0 = epoch();
    let breaker = Breaker::builder(exact()).policy(Third::default()).build(t0).expect("valid");
    calls(&breaker, 2, Outcome::Failure, t0);
    calls(&breaker, 50, Outcome::Success, t0);
    assert_eq!(breaker.state(t0), CircuitState::Closed);
    call(&breaker, Outcome::Failure, t0);
    assert_eq!(breaker.admit(t0).expect_err("open").retry_after, secs(2));
    let due = t0 + secs(2);
    call(&breaker, Outcome::Failure, due);
    let open = breaker.admit(due).expect_err("reopened");
    assert_eq!(open.retry_after, secs(2), "no wish: as long as the last time");
    let due = due + secs(2);
    calls(&breaker, 3, Outcome::Success, due);
    assert_eq!(breaker.state(due), CircuitState::Closed);
    calls(&breaker, 3, Outcome::Failure, due);
    let open = breaker.admit(due).expect_err("revived counted from 3");
    assert_eq!(open.retry_after, Duration::from_millis(1), "a time of zero is raised");
}

#[test]
fn failsafes_own_policies_fit() {
    let t0 = epoch();
    let backoff = failsafe::backoff::constant(secs(9));
    let policy = failsafe::failure_policy::consecutive_failures(4, backoff);
    let breaker = Breaker::builder(exact()).policy(policy).build(t0).expect("valid");
    calls(&breaker, 3, Outcome::Failure, t0);
    call(&breaker, Outcome::Success, t0);
    calls(&breaker, 4, Outcome::Failure, t0);
    assert_eq!(breaker.admit(t0).expect_err("open").retry_after, secs(9));
    calls(&breaker, 3, Outcome::Success, t0 + secs(9));
    assert_eq!(breaker.state(t0 + secs(9)), CircuitState::Closed);
}

#[test]
fn a_transition_is_emitted_to_the_observers() {
    #[derive(Debug, Default)]
    struct Seen(Mutex<Vec<String>>);
    impl outrigger_core::Observe for Seen {
        fn observe(&self, event: &Event<'_>) {
            if let Event::CircuitChanged { service, to, .. } = event {
                self.0.lock().expect("sound").push(format!("{service} {}", to.as_str()));
            }
        }
    }
    let t0 = epoch();
    let seen = std::sync::Arc::new(Seen::default());
    let observers = Observers::none().with(std::sync::Arc::clone(&seen) as _);
    let service = ServiceName::new("inventory").expect("valid");
    let breaker = Breaker::builder(exact())
        .observers(observers, service, RouteName::default())
        .build(t0)
        .expect("valid");
    calls(&breaker, 20, Outcome::Failure, t0);
    assert_eq!(*seen.0.lock().expect("sound"), ["inventory open"]);
}

#[test]
fn an_operator_closes_it() {
    let t0 = epoch();
    let (breaker, log) = logged(exact(), t0);
    calls(&breaker, 20, Outcome::Failure, t0);
    breaker.reset(t0);
    assert_eq!((breaker.state(t0), breaker.tally(t0)), (CircuitState::Closed, Tally::default()));
    breaker.reset(t0);
    assert_eq!(told(&log).len(), 2, "nothing to tell when nothing changed");
}
