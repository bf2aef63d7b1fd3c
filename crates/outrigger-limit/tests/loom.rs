//! The races, by loom: every interleaving of small cases.
//!
//! The crate's very sources are included, with loom's locks and atomics in the place of the
//! standard ones; governor itself holds no state.
#![allow(
    dead_code,
    unreachable_pub,
    unnameable_types,
    unused_imports,
    unfulfilled_lint_expectations,
    reason = "these sources are a crate of their own elsewhere"
)]

#[path = "../src/clock.rs"]
mod clock;
#[path = "../src/concurrency.rs"]
mod concurrency;
#[path = "../src/config.rs"]
mod config;
#[path = "../src/key.rs"]
mod key;
#[path = "../src/scale.rs"]
mod scale;
#[path = "../src/table.rs"]
mod table;

/// What stands for `src/sync.rs`.
mod sync {
    pub(crate) use std::sync::Arc;

    use loom::sync::atomic::fence;
    pub(crate) use loom::sync::atomic::{AtomicU32, Ordering};
    pub(crate) use loom::sync::{Mutex, MutexGuard};

    pub(crate) fn pause() {
        loom::thread::yield_now();
    }

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

        pub(crate) fn compare_exchange(
            &self,
            seen: u64,
            next: u64,
            success: Ordering,
            failure: Ordering,
        ) -> Result<u64, u64> {
            self.0.compare_exchange(seen, next, success, failure)
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
}

use governor::middleware::StateInformationMiddleware;
use governor::{Quota, RateLimiter};
use std::num::NonZeroU32;
use std::time::Duration;

use clock::CallClock;
use concurrency::ConcurrencyLimit;
use config::WhenFull;
use key::{Key, KeyBuilder};
use scale::Scale;
use sync::Arc;
use table::{KeyedStore, Table};

type Governor = RateLimiter<Key, KeyedStore, CallClock, StateInformationMiddleware>;

/// governor over our table: one token each MS, a burst of `burst`.
fn governor(table: &Arc<Table>, burst: u32) -> Governor {
    let store = KeyedStore {
        table: Arc::clone(table),
        scale: Scale::new(MS, burst),
        when_full: WhenFull::Refuse,
    };
    CallClock::set(0);
    let burst = NonZeroU32::new(burst).expect("not zero");
    let quota = Quota::with_period(Duration::from_nanos(MS)).expect("not zero").allow_burst(burst);
    RateLimiter::new(quota, store, CallClock)
}

/// One call at `now`; the time is set for this thread alone, as in the limiter.
fn admitted(governor: &Governor, key: Key, now: u64) -> bool {
    CallClock::set(now);
    governor.check_key(&key).is_ok()
}

fn key(n: u64) -> Key {
    KeyBuilder::new(7).part(&n.to_le_bytes()).finish()
}

const MS: u64 = 1_000_000;

use loom::thread;

/// Interleavings with at most `preemptions`: loads alone are many here, so the bound is low.
fn model(preemptions: usize, case: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(builder.preemption_bound.unwrap_or(preemptions));
    builder.max_branches = 20_000;
    builder.check(case);
}

#[test]
fn two_calls_of_one_bucket_take_a_token_each() {
    model(2, || {
        let table = Arc::new(Table::new(1));
        let limit = Arc::new(governor(&table, 2));
        assert!(admitted(&limit, key(1), MS));
        let other = Arc::clone(&limit);
        let thread = thread::spawn(move || admitted(&other, key(1), MS));
        let ours = admitted(&limit, key(1), MS);
        let theirs = thread.join().expect("no panic");
        assert!(ours != theirs, "one token was left: {ours} {theirs}");
    });
}

#[test]
fn two_that_bring_the_same_new_key_get_one_bucket() {
    model(2, || {
        let table = Arc::new(Table::new(1));
        let limit = Arc::new(governor(&table, 1));
        let other = Arc::clone(&limit);
        let thread = thread::spawn(move || admitted(&other, key(1), MS));
        let ours = admitted(&limit, key(1), MS);
        let theirs = thread.join().expect("no panic");
        assert!(ours != theirs, "{ours} {theirs}");
        assert_eq!(table.len(), 1);
    });
}

#[test]
fn of_two_that_want_the_last_permit_one_gets_it() {
    model(3, || {
        let limit = ConcurrencyLimit::new(1);
        let other = limit.clone();
        let thread = thread::spawn(move || other.try_acquire());
        let ours = limit.try_acquire();
        let theirs = thread.join().expect("no panic");
        assert!(ours.is_ok() != theirs.is_ok());
        drop((ours, theirs));
        assert_eq!(limit.in_flight(), 0);
    });
}
