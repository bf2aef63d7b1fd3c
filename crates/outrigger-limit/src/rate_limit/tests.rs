use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU64, Ordering};

use super::*;

#[expect(clippy::disallowed_methods, reason = "any instant serves as an origin")]
fn epoch() -> Instant {
    Instant::now()
}

fn config(rate: &str, burst: u32) -> RateLimitConfig {
    let burst = NonZeroU32::new(burst).expect("not zero");
    RateLimitConfig::new(rate.parse().expect("a rate")).with_burst(burst)
}

fn limit(rate: &str, burst: u32, now: Instant) -> RateLimit {
    RateLimit::new(config(rate, burst), now).expect("valid")
}

const MS: Duration = Duration::from_millis(1);

#[test]
fn one_thread_gets_the_rate_to_the_token() {
    let t0 = epoch();
    let limit = limit("1000/s", 50, t0);
    let mut admitted = 0;
    for tick in 0..600_000_u64 {
        admitted += u64::from(limit.try_acquire(t0 + MS * tick as u32 / 10).is_ok());
        let most = tick / 10 + 50;
        assert!(admitted <= most, "{admitted} of {most} after {tick} ticks");
    }
    assert_eq!(admitted, 59_999 + 50);
}

#[test]
fn from_one_to_64_threads_the_rate_is_kept_within_a_hundredth_and_never_exceeded() {
    for threads in [1_u64, 2, 8, 64] {
        let t0 = epoch();
        let limit = limit("1000/s", 100, t0);
        // A clock that all threads push on together, to 60 s of virtual time.
        let clock = AtomicU64::new(0);
        let admitted = AtomicU64::new(0);
        std::thread::scope(|scope| {
            for _ in 0..threads {
                scope.spawn(|| {
                    loop {
                        let micros = clock.fetch_add(250, Ordering::SeqCst);
                        if micros >= 60_000_000 {
                            break;
                        }
                        if limit.try_acquire(t0 + Duration::from_micros(micros)).is_ok() {
                            admitted.fetch_add(1, Ordering::SeqCst);
                        }
                    }
                });
            }
        });
        let admitted = admitted.into_inner();
        assert!(admitted <= 60_000 + 100, "{threads} threads: {admitted}");
        assert!(admitted >= 59_400, "{threads} threads: {admitted}");
    }
}

#[test]
fn a_rate_that_does_not_divide_is_never_exceeded() {
    let t0 = epoch();
    let limit = limit("3/s", 1, t0);
    let admitted = (0..600_000).filter(|n| limit.try_acquire(t0 + MS * *n).is_ok()).count();
    // Asked every millisecond, up to one is lost with each token.
    assert!((1_790..=1_801).contains(&admitted), "{admitted} in 600 s");
}

#[test]
fn a_caller_that_waits_as_told_is_admitted() {
    let t0 = epoch();
    for rate in ["1000/s", "7/s", "3/m", "1/h", "999983/s"] {
        let limit = limit(rate, 3, t0);
        let mut now = t0;
        let mut refused = 0;
        for _ in 0..200 {
            if let Err(limited) = limit.try_acquire(now) {
                refused += 1;
                assert_eq!((limited.limit, limited.remaining), (3, 0));
                let early = now + limited.retry_after - Duration::from_nanos(1);
                assert!(limit.try_acquire(early).is_err(), "{rate}: told too late a time");
                now += limited.retry_after;
                assert!(limit.try_acquire(now).is_ok(), "{rate}: told too early a time");
            }
        }
        assert!(refused > 90, "{rate}: {refused}");
    }
}

#[test]
fn remaining_counts_down_to_zero_and_the_burst_comes_back() {
    let t0 = epoch();
    let limit = limit("10/s", 5, t0);
    let left: Vec<_> = (0..5).map(|_| limit.try_acquire(t0).expect("burst").remaining).collect();
    assert_eq!(left, [4, 3, 2, 1, 0]);
    assert!(limit.try_acquire(t0).is_err());
    let full = limit.try_acquire(t0 + Duration::from_secs(1)).expect("full again");
    assert_eq!((full.remaining, full.limit), (4, 5));
}

#[test]
fn a_now_from_before_grants_nothing_more_and_sticks_nowhere() {
    let t0 = epoch();
    let limit = limit("10/s", 5, t0);
    let later = t0 + Duration::from_secs(100);
    for _ in 0..5 {
        assert!(limit.try_acquire(later).is_ok());
    }
    for back in [0, 1, 50, 99] {
        assert!(limit.try_acquire(t0 + Duration::from_secs(back)).is_err(), "{back} s");
    }
    assert!(limit.try_acquire(later + MS * 100).is_ok(), "time goes on");
    let before = t0.checked_sub(Duration::from_secs(1)).unwrap_or(t0);
    assert!(limit.try_acquire(before).is_err(), "from before the limiter was made");
}

#[test]
fn after_a_long_sleep_no_more_than_the_burst_is_there() {
    let t0 = epoch();
    let limit = limit("1000/s", 20, t0);
    let woken = t0 + Duration::from_secs(86_400 * 365);
    let admitted = (0..1_000).filter(|_| limit.try_acquire(woken).is_ok()).count();
    assert_eq!(admitted, 20);
}

#[test]
fn observe_admits_and_says_who_would_have_been_limited() {
    let t0 = epoch();
    let config = config("1/s", 2).with_mode(Mode::Observe);
    let limit = RateLimit::new(config, t0).expect("valid");
    let spared = (0..10).map(|_| limit.try_acquire(t0).expect("admitted"));
    assert_eq!(spared.filter(|admitted| admitted.is_spared).count(), 8);
}

#[test]
fn a_reload_keeps_what_was_taken() {
    let t0 = epoch();
    let limit = limit("10/s", 10, t0);
    for _ in 0..10 {
        limit.try_acquire(t0).expect("burst");
    }
    for flip in 0..1_000 {
        let (rate, burst) = if flip % 2 == 0 { ("20/s", 30) } else { ("10/s", 10) };
        limit.reconfigure(config(rate, burst), t0).expect("valid");
        if burst == 10 {
            assert!(limit.try_acquire(t0).is_err(), "reload {flip} refilled the bucket");
        }
    }
    limit.reconfigure(config("1/s", 10), t0).expect("valid");
    assert!(limit.try_acquire(t0 + MS * 999).is_err(), "the new rate counts from the reload");
    assert!(limit.try_acquire(t0 + MS * 1_000).is_ok());
}

#[test]
fn values_out_of_range_are_named() {
    let mut many = config("1/s", 1);
    many.max_keys = NonZeroU32::MAX;
    let bad = [
        ("rate_limits.burst", config("1/24h", u32::MAX)),
        ("rate_limits.rate", config("2000000/ms", 1)),
        ("rate_limits.max_keys", many),
    ];
    for (key, config) in bad {
        let error = RateLimit::new(config, epoch()).expect_err(key);
        assert_eq!(error.key, key);
        assert!(error.to_string().contains(error.allowed), "{error}");
    }
    assert!(RateLimit::new(config("1000000000/s", 1), epoch()).is_ok());
    assert_eq!(RateLimitConfig::new("7/s".parse().expect("a rate")).burst().get(), 7);
}

#[test]
fn a_look_says_what_asking_would_and_takes_nothing() {
    let t0 = epoch();
    let mut rng = fastrand::Rng::with_seed(11);
    for rate in ["1000/s", "7/s", "3/m", "999983/s"] {
        let limit = limit(rate, 3, t0);
        let mut now = t0;
        for _ in 0..2_000 {
            now += Duration::from_nanos(rng.u64(..limit.config().interval() * 2));
            let (seen, again) = (limit.peek(now), limit.peek(now));
            assert_eq!(seen, again, "looking takes nothing");
            match (seen, limit.try_acquire(now)) {
                (Ok(seen), Ok(got)) => assert_eq!(seen.remaining, got.remaining + 1, "{rate}"),
                (Err(seen), Err(got)) => assert_eq!(seen, got, "{rate}"),
                (seen, got) => panic!("{rate}: saw {seen:?}, got {got:?}"),
            }
        }
    }
}
