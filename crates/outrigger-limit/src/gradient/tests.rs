use std::num::NonZeroU32;

use super::*;

#[expect(clippy::disallowed_methods, reason = "any instant serves as an origin")]
fn epoch() -> Instant {
    Instant::now()
}

const MS: Duration = Duration::from_millis(1);

fn number(number: u32) -> NonZeroU32 {
    NonZeroU32::new(number).expect("not zero")
}

fn gradient(max: u32) -> Gradient2 {
    Gradient2::new(Gradient2Config::default().with_max(number(max))).expect("valid")
}

/// A service that takes `rtt` up to `capacity` in flight and queues beyond; the limit is used in
/// full. Answers the limit after each of so many steps.
fn run(limit: &mut Gradient2, capacity: u32, rtt: Duration, steps: u32, from: Instant) -> Vec<u32> {
    let mut now = from;
    let mut limits = Vec::new();
    while limits.len() < steps as usize {
        now += MS * 10;
        let in_flight = limit.limit();
        let queued = rtt.mul_f64(f64::from(in_flight.max(capacity)) / f64::from(capacity));
        limits.extend(limit.on_sample(queued, in_flight, false, now));
    }
    limits
}

#[test]
fn the_defaults_are_stated_and_valid() {
    let config = Gradient2Config::default();
    assert_eq!(config.validate(), Ok(()));
    assert_eq!((config.initial.get(), config.min.get(), config.max.get()), (20, 4, 1_024));
    assert_eq!((config.smoothing.get(), config.tolerance_tenths.get()), (0.2, 15));
    assert_eq!((config.long_window.get(), config.queue), (600, 4));
    assert_eq!((config.step, config.min_samples.get()), (MS * 100, 10));
}

#[test]
fn while_the_latency_is_that_of_long_the_limit_grows_by_the_queue() {
    let mut limit = gradient(1_024);
    let limits = run(&mut limit, 10_000, MS * 10, 3, epoch());
    // 20, then 0.8 · 20 + 0.2 · (20 + 4) and so on.
    assert_eq!(limits, [20, 21, 22]);
    assert_eq!(*run(&mut limit, 10_000, MS * 10, 2_000, epoch()).last().expect("some"), 1_024);
}

#[test]
fn the_limit_settles_near_what_the_service_can_take() {
    let mut limit = gradient(1_024);
    let limits = run(&mut limit, 100, MS * 10, 400, epoch());
    let settled = &limits[200..];
    let (least, most) = (settled.iter().min(), settled.iter().max());
    assert!(*least.expect("some") >= 80 && *most.expect("some") <= 400, "{least:?} to {most:?}");
}

#[test]
fn a_sudden_slowness_shrinks_it_by_no_more_than_half_a_step() {
    let t0 = epoch();
    let mut limit = gradient(1_024);
    run(&mut limit, 10_000, MS * 10, 300, t0);
    let before = limit.limit();
    let limits = run(&mut limit, 10_000, MS * 1_000, 1, t0);
    let floor = f64::from(before) * (0.8 + 0.2 * 0.5);
    assert!(f64::from(limits[0]) >= floor - 1.0 && limits[0] < before, "{before} → {limits:?}");
}

#[test]
fn an_unused_limit_does_not_grow() {
    let mut limit = gradient(1_024);
    let t0 = epoch();
    for n in 0..10_000 {
        limit.on_sample(MS * 10, 3, false, t0 + MS * 10 * n);
    }
    assert_eq!(limit.limit(), 20);
}

#[test]
fn drops_shrink_it_and_their_latencies_are_no_samples() {
    let mut limit = gradient(1_024);
    let t0 = epoch();
    for n in 0..200 {
        // Gives up at once: by latency it would look splendid.
        limit.on_sample(Duration::from_nanos(1), 20, true, t0 + MS * 10 * n);
    }
    assert_eq!(limit.limit(), 4, "the smallest limit");
    assert_eq!(limit.long.count, 0);
}

#[test]
fn it_never_leaves_its_bounds_whatever_it_is_fed() {
    let mut rng = fastrand::Rng::with_seed(11);
    let t0 = epoch();
    for round in 0..200 {
        let mut limit = gradient(rng.u32(1..200));
        let (min, max) = (limit.config.min.get(), limit.config.max.get());
        for _ in 0..300 {
            let rtt = match rng.u8(0..4) {
                0 => Duration::ZERO,
                1 => Duration::MAX,
                _ => Duration::from_nanos(rng.u64(..1 << 40)),
            };
            let now = t0 + Duration::from_nanos(rng.u64(..1 << 40));
            limit.on_sample(rtt, rng.u32(..), rng.u8(0..8) == 0, now);
            assert!((min..=max).contains(&limit.limit()), "round {round}: {}", limit.limit());
        }
    }
}

#[test]
fn a_reload_keeps_what_was_learned_within_the_new_bounds() {
    let mut limit = gradient(1_024);
    run(&mut limit, 10_000, MS * 10, 100, epoch());
    let learned = limit.limit();
    limit.reconfigure(Gradient2Config { queue: 8, ..Gradient2Config::default() }).expect("valid");
    assert_eq!(limit.limit(), learned);
    limit.reconfigure(Gradient2Config::default().with_max(number(30))).expect("valid");
    assert_eq!(limit.limit(), 30);
}

#[test]
fn values_out_of_range_are_named() {
    let ok = Gradient2Config::default;
    let bad = [
        ("adaptive.max", Gradient2Config { max: number(2_000_000), ..ok() }),
        ("adaptive.min", Gradient2Config { min: number(2_000), ..ok() }),
        ("adaptive.initial", Gradient2Config { initial: number(3), ..ok() }),
        ("adaptive.long_window", Gradient2Config { long_window: number(9), ..ok() }),
        ("adaptive.tolerance_tenths", Gradient2Config { tolerance_tenths: number(9), ..ok() }),
        ("adaptive.queue", Gradient2Config { queue: 1_001, ..ok() }),
        ("adaptive.min_samples", Gradient2Config { min_samples: number(10_001), ..ok() }),
        ("adaptive.smoothing", Gradient2Config { smoothing: Default::default(), ..ok() }),
        ("adaptive.step", Gradient2Config { step: Duration::ZERO, ..ok() }),
    ];
    for (key, config) in bad {
        assert_eq!(Gradient2::new(config).expect_err(key).key, key);
    }
}
