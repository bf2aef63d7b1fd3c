use std::num::NonZeroU32;
use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::clock;

fn limit(rate: u32, burst: u32) -> RateLimitConfig {
    let number = |n| NonZeroU32::new(n).expect("not zero");
    RateLimitConfig::new(outrigger_core::Rate::per_second(number(rate))).with_burst(number(burst))
}

fn rule(name: &str, rate: u32, burst: u32) -> RateRule {
    RateRule::new(name.into(), limit(rate, burst))
}

fn bucket(rules: &RateRules, at: usize) -> &Arc<RateLimit> {
    match &rules.rules[at].bucket {
        Bucket::One(bucket) => bucket,
        Bucket::Keyed(..) => panic!("one bucket for all"),
    }
}

fn take(rules: &RateRules, at: usize, now: Instant) -> bool {
    bucket(rules, at).try_acquire(now).is_ok()
}

#[test]
fn what_did_not_change_keeps_the_very_bucket() {
    let t0 = clock::now();
    let old = RateRules::new(vec![rule("a", 1, 5), rule("b", 1, 7)], 1, t0).expect("valid");
    let new = old.reload(vec![rule("b", 1, 7), rule("a", 2, 5)], t0).expect("valid");
    assert!(Arc::ptr_eq(bucket(&old, 1), bucket(&new, 0)), "another place, the same bucket");
    assert!(Arc::ptr_eq(bucket(&old, 0), bucket(&new, 1)), "another rate, the same bucket");
    assert_eq!(bucket(&new, 1).config(), limit(2, 5));
}

#[test]
fn a_renamed_limit_keeps_its_bucket_unless_its_name_goes_to_another() {
    let t0 = clock::now();
    let old = RateRules::new(vec![rule("limit-1", 1, 5)], 1, t0).expect("valid");
    while take(&old, 0, t0) {}
    let renamed = old.reload(vec![rule("strict", 1, 5)], t0).expect("valid");
    assert!(!take(&renamed, 0, t0), "a new name refills nothing");
    // A rule put in front takes the name that places give; both have the old state or a new one.
    let shifted = old.reload(vec![rule("limit-1", 9, 9), rule("limit-2", 1, 5)], t0);
    let shifted = shifted.expect("valid");
    assert!(Arc::ptr_eq(bucket(&old, 0), bucket(&shifted, 0)));
    assert!(!Arc::ptr_eq(bucket(&old, 0), bucket(&shifted, 1)));
}

#[test]
fn one_value_out_of_range_changes_nothing() {
    let t0 = clock::now();
    let old = RateRules::new(vec![rule("a", 1, 5)], 1, t0).expect("valid");
    let mut bad = rule("b", 1, 1);
    bad.limit.max_keys = NonZeroU32::MAX;
    assert!(old.reload(vec![rule("a", 2, 9), bad], t0).is_err());
    assert_eq!(bucket(&old, 0).config(), limit(1, 5));
}

#[test]
fn keys_keep_what_they_have_taken_over_a_reload() {
    let t0 = clock::now();
    let per = || Some(KeyOf::Header(http::HeaderName::from_static("x-user")));
    let keyed = |rate, burst| vec![rule("users", rate, burst).with_per(per())];
    let old = RateRules::new(keyed(1, 3), 1, t0).expect("valid");
    let ann = Request::get("/").header("x-user", "ann").body(()).expect("valid");
    let context = Context::new(t0);
    let drained = |rules: &RateRules| rules.rules[0].try_acquire(&context, &ann, t0).is_err();
    while !drained(&old) {}
    let new = old.reload(keyed(5, 100), t0).expect("valid");
    assert!(drained(&new), "a larger burst does not refill the bucket");
}

proptest! {
    /// Over any span, with any number of reloads in it: no more than the largest burst and what
    /// the rates in force let in; for requests that any of the limits would admit, no fewer than
    /// the strictest limit alone admits.
    #[test]
    fn no_more_than_the_most_generous_and_no_less_than_the_strictest_limit_admits(
        limits in proptest::collection::vec((1_u32..200, 1_u32..50), 2..6),
        steps in proptest::collection::vec((0_u64..200, any::<prop::sample::Index>(), any::<bool>()), 1..200),
    ) {
        let t0 = clock::now();
        let one = |at: usize| vec![rule("a", limits[at].0, limits[at].1)];
        let strictest_rate = limits.iter().map(|l| l.0).min().expect("some");
        let burst = |pick: fn(u32, u32) -> u32| {
            limits.iter().map(|l| l.1).reduce(pick).expect("some")
        };
        let strictest = RateLimit::new(limit(strictest_rate, burst(u32::min)), t0).expect("valid");
        let mut rules = RateRules::new(one(0), 1, t0).expect("valid");
        let (mut at, mut now) = (0, t0);
        // Tokens that the most generous reading allows: the largest burst, and all rates.
        let mut allowed = f64::from(burst(u32::max));
        let (mut admitted, mut least) = (0_u32, 0_u32);
        for (ms, index, reload) in steps {
            let span = Duration::from_millis(ms);
            now += span;
            allowed += f64::from(limits[at].0) * span.as_secs_f64();
            if reload {
                at = index.index(limits.len());
                rules = rules.reload(one(at), now).expect("valid");
            }
            for _ in 0..3 {
                let ours = take(&rules, 0, now);
                admitted += u32::from(ours);
                if strictest.try_acquire(now).is_ok() {
                    least += 1;
                }
            }
            prop_assert!(f64::from(admitted) <= allowed + 1e-6, "{admitted} of {allowed}");
            // Rounding loses less than a token a reload, and never gives one.
            prop_assert!(admitted + 200 >= least);
        }
    }

    /// The same without reloads' rounding: who keeps within the strictest limit is never refused.
    #[test]
    fn whoever_keeps_within_every_limit_is_never_refused_by_a_reload(
        limits in proptest::collection::vec((10_u32..200, 2_u32..50), 2..5),
        gaps in proptest::collection::vec((any::<prop::sample::Index>(), any::<bool>()), 1..300),
    ) {
        let t0 = clock::now();
        let one = |at: usize| vec![rule("a", limits[at].0, limits[at].1)];
        let slowest = limits.iter().map(|l| l.0).min().expect("some");
        let gap = Duration::from_secs(1) / slowest + Duration::from_micros(1);
        let mut rules = RateRules::new(one(0), 1, t0).expect("valid");
        let mut now = t0;
        for (index, reload) in gaps {
            now += gap;
            if reload {
                rules = rules.reload(one(index.index(limits.len())), now).expect("valid");
            }
            prop_assert!(take(&rules, 0, now));
        }
    }
}
