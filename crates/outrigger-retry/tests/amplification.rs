//! Retries do not multiply: neither in a brownout, nor through stacked layers and services.

use std::cell::{Cell, RefCell};
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::{HeaderMap, HeaderValue, Method, StatusCode};
use outrigger_core::{FailureKind, header};
use outrigger_retry::{
    Budget, BudgetConfig, Methods, RetryConfig, RetryRule, Signal, Situation, Verdict, guard,
};

fn epoch() -> Instant {
    #[expect(clippy::disallowed_methods, reason = "any instant serves as an origin")]
    Instant::now()
}

/// The most eager rule that the schema allows: ten more tries for whatever goes wrong.
fn eager(methods: Methods) -> RetryConfig {
    let mut config = RetryConfig::default();
    config.attempts = 10;
    config.when = ["5xx", "reset", "timeout", "connect_failure", "refused_stream"]
        .map(|text| text.parse().expect("valid"))
        .to_vec();
    config.methods = methods;
    config
}

/// What a brownout with this share of errors costs: (requests, calls that the backend saw).
fn brownout(failing: f64, per_second: u32, seconds: u32, seed: u64) -> (u32, u32) {
    let t0 = epoch();
    let rule = RetryRule::new(&eager(Methods::All)).expect("valid");
    let budget = Budget::new(&BudgetConfig::default(), t0);
    let mut rng = fastrand::Rng::with_seed(seed);
    let mut calls = 0;
    for n in 0..per_second * seconds {
        let now = t0 + Duration::from_secs(1) * n / per_second;
        let _request = budget.begin_request();
        let mut retries = 0;
        loop {
            calls += 1;
            if rng.f64() >= failing {
                break;
            }
            let signal = Signal::Status(StatusCode::SERVICE_UNAVAILABLE);
            let mut situation = Situation::new(now, signal, &Method::GET);
            situation.retries = retries;
            let Verdict::Retry { reservation, .. } = rule.decide(&situation, &budget) else {
                break;
            };
            if reservation.start().is_none() {
                break;
            }
            retries += 1;
        }
    }
    (per_second * seconds, calls)
}

#[test]
fn a_brownout_costs_at_most_a_fifth_more_and_ten_a_second() {
    for (failing, per_second, seconds) in
        [(0.5, 2_000, 10), (1.0, 2_000, 10), (1.0, 50, 60), (1.0, 1, 30)]
    {
        for seed in 0..4 {
            let (requests, calls) = brownout(failing, per_second, seconds, seed);
            let allowed = requests * 12 / 10 + 10 * seconds;
            assert!(
                calls <= allowed,
                "{calls} calls for {requests} requests, {allowed} allowed; {failing} of them fail"
            );
        }
    }
}

/// Whether the services between pass the headers of the guard on.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Passes {
    /// Both ways, as `docs/contract.md` asks.
    Both,
    /// The request's only, as whoever forwards headers without knowing what they mean.
    Down,
    /// The baggage only, as OpenTelemetry's propagators do.
    BaggageOnly,
}

/// A chain of services, each with its own eager rule and budget, in front of a backend that fails.
struct Chain {
    rules: Vec<(RetryRule, Arc<Budget>)>,
    passes: Passes,
    method: Method,
    failure: Signal,
    delivered: Cell<u32>,
    trail: RefCell<Vec<u8>>,
}

impl Chain {
    fn new(depth: usize, passes: Passes, methods: &Methods, failure: Signal) -> Self {
        let mut generous = BudgetConfig::default();
        // So large that only the guard can hold the chain back.
        generous.min_per_second = 100_000;
        generous.min_concurrent = 10_000;
        let one = || {
            let rule = RetryRule::new(&eager(methods.clone())).expect("valid");
            (rule, Budget::new(&generous, epoch()))
        };
        Self {
            rules: (0..depth).map(|_| one()).collect(),
            passes,
            method: Method::GET,
            failure,
            delivered: Cell::new(0),
            trail: RefCell::default(),
        }
    }

    /// One request into the service at `depth`, with the headers it came with.
    fn serve(&self, depth: usize, came: &HeaderMap) -> (Signal, HeaderMap) {
        let above = guard::read_attempt(came);
        let Some((rule, budget)) = self.rules.get(depth) else {
            self.trail.borrow_mut().push(above);
            let unseen = matches!(self.failure, Signal::Failed(kind) if kind.is_unseen());
            self.delivered.set(self.delivered.get() + u32::from(!unseen));
            return (self.failure, HeaderMap::new());
        };
        let _request = budget.begin_request();
        let mut retries = 0;
        loop {
            let (signal, answer) = self.serve(depth + 1, &self.passed_on(above + retries));
            let mut situation = Situation::new(epoch(), signal, &self.method);
            (situation.above, situation.retries) = (above, retries);
            situation.headers = Some(&answer);
            match rule.decide(&situation, budget) {
                Verdict::Retry { reservation, .. } => {
                    let _running = reservation.start().expect("the budget is generous");
                    retries += 1;
                }
                _ => return self.answer(signal, &answer, retries + 1),
            }
        }
    }

    fn passed_on(&self, attempt: u8) -> HeaderMap {
        let mut headers = HeaderMap::new();
        let mirrored =
            guard::mirror([], attempt).map(|text| HeaderValue::from_str(&text).expect("valid"));
        match self.passes {
            Passes::BaggageOnly => {
                headers.extend(mirrored.map(|value| (header::BAGGAGE, value)));
            }
            _ => {
                headers.insert(header::ATTEMPT, HeaderValue::from(u16::from(attempt)));
            }
        }
        headers
    }

    fn answer(&self, signal: Signal, below: &HeaderMap, tries: u8) -> (Signal, HeaderMap) {
        let mut headers = HeaderMap::new();
        let all = tries.saturating_add(guard::read_tries(below) - 1);
        if self.passes == Passes::Both && all > 1 {
            headers.insert(header::ATTEMPTS, HeaderValue::from(u16::from(all)));
        }
        // A service whose own call failed answers 500, which is worth a retry to those above.
        let signal = match signal {
            Signal::Failed(_) => Signal::Status(StatusCode::INTERNAL_SERVER_ERROR),
            other => other,
        };
        (signal, headers)
    }
}

const FAILURES: [Signal; 3] = [
    Signal::Status(StatusCode::SERVICE_UNAVAILABLE),
    Signal::Failed(FailureKind::Reset),
    Signal::Failed(FailureKind::TryTimeout),
];

#[test]
fn three_services_that_all_retry_ten_times_do_not_make_a_thousand_calls() {
    for failure in FAILURES {
        for (passes, allowed) in [
            // Only the innermost retries: those above see `x-outrigger-attempts`.
            (Passes::Both, 11),
            // Each of the three may retry for the first try that reaches it, and for no other.
            (Passes::Down, 11 + 10 + 10),
            (Passes::BaggageOnly, 11 + 10 + 10),
        ] {
            let chain = Chain::new(3, passes, &Methods::Idempotent, failure);
            chain.serve(0, &HeaderMap::new());
            let delivered = chain.delivered.get();
            assert!(delivered <= allowed, "{passes:?}: {delivered} deliveries, {allowed} allowed");
            assert!(delivered > 1, "{passes:?}: the innermost does retry");
        }
    }
}

#[test]
fn deeper_chains_grow_by_a_sum_and_not_by_a_product() {
    for depth in 1..=6 {
        let chain = Chain::new(depth, Passes::BaggageOnly, &Methods::All, FAILURES[0]);
        chain.serve(0, &HeaderMap::new());
        assert_eq!(chain.delivered.get(), 1 + 10 * depth as u32, "{depth} services");
    }
}

#[test]
fn what_is_not_idempotent_is_delivered_once_however_many_layers_retry() {
    for failure in FAILURES {
        for passes in [Passes::Both, Passes::Down, Passes::BaggageOnly] {
            for depth in 1..=4 {
                let mut chain = Chain::new(depth, passes, &Methods::Idempotent, failure);
                chain.method = Method::POST;
                chain.serve(0, &HeaderMap::new());
                assert_eq!(chain.delivered.get(), 1, "{depth} services, {passes:?}, {failure:?}");
            }
        }
    }
}

#[test]
fn what_no_endpoint_saw_is_never_delivered_by_retrying_it() {
    for kind in [FailureKind::ConnectFailure, FailureKind::RefusedStream] {
        let mut chain = Chain::new(3, Passes::Both, &Methods::Idempotent, Signal::Failed(kind));
        chain.method = Method::POST;
        chain.serve(0, &HeaderMap::new());
        assert_eq!(chain.delivered.get(), 0);
        assert!(chain.trail.borrow().len() <= 11, "and is not tried without end");
    }
}

#[test]
fn the_guard_counts_up_and_never_wraps() {
    let chain = Chain::new(3, Passes::Down, &Methods::All, FAILURES[0]);
    let mut came = HeaderMap::new();
    came.insert(header::ATTEMPT, HeaderValue::from_static("98"));
    chain.serve(0, &came);
    assert_eq!(*chain.trail.borrow(), [98], "a request that was retried 98 times is not again");
}

/// Row 23: a chain in which each hop takes its time off the budget.
#[test]
fn a_deadline_falls_at_each_hop_and_starts_nothing_once_it_has_passed() {
    use outrigger_retry::deadline;

    let t0 = epoch();
    let rule = RetryRule::new(&eager(Methods::All)).expect("valid");
    let mut now = t0;
    let mut left = Duration::from_millis(300);
    let mut told = Vec::new();
    for hop_ms in [40, 60, 90] {
        let mut headers = HeaderMap::new();
        headers.insert(header::DEADLINE, HeaderValue::from(deadline::to_ms(left)));
        let read = deadline::read(&headers).expect("what was written");
        assert!(read <= left, "a hop never believes to have more");
        told.push(read);
        let until = now + read;
        now += Duration::from_millis(hop_ms);
        left = until.saturating_duration_since(now);
    }
    assert!(told.is_sorted_by(|a, b| a > b), "{told:?}");

    let until = now + left;
    let mut started = 0;
    for retries in 0..10 {
        let failure = Signal::Failed(FailureKind::TryTimeout);
        let mut situation = Situation::new(now, failure, &Method::GET);
        (situation.until, situation.retries, situation.random) = (Some(until), retries, 0.9);
        let Ok(after) = rule.judge(&situation) else { break };
        now += after;
        assert!(now < until, "no try starts at or past the deadline");
        started += 1;
        now += Duration::from_millis(20);
    }
    assert!(started < 10 && started > 0, "{started} retries fitted");
}
