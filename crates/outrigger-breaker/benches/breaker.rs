//! What a circuit costs, beside failsafe's own; budget: admit and record closed ≤ 40 ns.

use std::hint::black_box;
use std::time::{Duration, Instant};

use criterion::{Criterion, criterion_group, criterion_main};
use failsafe::{CircuitBreaker, Config};
use outrigger_breaker::{Breaker, BreakerConfig, Mode, Window};
use outrigger_core::Outcome;

const FAST: Duration = Duration::from_millis(1);
const STEP: Duration = Duration::from_micros(10);

#[expect(clippy::disallowed_methods, reason = "any instant serves as an origin")]
fn epoch() -> Instant {
    Instant::now()
}

fn breaker(change: impl FnOnce(&mut BreakerConfig), now: Instant) -> Breaker {
    let mut config = BreakerConfig::default();
    change(&mut config);
    Breaker::new(config, 7, now).expect("valid")
}

fn closed(c: &mut Criterion) {
    let mut group = c.benchmark_group("closed");
    let t0 = epoch();
    let mut now = t0;
    let mut bench = |name: &str, breaker: Breaker, one_in: u32| {
        let mut n = 0_u32;
        group.bench_function(name, |b| {
            b.iter(|| {
                now += STEP;
                n = n.wrapping_add(1);
                let failed = one_in > 0 && n.is_multiple_of(one_in);
                let outcome = if failed { Outcome::Failure } else { Outcome::Success };
                if let Ok(permit) = breaker.admit(now) {
                    permit.record(black_box(outcome), FAST, now);
                }
            });
        });
    };
    bench("time window, all well", breaker(|_| {}, t0), 0);
    bench("time window, one of 100 fails", breaker(|_| {}, t0), 100);
    let calls = Window::Calls(100.try_into().expect("not zero"));
    bench("call window, one of 100 fails", breaker(|config| config.window = calls, t0), 100);
    bench("disabled", breaker(|config| config.mode = Mode::Disabled, t0), 0);

    let theirs = Config::new().build();
    group.bench_function("failsafe, default policy", |b| {
        b.iter(|| black_box(theirs.call(|| Ok::<(), ()>(())).is_ok()));
    });
    group.finish();
}

fn open(c: &mut Criterion) {
    let t0 = epoch();
    let breaker = breaker(|_| {}, t0);
    for _ in 0..20 {
        breaker.admit(t0).expect("closed").record(Outcome::Failure, FAST, t0);
    }
    c.bench_function("open, rejected", |b| b.iter(|| black_box(breaker.admit(t0).is_err())));
}

criterion_group!(benches, closed, open);
criterion_main!(benches);
