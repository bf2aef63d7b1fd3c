use std::num::NonZeroU32;
use std::time::Duration;

use super::*;
use crate::config::WhenFull;

#[expect(clippy::disallowed_methods, reason = "any instant serves as an origin")]
fn epoch() -> Instant {
    Instant::now()
}

fn number(number: u32) -> NonZeroU32 {
    NonZeroU32::new(number).expect("not zero")
}

fn config(rate: &str, burst: u32, max_keys: u32) -> RateLimitConfig {
    let config = RateLimitConfig::new(rate.parse().expect("a rate")).with_burst(number(burst));
    RateLimitConfig { max_keys: number(max_keys), ..config }
}

fn limit(config: RateLimitConfig, now: Instant) -> KeyedRateLimit {
    KeyedRateLimit::new(config, 0x5eed_5eed, now).expect("valid")
}

fn key(limit: &KeyedRateLimit, n: u32) -> Key {
    limit.key().part(&n.to_le_bytes()).finish()
}

#[test]
fn each_key_has_a_bucket_of_its_own() {
    let t0 = epoch();
    let limit = limit(config("1/s", 2, 100), t0);
    for n in 0..100 {
        let key = key(&limit, n);
        assert!(limit.try_acquire(key, t0).is_ok());
        assert!(limit.try_acquire(key, t0).is_ok());
        assert!(limit.try_acquire(key, t0).is_err(), "key {n}");
    }
    assert_eq!(limit.len(), 100);
}

#[test]
fn as_many_keys_as_promised_find_room() {
    for max_keys in [1, 10, 1_000, 65_536] {
        let t0 = epoch();
        let mut config = config("1/h", 1, max_keys);
        config.when_full = WhenFull::Refuse;
        let limit = limit(config, t0);
        let refused = (0..max_keys).filter(|&n| limit.try_acquire(key(&limit, n), t0).is_err());
        assert_eq!(refused.count(), 0, "{max_keys} keys");
    }
}

#[test]
fn keys_that_find_no_room_share_a_bucket_or_are_refused() {
    let t0 = epoch();
    let admitted = |when_full| {
        let limit = limit(RateLimitConfig { when_full, ..config("1/h", 5, 64) }, t0);
        let capacity = limit.capacity();
        let admitted = (0..10_000).filter(|&n| limit.try_acquire(key(&limit, n), t0).is_ok());
        (admitted.count(), limit.len(), capacity)
    };
    let (all, taken, capacity) = admitted(WhenFull::Refuse);
    assert_eq!((all, taken), (capacity, capacity), "a bucket each, and no more");
    let (all, taken, _) = admitted(WhenFull::Share);
    assert_eq!((all, taken), (capacity + 5, capacity), "one bucket for all the others");
}

#[test]
fn a_refused_key_is_told_a_time() {
    let t0 = epoch();
    let mut config = config("1/s", 1, 1);
    config.when_full = WhenFull::Refuse;
    let limit = limit(config, t0);
    let limited = (0..1_000).find_map(|n| limit.try_acquire(key(&limit, n), t0).err());
    assert_eq!(limited.expect("no room").retry_after, Duration::from_secs(1));
}

#[test]
fn a_place_is_given_away_only_when_its_bucket_is_full_again() {
    let t0 = epoch();
    let limit = limit(config("1/s", 3, 64), t0);
    let ours = key(&limit, u32::MAX);
    for _ in 0..3 {
        limit.try_acquire(ours, t0).expect("burst");
    }
    for n in 0..100_000 {
        let _shared = limit.try_acquire(key(&limit, n), t0 + Duration::from_micros(20) * n);
    }
    let now = t0 + Duration::from_millis(2_999);
    let left = (0..3).take_while(|_| limit.try_acquire(ours, now).is_ok()).count();
    assert_eq!(left, 2, "100,000 others came, and two tokens and no more are back");
}

#[test]
fn a_million_keys_leave_hot_ones_their_limit_and_memory_as_it_was() {
    let t0 = epoch();
    let limit = limit(config("100/s", 10, 65_536), t0);
    let capacity = limit.capacity();
    let hot: Vec<_> = (0..100).map(|n| key(&limit, n)).collect();
    let mut admitted = vec![0_u32; hot.len()];
    // 4 s of virtual time: 250,000 new keys a second, and 500 calls a second of each hot key.
    for n in 0..1_000_000_u32 {
        let now = t0 + Duration::from_micros(4) * n;
        let _cold = limit.try_acquire(key(&limit, 1_000 + n), now);
        if n % 5 == 0 {
            let which = (n / 5 % 100) as usize;
            admitted[which] += u32::from(limit.try_acquire(hot[which], now).is_ok());
        }
    }
    for (n, admitted) in admitted.iter().enumerate() {
        // 400 by the rate and 10 by the burst, within 2 %.
        assert!((402..=410).contains(admitted), "hot key {n}: {admitted}");
    }
    assert!(limit.len() <= capacity && limit.capacity() == capacity);
}

#[test]
fn a_now_from_before_does_not_refill_a_key_whose_place_was_given_away() {
    let t0 = epoch();
    let mut config = config("1/s", 1, 1);
    config.when_full = WhenFull::Refuse;
    let limit = limit(config, t0);
    let ours = key(&limit, 0);
    let late = t0 + Duration::from_secs(100);
    assert!(limit.try_acquire(ours, late).is_ok());
    // Others take every place, once ours is full again.
    for n in 1..1_000 {
        let _others = limit.try_acquire(key(&limit, n), late + Duration::from_secs(5));
    }
    let before = late + Duration::from_millis(500);
    assert!(limit.try_acquire(ours, before).is_err(), "a thread whose clock reading is older");
}

#[test]
fn a_reload_keeps_what_each_key_took_also_when_the_table_changes_its_size() {
    let t0 = epoch();
    let limit = limit(config("1/s", 4, 1_000), t0);
    for n in 0..1_000 {
        for _ in 0..n % 5 {
            let _taken = limit.try_acquire(key(&limit, n), t0);
        }
    }
    for max_keys in [1_000, 5_000] {
        limit.reconfigure(config("2/s", 4, max_keys), t0).expect("valid");
    }
    assert!(limit.capacity() >= 5_000);
    for n in 0..1_000 {
        let key = key(&limit, n);
        let left = (0..9).take_while(|_| limit.try_acquire(key, t0).is_ok()).count() as u32;
        assert_eq!(left, 4 - n % 5, "key {n}");
    }
}

#[test]
fn its_debug_form_tells_no_secret() {
    let text = format!("{:?}", limit(config("1/s", 1, 1), epoch()));
    assert!(!text.contains("5eed") && !text.contains("1592614637"), "{text}");
}

#[test]
fn a_look_at_a_key_says_what_asking_would() {
    let t0 = epoch();
    let limit = limit(config("1/s", 2, 100), t0);
    let ours = key(&limit, 1);
    for left in [2, 1] {
        assert_eq!(limit.peek(ours, t0).expect("there is one").remaining, left);
        assert_eq!(limit.try_acquire(ours, t0).expect("there is one").remaining, left - 1);
    }
    assert_eq!(limit.peek(ours, t0), limit.try_acquire(ours, t0));
    assert_eq!(limit.peek(key(&limit, 2), t0).map(|seen| seen.remaining), Ok(2));
}
