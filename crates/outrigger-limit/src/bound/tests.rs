use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::*;
use crate::{AdaptivePermit, Permit};

#[expect(clippy::disallowed_methods, reason = "any instant serves as an origin")]
fn epoch() -> Instant {
    Instant::now()
}

fn adaptive(most: u32) -> BoundConfig {
    BoundConfig::new(most).with_adaptive(Some(Gradient2Config::default()))
}

#[derive(Debug)]
enum Held {
    Fixed { _permit: Permit },
    Adaptive(AdaptivePermit),
}

fn take(bound: &Bound, now: Instant) -> Option<Held> {
    match bound {
        Bound::Fixed(limit) => {
            limit.try_acquire().ok().map(|permit| Held::Fixed { _permit: permit })
        }
        Bound::Adaptive(limit) => limit.try_acquire(now).ok().map(Held::Adaptive),
    }
}

#[test]
fn a_request_that_an_adaptive_bound_let_in_does_not_move_the_fixed_one_that_follows() {
    let t0 = epoch();
    let old = Bound::new(&adaptive(100)).expect("valid");
    let held: Vec<_> = (0..10).filter_map(|_| take(&old, t0)).collect();
    let new = old.reload(&BoundConfig::new(7)).expect("valid");
    assert_eq!((new.in_flight(), new.limit()), (10, 7));
    for (n, held) in held.into_iter().enumerate() {
        let Held::Adaptive(permit) = held else { panic!("the old one is adaptive") };
        permit.complete(true, t0 + Duration::from_secs(n as u64));
    }
    assert_eq!((new.in_flight(), new.limit()), (0, 7), "what it learned concerns nobody now");
}

#[test]
fn what_was_learned_stays_within_the_new_bounds() {
    let t0 = epoch();
    let old = Bound::new(&adaptive(100)).expect("valid");
    assert_eq!(old.limit(), 20, "the default start");
    for n in 0..20 {
        let Some(Held::Adaptive(permit)) = take(&old, t0) else { panic!("there is room") };
        permit.complete(true, t0 + Duration::from_secs(n));
    }
    let learned = old.limit();
    assert!(learned < 20, "{learned}");
    assert_eq!(old.reload(&adaptive(90)).expect("valid").limit(), learned);
    assert_eq!(old.reload(&adaptive(4)).expect("valid").limit(), 4);
}

#[test]
fn values_out_of_range_change_nothing() {
    let bound = Bound::new(&BoundConfig::new(5)).expect("valid");
    assert_eq!(bound.reload(&BoundConfig::new(0)).expect_err("none").key, "max_in_flight");
    assert!(bound.reload(&adaptive(1)).is_err(), "below its own least");
    assert_eq!(bound.limit(), 5);
    assert_eq!(BoundConfig::default().max_in_flight, u32::MAX);
}

proptest! {
    /// Whatever is reloaded when: what is in flight is what is held, and nobody is let in at or
    /// above the limit in force.
    #[test]
    fn what_is_in_flight_is_what_is_held_over_any_chain_of_reloads(
        steps in proptest::collection::vec((0_u8..4, 1_u32..40, any::<prop::sample::Index>()), 1..200),
    ) {
        let t0 = epoch();
        let mut bound = Bound::new(&BoundConfig::new(10)).expect("valid");
        let mut held: Vec<Held> = Vec::new();
        for (n, (what, number, index)) in steps.into_iter().enumerate() {
            let now = t0 + Duration::from_millis(100 * n as u64);
            match what {
                0 => bound = bound.reload(&BoundConfig::new(number)).expect("valid"),
                1 => bound = bound.reload(&adaptive(number + 4)).expect("valid"),
                2 => {
                    let (before, limit) = (bound.in_flight(), bound.limit());
                    let got = take(&bound, now);
                    prop_assert_eq!(got.is_some(), before < limit);
                    held.extend(got);
                }
                _ if held.is_empty() => {}
                _ => match held.swap_remove(index.index(held.len())) {
                    Held::Adaptive(permit) => permit.complete(number % 5 == 0, now),
                    fixed @ Held::Fixed { .. } => drop(fixed),
                },
            }
            prop_assert_eq!(bound.in_flight() as usize, held.len());
        }
    }
}
