//! What a limit costs, beside governor's own; budgets of `docs/performance`: L3 and L5.
//!
//! L5: `keyed/ours` ÷ `keyed/governor` ≤ 1.2, aim 0.8, over 10,000 String keys.

use std::hint::black_box;
use std::num::NonZeroU32;
use std::time::{Duration, Instant};

use criterion::{Criterion, criterion_group, criterion_main};
use governor::{DefaultDirectRateLimiter, DefaultKeyedRateLimiter, Quota};
use outrigger_limit::{ConcurrencyLimit, KeyedRateLimit, RateLimit, RateLimitConfig};

const PER_SECOND: NonZeroU32 = NonZeroU32::new(1_000_000_000).expect("not zero");

/// A step of the clock in which a token comes back: the path that admits is the one measured.
const STEP: Duration = Duration::from_nanos(50);

#[expect(clippy::disallowed_methods, reason = "any instant serves as an origin")]
fn epoch() -> Instant {
    Instant::now()
}

fn config() -> RateLimitConfig {
    let rate = "1000000000/s".parse().expect("a rate");
    RateLimitConfig::new(rate).with_burst(NonZeroU32::new(1_000_000).expect("not zero"))
}

fn direct(c: &mut Criterion) {
    let mut group = c.benchmark_group("direct");
    let t0 = epoch();
    let ours = RateLimit::new(config(), t0).expect("valid");
    let mut now = t0;
    group.bench_function("ours", |b| {
        b.iter(|| {
            now += STEP;
            black_box(ours.try_acquire(now).is_ok())
        });
    });
    let theirs: DefaultDirectRateLimiter =
        DefaultDirectRateLimiter::direct(Quota::per_second(PER_SECOND));
    group.bench_function("governor", |b| b.iter(|| black_box(theirs.check().is_ok())));
    let in_flight = ConcurrencyLimit::new(64);
    group.bench_function("concurrency permit and drop", |b| {
        b.iter(|| black_box(in_flight.try_acquire().is_ok()));
    });
    group.finish();
}

fn keyed(c: &mut Criterion) {
    let mut group = c.benchmark_group("keyed");
    let keys: Vec<_> = (0..10_000).map(|n| format!("caller-{n:05}")).collect();
    let t0 = epoch();
    let ours = KeyedRateLimit::new(config(), 0x5eed, t0).expect("valid");
    let (mut now, mut n) = (t0, 0);
    group.bench_function("ours", |b| {
        b.iter(|| {
            now += STEP;
            n = (n + 7_919) % keys.len();
            let key = ours.key().part(keys[n].as_bytes()).finish();
            black_box(ours.try_acquire(key, now).is_ok())
        });
    });
    let theirs: DefaultKeyedRateLimiter<String> =
        DefaultKeyedRateLimiter::keyed(Quota::per_second(PER_SECOND));
    group.bench_function("governor", |b| {
        b.iter(|| {
            n = (n + 7_919) % keys.len();
            black_box(theirs.check_key(&keys[n]).is_ok())
        });
    });
    let mut fresh = 0_u64;
    group.bench_function("ours, a new key each time", |b| {
        b.iter(|| {
            fresh += 1;
            now += STEP;
            let key = ours.key().part(&fresh.to_le_bytes()).finish();
            black_box(ours.try_acquire(key, now).is_ok())
        });
    });
    group.finish();
}

criterion_group!(benches, direct, keyed);
criterion_main!(benches);
