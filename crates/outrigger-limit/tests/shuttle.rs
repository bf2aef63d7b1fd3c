//! The races, by shuttle: random schedules of larger cases; `SCHEDULES` sets how many.
//!
//! The crate's very sources are included, with shuttle's locks and atomics in the place of the
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

    pub(crate) use shuttle::sync::atomic::{AtomicU32, AtomicU64, Ordering};
    pub(crate) use shuttle::sync::{Mutex, MutexGuard};

    pub(crate) fn pause() {
        shuttle::thread::yield_now();
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

use shuttle::thread;

/// 100,000 schedules in the long run, fewer otherwise.
fn schedules(case: impl Fn() + Send + Sync + 'static) {
    let schedules = std::env::var("SCHEDULES").ok().and_then(|number| number.parse().ok());
    shuttle::check_random(case, schedules.unwrap_or(100));
}

/// Keys that have the same two rows in the smallest table, in which every key has: a place for 16.
fn full_table() -> (Arc<Table>, Governor) {
    let table = Arc::new(Table::new(1));
    assert_eq!(table.capacity(), 16);
    let limit = governor(&table, 1);
    (table, limit)
}

#[test]
fn a_bucket_is_never_overdrawn() {
    schedules(|| {
        let (_table, limit) = full_table();
        let limit = Arc::new(limit);
        let threads: Vec<_> = (0..3)
            .map(|_| {
                let limit = Arc::clone(&limit);
                thread::spawn(move || (1..4).filter(|n| admitted(&limit, key(*n), MS)).count())
            })
            .collect();
        let all: usize = threads.into_iter().map(|thread| thread.join().expect("no panic")).sum();
        assert_eq!(all, 3, "three keys with one token each");
    });
}

#[test]
fn a_place_that_changes_hands_charges_neither_owner_for_the_other() {
    schedules(|| {
        let (_table, limit) = full_table();
        // Every place is taken at 1 ms, and full again at 2 ms.
        for n in 0..64 {
            admitted(&limit, key(n), MS);
        }
        let limit = Arc::new(limit);
        let later = 5 * MS;
        // Old owners and newcomers at once, for the same places.
        let threads: Vec<_> = [0, 100, 0, 100]
            .into_iter()
            .map(|first| {
                let limit = Arc::clone(&limit);
                thread::spawn(move || {
                    (first..first + 8)
                        .filter(|n| admitted(&limit, key(*n), later))
                        .collect::<Vec<_>>()
                })
            })
            .collect();
        let mut all: Vec<_> =
            threads.into_iter().flat_map(|thread| thread.join().expect("no panic")).collect();
        let admitted = all.len();
        all.sort_unstable();
        all.dedup();
        assert_eq!(admitted, all.len(), "each key has one token, whoever asks");
        assert!(admitted <= 16);
    });
}

#[test]
fn a_permit_is_never_given_twice() {
    schedules(|| {
        let limit = ConcurrencyLimit::new(2);
        let threads: Vec<_> = (0..4)
            .map(|_| {
                let limit = limit.clone();
                thread::spawn(move || {
                    let permit = limit.try_acquire();
                    assert!(limit.in_flight() <= 2);
                    drop(permit);
                })
            })
            .collect();
        for thread in threads {
            thread.join().expect("no panic");
        }
        assert_eq!(limit.in_flight(), 0);
    });
}
