use std::num::NonZeroU32;

use crate::window::{CallWindow, Mark, Settled, Tally, TimeWindow};

const BAD: Mark = Mark { failed: true, slow: false };
const GOOD: Mark = Mark { failed: false, slow: false };
const SECOND: u64 = 1_000_000_000;

fn total(window: &TimeWindow, now: u64) -> u64 {
    window.tally(window.slice(now)).total
}

#[test]
fn every_call_of_one_instant_is_counted() {
    let window = TimeWindow::new(10 * SECOND, 0);
    for _ in 0..100_000 {
        window.record(5 * SECOND, BAD, &Settled::default());
    }
    let tally = window.tally(window.slice(5 * SECOND));
    assert_eq!(tally, Tally { total: 100_000, failed: 100_000, slow: 0 }, "(l) any rate");
}

#[test]
fn a_call_leaves_after_sixteen_slices_and_not_before() {
    let window = TimeWindow::new(16 * SECOND, 0);
    window.record(3 * SECOND, BAD, &Settled::default());
    assert_eq!(total(&window, 19 * SECOND - 1), 1);
    assert_eq!(total(&window, 19 * SECOND), 0);
}

#[test]
fn an_idle_gap_of_any_length_clears_the_window() {
    for gap in [16, 17, 31, 32, 1_000, 1 << 20, 1 << 31, 4_000_000_000] {
        let window = TimeWindow::new(16 * SECOND, 0);
        for second in 0..16 {
            window.record(second * SECOND, BAD, &Settled::default());
        }
        let later = (15 + gap) * SECOND;
        assert_eq!(total(&window, later), 0, "(l) gap of {gap} s");
        assert_eq!(
            window.record(later, GOOD, &Settled::default()),
            None,
            "nothing bad is in sight"
        );
        assert_eq!(total(&window, later), 1);
    }
}

#[test]
fn the_slice_number_may_wrap() {
    let edge = u64::from(u32::MAX) * SECOND;
    let window = TimeWindow::new(16 * SECOND, edge - 20 * SECOND);
    for second in 0..40 {
        let now = edge - 20 * SECOND + second * SECOND;
        let tally = window.record(now, BAD, &Settled::default()).expect("bad calls are in sight");
        assert_eq!(tally.total, (second + 1).min(16));
        assert_eq!(tally.failed, tally.total);
    }
}

#[test]
fn a_call_older_than_the_window_is_not_counted_as_a_new_one() {
    let window = TimeWindow::new(16 * SECOND, 0);
    window.record(40 * SECOND, GOOD, &Settled::default());
    window.record(24 * SECOND, BAD, &Settled::default());
    assert_eq!(total(&window, 40 * SECOND), 1, "one lap behind, in the very same place");
    window.record(25 * SECOND, BAD, &Settled::default());
    assert_eq!(total(&window, 40 * SECOND), 2, "late, and still within");
}

#[test]
fn the_last_calls_are_exact_over_many_laps() {
    let window = CallWindow::new(NonZeroU32::new(7).expect("not zero"));
    let mut log = Vec::new();
    let mut rng = fastrand::Rng::with_seed(3);
    for _ in 0..1_000 {
        let mark = Mark { failed: rng.bool(), slow: rng.bool() };
        log.push(mark);
        window.record(mark);
        let last = &log[log.len().saturating_sub(7)..];
        let count = |what: fn(&Mark) -> bool| last.iter().filter(|mark| what(mark)).count() as u64;
        let expected = Tally {
            total: last.len() as u64,
            failed: count(|mark| mark.failed),
            slow: count(|mark| mark.slow),
        };
        assert_eq!(window.tally(), expected);
    }
}

#[test]
fn nothing_is_lost_between_threads() {
    let window = TimeWindow::new(16 * SECOND, 0);
    let calls = CallWindow::new(NonZeroU32::new(64).expect("not zero"));
    std::thread::scope(|scope| {
        for thread in 0..4_u64 {
            let (window, calls) = (&window, &calls);
            scope.spawn(move || {
                for n in 0..10_000 {
                    window.record((n + thread) % (16 * SECOND), BAD, &Settled::default());
                    calls.record(if n < 9_000 { BAD } else { GOOD });
                }
            });
        }
    });
    let tally = window.tally(0);
    assert_eq!(tally, Tally { total: 40_000, failed: 40_000, slow: 0 });
    assert!(calls.tally().failed <= 64, "{:?}", calls.tally());
}
