//! What the rules cost: a request's part in the budget, and a decision that says no.

use std::hint::black_box;
use std::time::Instant;

use criterion::{Criterion, criterion_group, criterion_main};
use http::{HeaderMap, Method, StatusCode};
use outrigger_retry::{
    Budget, BudgetConfig, RetryConfig, RetryRule, Signal, Situation, deadline, guard,
};

fn budget(c: &mut Criterion) {
    #[expect(clippy::disallowed_methods, reason = "any instant serves as an origin")]
    let now = Instant::now();
    let budget = Budget::new(&BudgetConfig::default(), now);
    // Aim: 30 ns.
    c.bench_function("budget/request", |b| b.iter(|| drop(black_box(budget.begin_request()))));
    // Aim: 60 ns.
    c.bench_function("budget/retry", |b| {
        b.iter(|| {
            drop(budget.begin_request());
            black_box(budget.reserve(now).and_then(|r| r.start()))
        });
    });

    let rule = RetryRule::new(&RetryConfig::default()).expect("the defaults hold");
    let (method, headers) = (Method::GET, HeaderMap::new());
    // Aim: 15 ns: this is what every successful request pays.
    c.bench_function("decide/success", |b| {
        b.iter(|| {
            let signal = Signal::of(StatusCode::OK, black_box(&headers));
            black_box(rule.decide(&Situation::new(now, signal, &method), &budget))
        });
    });
    // Aim: 60 ns: what an inbound request pays.
    c.bench_function("headers/read", |b| {
        b.iter(|| black_box((deadline::read(black_box(&headers)), guard::read_attempt(&headers))));
    });
}

criterion_group!(benches, budget);
criterion_main!(benches);
