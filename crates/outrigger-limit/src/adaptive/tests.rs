use std::time::Duration;

use super::*;

#[expect(clippy::disallowed_methods, reason = "any instant serves as an origin")]
fn epoch() -> Instant {
    Instant::now()
}

const MS: Duration = Duration::from_millis(1);

#[test]
fn a_limit_that_is_used_grows_and_one_whose_requests_are_dropped_shrinks() {
    let limit = AdaptiveLimit::new(Gradient2Config::default()).expect("valid");
    let mut now = epoch();
    let mut round = |dropped| {
        let permits: Vec<_> =
            std::iter::from_fn(|| limit.try_acquire(now).ok()).take(2_000).collect();
        assert_eq!(permits.len() as u32, limit.limit(), "no more than the limit");
        now += MS * 10;
        for permit in permits {
            permit.complete(dropped, now);
        }
        limit.limit()
    };
    let grown = (0..200).map(|_| round(false)).last().expect("some");
    assert!(grown > 20, "{grown}");
    let shrunk = (0..200).map(|_| round(true)).last().expect("some");
    assert_eq!(shrunk, 4);
    assert_eq!(limit.in_flight(), 0);
}

#[test]
fn a_cancelled_request_is_given_back_and_is_no_sample() {
    let limit = AdaptiveLimit::new(Gradient2Config::default()).expect("valid");
    let t0 = epoch();
    for n in 0..10_000 {
        drop(limit.try_acquire(t0 + MS * n).expect("room"));
    }
    assert_eq!((limit.in_flight(), limit.limit()), (0, 20));
}
