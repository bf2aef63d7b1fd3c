use std::num::NonZeroU32;
use std::sync::Barrier;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use crate::{KeyedRateLimit, RateLimitConfig};

#[expect(clippy::disallowed_methods, reason = "any instant serves as an origin")]
fn epoch() -> Instant {
    Instant::now()
}

#[test]
fn threads_that_bring_the_same_new_keys_get_one_bucket_for_each() {
    let t0 = epoch();
    let three = NonZeroU32::new(3).expect("not zero");
    let config = RateLimitConfig::new("1/h".parse().expect("a rate")).with_burst(three);
    let limit = KeyedRateLimit::new(config, 1, t0).expect("valid");
    let admitted: Vec<_> = (0..2_000).map(|_| AtomicU32::new(0)).collect();
    let barrier = Barrier::new(4);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                barrier.wait();
                for (n, admitted) in admitted.iter().enumerate() {
                    let key = limit.key().part(&n.to_le_bytes()).finish();
                    for _ in 0..2 {
                        if limit.try_acquire(key, t0).is_ok() {
                            admitted.fetch_add(1, Ordering::SeqCst);
                        }
                    }
                }
            });
        }
    });
    assert!(admitted.iter().all(|admitted| admitted.load(Ordering::SeqCst) == 3));
    assert_eq!(limit.len(), 2_000);
}

#[test]
fn while_places_change_hands_no_key_gets_more_than_its_due() {
    let t0 = epoch();
    let config = RateLimitConfig {
        max_keys: NonZeroU32::MIN,
        ..RateLimitConfig::new("1000/s".parse().expect("a rate")).with_burst(NonZeroU32::MIN)
    };
    let limit = KeyedRateLimit::new(config, 1, t0).expect("valid");
    // More keys than places, each full again after 1 ms: places change hands all the time.
    let admitted: Vec<_> = (0..40).map(|_| AtomicU32::new(0)).collect();
    let clock = AtomicU32::new(0);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                loop {
                    let step = clock.fetch_add(1, Ordering::SeqCst);
                    if step >= 40_000 {
                        break;
                    }
                    let n = (step * 7 % 40) as usize;
                    let key = limit.key().part(&n.to_le_bytes()).finish();
                    let now = t0 + Duration::from_micros(5) * step;
                    if limit.try_acquire(key, now).is_ok() {
                        admitted[n].fetch_add(1, Ordering::SeqCst);
                    }
                }
            });
        }
    });
    for (n, admitted) in admitted.iter().enumerate() {
        // 200 ms at 1,000/s and a burst of 1, where the shared bucket may add as much to all.
        let admitted = admitted.load(Ordering::SeqCst);
        assert!(admitted <= 201 + 201, "key {n}: {admitted}");
    }
}
