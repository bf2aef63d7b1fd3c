use std::sync::atomic::{AtomicU32, Ordering};

use crate::{ConcurrencyLimit, Full};

#[test]
fn what_is_over_the_bound_is_refused_at_once_and_admitted_after_a_drop() {
    let limit = ConcurrencyLimit::new(2);
    let (first, second) = (limit.try_acquire().expect("first"), limit.try_acquire());
    assert!(second.is_ok());
    assert_eq!(limit.try_acquire().map(drop), Err(Full { limit: 2 }));
    drop(first);
    assert_eq!(limit.in_flight(), 1);
    assert!(limit.try_acquire().is_ok());
}

#[test]
fn a_lowered_bound_lets_what_is_in_flight_end() {
    let limit = ConcurrencyLimit::new(3);
    let permits: Vec<_> = (0..3).map(|_| limit.try_acquire().expect("room")).collect();
    limit.set_limit(1);
    assert!(limit.try_acquire().is_err());
    drop(permits);
    assert!(limit.try_acquire().is_ok());
}

#[test]
fn a_bound_of_zero_lets_nothing_through() {
    assert!(ConcurrencyLimit::new(0).try_acquire().is_err());
}

#[test]
fn under_contention_never_more_than_the_bound_and_nothing_leaks() {
    let limit = ConcurrencyLimit::new(3);
    let (now, most) = (AtomicU32::new(0), AtomicU32::new(0));
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for _ in 0..5_000 {
                    if let Ok(_permit) = limit.try_acquire() {
                        most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                        now.fetch_sub(1, Ordering::SeqCst);
                    }
                }
            });
        }
    });
    assert!(most.into_inner() <= 3);
    assert_eq!(limit.in_flight(), 0);
}
