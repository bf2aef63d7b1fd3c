//! The laws of the limits, over rates, bursts, times and reloads at random.
//!
//! `PROPTEST_CASES` sets the number of cases of each.

use std::num::NonZeroU32;
use std::time::{Duration, Instant};

use outrigger_core::Rate;
use outrigger_limit::{KeyedRateLimit, RateLimit, RateLimitConfig};
use proptest::prelude::*;

#[expect(clippy::disallowed_methods, reason = "any instant serves as an origin")]
fn epoch() -> Instant {
    Instant::now()
}

fn settings() -> ProptestConfig {
    let cases = std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok());
    ProptestConfig {
        cases: cases.unwrap_or(200),
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}

fn configs() -> impl Strategy<Value = RateLimitConfig> {
    (1_u32..5_000, 1_u64..100_000, 1_u32..100).prop_map(|(count, per, burst)| {
        let number = |n| NonZeroU32::new(n).expect("not zero");
        let rate = Rate::new(number(count), Duration::from_millis(per)).expect("in range");
        RateLimitConfig::new(rate).with_burst(number(burst))
    })
}

/// Tokens that a rate makes in a time, in whole ones, rounded up.
fn made(config: &RateLimitConfig, span: Duration) -> u128 {
    let rate = config.rate;
    (span.as_nanos() * u128::from(rate.count().get())).div_ceil(rate.per().as_nanos())
}

proptest! {
    #![proptest_config(settings())]

    /// Whatever the callers' clocks read, and in whichever order.
    #[test]
    fn never_more_than_rate_by_time_and_burst(
        config in configs(),
        times in prop::collection::vec(0_u64..20_000_000, 1..300),
    ) {
        let t0 = epoch();
        let limit = RateLimit::new(config.clone(), t0).expect("valid");
        let span = times.iter().max().copied().unwrap_or(0);
        let ok = |micros: &&u64| limit.try_acquire(t0 + Duration::from_micros(**micros)).is_ok();
        let admitted = times.iter().filter(ok).count() as u128;
        let most = made(&config, Duration::from_micros(span)) + u128::from(config.burst().get());
        prop_assert!(admitted <= most, "{admitted} of at most {most}");
    }

    /// The bucket against one that counts in fractions of a token.
    #[test]
    fn a_bucket_admits_what_a_bucket_in_exact_arithmetic_admits(
        config in configs(),
        gaps in prop::collection::vec(0_u64..3_000_000_000, 1..200),
    ) {
        let t0 = epoch();
        let limit = RateLimit::new(config.clone(), t0).expect("valid");
        let interval = config.rate.per().as_nanos().div_ceil(u128::from(config.rate.count().get()));
        let depth = interval * u128::from(config.burst().get());
        let (mut now, mut level, mut since) = (0_u128, depth, 0_u128);
        for gap in gaps {
            now += u128::from(gap);
            level = depth.min(level + (now - since));
            since = now;
            let nanos = u64::try_from(now).expect("short");
            let verdict = limit.try_acquire(t0 + Duration::from_nanos(nanos));
            match verdict {
                Ok(admitted) => {
                    prop_assert!(level >= interval, "no token was there");
                    level -= interval;
                    prop_assert_eq!(u128::from(admitted.remaining), level / interval);
                }
                Err(limited) => {
                    prop_assert!(level < interval, "a token was there");
                    prop_assert_eq!(limited.retry_after.as_nanos(), interval - level);
                }
            }
        }
    }

    /// A reload gives nothing away, at any moment and in any number.
    #[test]
    fn reloads_never_add_tokens(
        configs in prop::collection::vec(configs(), 2..30),
        calls in 1_usize..150,
        gap in 0_u64..100_000,
    ) {
        let t0 = epoch();
        let limit = RateLimit::new(configs[0].clone(), t0).expect("valid");
        let mut now = t0;
        let (mut admitted, mut most) = (0_u128, 0_u128);
        for config in &configs {
            limit.reconfigure(config.clone(), now).expect("valid");
            for _ in 0..calls {
                admitted += u128::from(limit.try_acquire(now).is_ok());
                now += Duration::from_micros(gap);
            }
            most += made(config, Duration::from_micros(gap) * calls as u32);
        }
        // What is taken stays taken, so of all bursts the largest counts, once.
        let burst = configs.iter().map(|config| config.burst().get()).max().unwrap_or(0);
        prop_assert!(admitted <= most + u128::from(burst), "{admitted} of {most} and {burst}");
    }

    /// A table of many keys does for each what a bucket of its own does.
    #[test]
    fn a_key_is_served_as_if_it_were_alone(
        config in configs(),
        calls in prop::collection::vec((0_usize..20, 0_u64..500_000), 1..300),
    ) {
        let t0 = epoch();
        let keyed = KeyedRateLimit::new(config.clone(), 3, t0).expect("valid");
        let alone: Vec<_> =
            (0..20).map(|_| RateLimit::new(config.clone(), t0).expect("valid")).collect();
        let mut now = t0;
        for (which, gap) in calls {
            now += Duration::from_micros(gap);
            let key = keyed.key().part(&which.to_le_bytes()).finish();
            prop_assert_eq!(keyed.try_acquire(key, now), alone[which].try_acquire(now));
        }
    }
}
