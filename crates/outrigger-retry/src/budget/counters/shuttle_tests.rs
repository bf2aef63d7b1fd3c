//! Random interleavings of many threads on one budget, 100,000 schedules.

use outrigger_core::Ratio;
use shuttle::sync::Arc;
use shuttle::thread;

use super::*;

#[test]
fn no_schedule_admits_more_than_the_bounds_or_loses_a_permit() {
    shuttle::check_random(
        || {
            let config = BudgetConfig { ratio: Ratio::HALF, min_concurrent: 2, min_per_second: 3 };
            let counters = Arc::new(Counters::new(&config));
            let threads: Vec<_> = (0..4)
                .map(|_| {
                    let counters = Arc::clone(&counters);
                    thread::spawn(move || {
                        counters.begin_request();
                        let mut started = 0_u32;
                        for _ in 0..2 {
                            let Some(source) = counters.take(0) else { continue };
                            if counters.try_run() {
                                // Half of at most 4 in flight, so 2 is the bound throughout.
                                assert!(counters.running() <= 2);
                                started += 1;
                                counters.end_run();
                            } else {
                                counters.give_back(source);
                            }
                        }
                        counters.end_request();
                        started
                    })
                })
                .collect();
            let started: u32 = threads.into_iter().map(|t| t.join().expect("no panic")).sum();
            assert!(started <= 3 + 2, "3 tokens of time, 4 halves of requests");
            assert_eq!((counters.in_flight(), counters.running()), (0, 0));
            assert_eq!(counters.tokens(0), 5 - started, "what was not spent is there");
        },
        100_000,
    );
}
