//! Every interleaving of two or three threads on one budget.

use loom::sync::Arc;
use loom::thread;
use outrigger_core::Ratio;

use super::*;

fn counters(min_concurrent: u32, min_per_second: u32) -> Arc<Counters> {
    let config = BudgetConfig { ratio: Ratio::HALF, min_concurrent, min_per_second };
    Arc::new(Counters::new(&config))
}

#[test]
fn the_last_token_is_taken_once() {
    loom::model(|| {
        let counters = counters(9, 1);
        let threads: Vec<_> = (0..2)
            .map(|_| {
                let counters = Arc::clone(&counters);
                thread::spawn(move || counters.take(0).is_some())
            })
            .collect();
        let taken = threads.into_iter().filter_map(|t| t.join().ok()).filter(|t| *t).count();
        assert_eq!(taken, 1);
    });
}

#[test]
fn no_more_run_than_may() {
    loom::model(|| {
        let counters = counters(1, 9);
        let threads: Vec<_> = (0..2)
            .map(|_| {
                let counters = Arc::clone(&counters);
                thread::spawn(move || {
                    if counters.try_run() {
                        assert!(counters.running() <= 1);
                        counters.end_run();
                    }
                })
            })
            .collect();
        for thread in threads {
            thread.join().expect("no panic");
        }
        assert_eq!(counters.running(), 0);
    });
}

#[test]
fn a_token_given_back_is_there_once() {
    loom::model(|| {
        let counters = counters(9, 1);
        let other = Arc::clone(&counters);
        let thread = thread::spawn(move || match other.take(0) {
            Some(source) => {
                other.give_back(source);
                true
            }
            None => false,
        });
        let kept = counters.take(0).is_some();
        let returned = thread.join().expect("no panic");
        assert!(kept || returned, "somebody got it");
        assert_eq!(counters.take(0).is_some(), !kept, "it is gone only if it was kept");
    });
}

#[test]
fn requests_fill_the_bucket_without_losing_a_part() {
    loom::model(|| {
        let counters = counters(9, 0);
        let other = Arc::clone(&counters);
        let thread = thread::spawn(move || {
            other.begin_request();
            other.end_request();
        });
        counters.begin_request();
        thread.join().expect("no panic");
        assert_eq!(counters.in_flight(), 1);
        assert!(counters.take(0).is_some(), "two halves are one token");
        assert!(counters.take(0).is_none());
    });
}
