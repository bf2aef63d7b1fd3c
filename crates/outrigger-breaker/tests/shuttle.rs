//! The races, by shuttle: random schedules of larger cases; `SCHEDULES` sets how many.
//!
//! The crate's very sources are included, with shuttle's locks and atomics in the place of the
//! standard ones. failsafe's own lock is only ever taken under ours, so it needs no model.
#![allow(
    dead_code,
    unreachable_pub,
    unnameable_types,
    unused_imports,
    unfulfilled_lint_expectations,
    reason = "these sources are a crate of their own elsewhere"
)]

#[path = "../src/breaker.rs"]
mod breaker;
#[path = "../src/config.rs"]
mod config;
#[path = "../src/control.rs"]
mod control;
#[path = "../src/machine.rs"]
mod machine;
#[path = "../src/permit.rs"]
mod permit;
#[path = "../src/transition.rs"]
mod transition;
#[path = "../src/window.rs"]
mod window;

/// What stands for `src/sync.rs`.
mod sync {
    pub(crate) use std::sync::Arc;

    pub(crate) use shuttle::sync::atomic::{
        AtomicBool, AtomicI64, AtomicU8, AtomicU32, AtomicU64, Ordering,
    };
    pub(crate) use shuttle::sync::{Mutex, MutexGuard};

    /// A pointer behind a lock, for arc-swap.
    #[derive(Debug)]
    pub(crate) struct Swap<T>(Mutex<Arc<T>>);

    impl<T> Swap<T> {
        pub(crate) fn new(value: T) -> Self {
            Self(Mutex::new(Arc::new(value)))
        }

        pub(crate) fn load(&self) -> Arc<T> {
            self.0.lock().expect("no panic under it").clone()
        }

        pub(crate) fn store(&self, value: T) {
            *self.0.lock().expect("no panic under it") = Arc::new(value);
        }
    }
}

use std::num::NonZeroU32;
use std::time::{Duration, Instant};

use breaker::Breaker;
use config::{BreakerConfig, Window};
use outrigger_core::{CircuitState, Outcome, Ratio};
use shuttle::thread;
use sync::{Arc, Ordering};

fn config() -> BreakerConfig {
    BreakerConfig {
        window: Window::Time(Duration::from_secs(16)),
        min_calls: NonZeroU32::new(4).expect("not zero"),
        probes: NonZeroU32::new(2).expect("not zero"),
        jitter: Ratio::ZERO,
        ..BreakerConfig::default()
    }
}

#[expect(clippy::disallowed_methods, reason = "any instant serves as an origin")]
fn epoch() -> Instant {
    Instant::now()
}

const FAST: Duration = Duration::from_millis(1);

/// 100,000 schedules in the long run, fewer otherwise.
fn schedules(case: impl Fn() + Send + Sync + 'static) {
    let schedules = std::env::var("SCHEDULES").ok().and_then(|number| number.parse().ok());
    shuttle::check_random(case, schedules.unwrap_or(400));
}

#[test]
fn a_herd_trips_it_once_and_gets_exactly_the_probes() {
    schedules(|| {
        let t0 = epoch();
        let told = Arc::new(std::sync::Mutex::new(Vec::new()));
        let log = Arc::clone(&told);
        let breaker = Breaker::builder(config())
            .listener(move |transition| log.lock().expect("sound").push(transition.to))
            .build(t0)
            .expect("valid");
        let herd = |now: Instant| {
            let threads: Vec<_> = (0..5)
                .map(|_| {
                    let breaker = breaker.clone();
                    thread::spawn(move || breaker.admit(now))
                })
                .collect();
            let permits = threads.into_iter().filter_map(|thread| thread.join().expect("ok").ok());
            permits.collect::<Vec<_>>()
        };
        let together = |permits: Vec<permit::Permit>, outcome, now: Instant| {
            let threads: Vec<_> = permits
                .into_iter()
                .map(|permit| thread::spawn(move || permit.record(outcome, FAST, now)))
                .collect();
            for thread in threads {
                thread.join().expect("no panic");
            }
        };
        let all = herd(t0);
        assert_eq!(all.len(), 5);
        together(all, Outcome::Failure, t0);
        assert_eq!(breaker.state(t0), CircuitState::Open);

        let due = t0 + Duration::from_secs(5);
        let probes = herd(due);
        assert_eq!(probes.len(), 2, "no more and no fewer than the probes");
        together(probes, Outcome::Success, due);
        assert_eq!(breaker.state(due), CircuitState::Closed);
        assert_eq!(breaker.tally(due).total, 0);
        let expected = [CircuitState::Open, CircuitState::HalfOpen, CircuitState::Closed];
        assert_eq!(*told.lock().expect("sound"), expected, "each once, in order");
    });
}

#[test]
fn reloads_resets_drops_and_outcomes_in_any_order_leave_it_able_to_close() {
    schedules(|| {
        let t0 = epoch();
        let breaker = Breaker::new(config(), 0, t0).expect("valid");
        for _ in 0..4 {
            breaker.admit(t0).expect("closed").record(Outcome::Failure, FAST, t0);
        }
        let due = t0 + Duration::from_secs(5);
        let threads: Vec<_> = (0..4)
            .map(|n| {
                let breaker = breaker.clone();
                thread::spawn(move || match n {
                    0 => drop(breaker.admit(due)),
                    1 => {
                        if let Ok(permit) = breaker.admit(due) {
                            permit.record(Outcome::Success, FAST, due);
                        }
                    }
                    2 => {
                        let probes = NonZeroU32::MIN;
                        let config = BreakerConfig { probes, ..config() };
                        breaker.reconfigure(config, due).expect("valid");
                    }
                    _ => {
                        if let Ok(permit) = breaker.admit(due) {
                            permit.record(Outcome::Ignored, FAST, due);
                        }
                    }
                })
            })
            .collect();
        for thread in threads {
            thread.join().expect("no panic");
        }
        for _ in 0..3 {
            if let Ok(permit) = breaker.admit(due) {
                permit.record(Outcome::Success, FAST, due);
            }
        }
        assert_eq!(breaker.state(due), CircuitState::Closed);
    });
}

#[test]
fn a_window_by_count_comes_to_rest_at_what_its_ring_holds() {
    schedules(|| {
        let t0 = epoch();
        let calls = NonZeroU32::new(4).expect("not zero");
        let window = Window::Calls(calls);
        let config = BreakerConfig { window, failure_ratio: Ratio::ONE, ..config() };
        let breaker = Breaker::new(config, 0, t0).expect("valid");
        let outcomes = [Outcome::Failure, Outcome::Success, Outcome::Failure];
        let threads: Vec<_> = outcomes
            .into_iter()
            .map(|outcome| {
                let breaker = breaker.clone();
                thread::spawn(move || {
                    for _ in 0..2 {
                        if let Ok(permit) = breaker.admit(t0) {
                            permit.record(outcome, FAST, t0);
                        }
                    }
                })
            })
            .collect();
        for thread in threads {
            thread.join().expect("no panic");
        }
        if breaker.state(t0) == CircuitState::Closed {
            // Four more push all of it out, so whatever was counted wrong would stay behind.
            for _ in 0..4 {
                breaker.admit(t0).expect("closed").record(Outcome::Success, FAST, t0);
            }
            let tally = breaker.tally(t0);
            assert_eq!((tally.total, tally.failed), (4, 0));
        }
    });
}
