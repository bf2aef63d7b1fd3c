//! The races, by loom: every interleaving of small cases.
//!
//! The crate's very sources are included, with loom's locks and atomics in the place of the
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

    use loom::sync::atomic::fence;
    pub(crate) use loom::sync::atomic::{AtomicBool, AtomicI64, AtomicU8, AtomicU32, Ordering};
    pub(crate) use loom::sync::{Mutex, MutexGuard};

    /// loom takes sequentially consistent accesses for acquire and release only, and models fences
    /// alone in full; so here each access has a fence beside it.
    #[derive(Debug)]
    pub(crate) struct AtomicU64(loom::sync::atomic::AtomicU64);

    impl AtomicU64 {
        pub(crate) fn new(value: u64) -> Self {
            Self(loom::sync::atomic::AtomicU64::new(value))
        }

        pub(crate) fn load(&self, order: Ordering) -> u64 {
            fence(Ordering::SeqCst);
            self.0.load(order)
        }

        pub(crate) fn store(&self, value: u64, order: Ordering) {
            self.0.store(value, order);
            fence(Ordering::SeqCst);
        }

        pub(crate) fn swap(&self, value: u64, order: Ordering) -> u64 {
            self.0.swap(value, order)
        }

        pub(crate) fn fetch_add(&self, value: u64, order: Ordering) -> u64 {
            self.0.fetch_add(value, order)
        }

        pub(crate) fn fetch_max(&self, value: u64, order: Ordering) -> u64 {
            self.0.fetch_max(value, order)
        }

        pub(crate) fn compare_exchange_weak(
            &self,
            seen: u64,
            next: u64,
            success: Ordering,
            failure: Ordering,
        ) -> Result<u64, u64> {
            self.0.compare_exchange(seen, next, success, failure)
        }
    }

    impl Default for AtomicU64 {
        fn default() -> Self {
            Self::new(0)
        }
    }

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
use loom::thread;
use outrigger_core::{CircuitState, Outcome, Ratio};
use sync::{Arc, Ordering};

fn config(min_calls: u32, probes: u32) -> BreakerConfig {
    BreakerConfig {
        window: Window::Time(Duration::from_secs(16)),
        min_calls: NonZeroU32::new(min_calls).expect("not zero"),
        probes: NonZeroU32::new(probes).expect("not zero"),
        jitter: Ratio::ZERO,
        ..BreakerConfig::default()
    }
}

#[expect(clippy::disallowed_methods, reason = "any instant serves as an origin")]
fn epoch() -> Instant {
    Instant::now()
}

const FAST: Duration = Duration::from_millis(1);

/// Interleavings with at most three pre-emptions: those that find races, in seconds.
fn model(case: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(builder.preemption_bound.unwrap_or(3));
    builder.check(case);
}

#[test]
fn of_two_that_reach_the_threshold_together_one_trips_and_it_is_told_once() {
    model(|| {
        let t0 = epoch();
        let told = Arc::new(std::sync::atomic::AtomicU32::new(0));
        let count = Arc::clone(&told);
        let breaker = Breaker::builder(config(2, 1))
            .listener(move |_| {
                count.fetch_add(1, Ordering::SeqCst);
            })
            .build(t0)
            .expect("valid");
        let other = breaker.clone();
        let thread = thread::spawn(move || {
            other.admit(t0).map(|permit| permit.record(Outcome::Failure, FAST, t0)).is_ok()
        });
        let ours = breaker.admit(t0).map(|permit| permit.record(Outcome::Failure, FAST, t0));
        assert!(thread.join().expect("no panic") && ours.is_ok(), "closed until both are counted");
        assert_eq!(breaker.state(t0), CircuitState::Open, "no threshold is passed unseen");
        assert_eq!(told.load(Ordering::SeqCst), 1);
    });
}

#[test]
fn a_success_and_a_failure_together_never_hide_the_threshold() {
    model(|| {
        let t0 = epoch();
        // One half of two calls: reached by whichever of the two is counted last.
        let breaker = Breaker::new(config(2, 1), 0, t0).expect("valid");
        let other = breaker.clone();
        let theirs = breaker.admit(t0).expect("closed");
        let ours = breaker.admit(t0).expect("closed");
        let thread = thread::spawn(move || {
            theirs.record(Outcome::Failure, FAST, t0);
            drop(other);
        });
        ours.record(Outcome::Success, FAST, t0);
        thread.join().expect("no panic");
        assert_eq!(breaker.state(t0), CircuitState::Open);
    });
}

#[test]
fn of_two_at_the_moment_of_half_open_one_is_the_probe() {
    model(|| {
        let t0 = epoch();
        let breaker = Breaker::new(config(1, 1), 0, t0).expect("valid");
        breaker.admit(t0).expect("closed").record(Outcome::Failure, FAST, t0);
        let due = t0 + Duration::from_secs(5);
        let other = breaker.clone();
        // Permits are kept until both have asked: dropped ones would give their place back.
        let thread = thread::spawn(move || other.admit(due));
        let ours = breaker.admit(due);
        let theirs = thread.join().expect("no panic");
        assert_eq!(u8::from(ours.is_ok()) + u8::from(theirs.is_ok()), 1);
        drop((ours, theirs));
        assert!(breaker.admit(due).is_ok(), "the place came back");
    });
}

#[test]
fn a_dropped_probe_and_a_newcomer_never_lose_the_place() {
    model(|| {
        let t0 = epoch();
        let breaker = Breaker::new(config(1, 1), 0, t0).expect("valid");
        breaker.admit(t0).expect("closed").record(Outcome::Failure, FAST, t0);
        let due = t0 + Duration::from_secs(5);
        let probe = breaker.admit(due).expect("the probe");
        let thread = thread::spawn(move || drop(probe));
        let seen = breaker.admit(due).is_ok();
        thread.join().expect("no panic");
        assert!(seen || breaker.admit(due).is_ok());
    });
}

#[test]
fn a_late_failure_never_counts_in_the_closed_state_that_follows() {
    model(|| {
        let t0 = epoch();
        let breaker = Breaker::new(config(1, 1), 0, t0).expect("valid");
        let late = breaker.admit(t0).expect("closed");
        breaker.admit(t0).expect("closed").record(Outcome::Failure, FAST, t0);
        let due = t0 + Duration::from_secs(5);
        let probe = breaker.admit(due).expect("the probe");
        let thread = thread::spawn(move || late.record(Outcome::Failure, FAST, due));
        probe.record(Outcome::Success, FAST, due);
        thread.join().expect("no panic");
        assert_eq!(breaker.state(due), CircuitState::Closed);
        assert_eq!(breaker.tally(due).total, 0);
    });
}
