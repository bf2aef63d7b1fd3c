//! What the path of a call costs, apart from the wire: the rules alone, every layer over an
//! endpoint that answers at once, and the same out of tower's own parts.
//!
//! Budgets: rules 300 ns (L3), allocations of an admitted call 0 (L4); the stack must stay below
//! tower's.

use std::future::{Ready, ready};
use std::hint::black_box;
use std::sync::Arc;
use std::task::{Context as Task, Poll, Waker};
use std::time::Duration;

use arc_swap::ArcSwap;
use bytes::Bytes;
use criterion::{Criterion, criterion_group, criterion_main};
use http::{HeaderValue, Request, Response};
use http_body_util::Empty;
use outrigger_balance::{Completion, EndpointSet, Members, PickRequest, SetOptions};
use outrigger_breaker::{Breaker, BreakerConfig};
use outrigger_core::{
    BoxError, Context, Endpoint, Instance, InstanceId, NormalPath, Outcome, ServiceName,
    TraceContext,
};
use outrigger_limit::{ConcurrencyLimit, RateLimit, RateLimitConfig};
use outrigger_policy::{Format, Plan, Policy};
use outrigger_retry::{Budget, RetryConfig, RetryRule};
use outrigger_tower::{
    BalanceLayer, CircuitBreakerLayer, ConcurrencyLayer, ContextLayer, ObserveLayer,
    RateLimitLayer, RetryLayer, StampLayer, TimeoutLayer, clock,
};
use tower::load::{CompleteOnResponse, PeakEwma};
use tower::retry::budget::{Budget as _, TpsBudget};
use tower::{Service, ServiceBuilder};

type Bare = Request<Empty<Bytes>>;

/// An endpoint that answers at once.
#[derive(Clone, Debug)]
struct Prompt;

impl<R> Service<R> for Prompt {
    type Response = Response<Empty<Bytes>>;
    type Error = BoxError;
    type Future = Ready<Result<Self::Response, BoxError>>;

    fn poll_ready(&mut self, _: &mut Task<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: R) -> Self::Future {
        black_box(request);
        ready(Ok(Response::new(Empty::new())))
    }
}

fn stock() -> ServiceName {
    "stock".parse().expect("valid")
}

fn set() -> EndpointSet {
    let now = clock::now();
    let set = EndpointSet::new(SetOptions::new(stock()), now).expect("valid");
    let endpoint = |port: u16| {
        let address = std::net::SocketAddr::from(([127, 0, 0, 1], port));
        let id = InstanceId::new(&format!("stock-{port}")).expect("valid");
        Endpoint::new(Arc::new(Instance::new(id, stock(), address)), address)
    };
    set.update(Members::new(1, (1..=10).map(endpoint).collect()), now);
    set
}

fn rate() -> RateLimit {
    let config = RateLimitConfig::new("1000000/ms".parse().expect("valid"));
    RateLimit::new(config, clock::now()).expect("valid")
}

fn rules(c: &mut Criterion) {
    let now = clock::now();
    let (rate, set) = (rate(), set());
    let circuit = Breaker::new(BreakerConfig::default(), 7, now).expect("valid");
    let mut dice = fastrand::Rng::with_seed(7);
    let trace = TraceContext { trace_id: 7, span_id: 9, flags: 0 };
    let took = Duration::from_millis(3);
    // L3: at most 300 ns.
    c.bench_function("rules/limit+breaker+pick+completion", |b| {
        b.iter(|| {
            let mut context = Context::new(now);
            context.trace = black_box(trace);
            let _ = black_box(rate.try_acquire(now));
            let permit = circuit.admit(now).expect("closed");
            let pick = set.pick(&PickRequest::new(now), &mut dice).expect("ten of them");
            let then = now + took;
            let seat = pick.complete(&Completion::success(then));
            permit.record(Outcome::Success, took, then);
            drop(seat);
            black_box(context)
        });
    });

    // The same with what a policy in force adds: its table, and the route of the request.
    let plan = ArcSwap::from_pointee(plan());
    let bare = request();
    c.bench_function("rules/limit+breaker+pick+completion, by a policy", |b| {
        b.iter(|| {
            let plan = plan.load();
            let (uri, headers) = (bare.uri(), bare.headers());
            let path = NormalPath::new(black_box(uri.path())).expect("it has a normal form");
            let query = if plan.reads_query { uri.query() } else { None };
            let (_, route) = plan.route(bare.method(), path.as_str(), query, headers);
            let mut context = Context::new(now);
            context.route = route.name.clone();
            context.policy = plan.version;
            context.trace = black_box(trace);
            let _ = black_box(rate.try_acquire(now));
            let permit = circuit.admit(now).expect("closed");
            let pick = set.pick(&PickRequest::new(now), &mut dice).expect("ten of them");
            let then = now + took;
            let seat = pick.complete(&Completion::success(then));
            permit.record(Outcome::Success, took, then);
            drop(seat);
            black_box(context)
        });
    });
}

/// Three routes, of which the last is for the request.
fn plan() -> Plan {
    let text = "version: 1\nservice: stock\nbreaker: {}\nrate_limits: [ { rate: 1000000/s } ]\nroutes:\n  \
                - { name: v1, match: { path_prefix: /v1 } }\n  \
                - { name: post, match: { methods: [POST] } }\n  \
                - { name: stock, match: { path_prefix: /stock }, timeout: 10s }\n";
    match Policy::parse("stock.yaml", text, Format::Yaml) {
        Ok(parsed) => Plan::compile(&parsed.policy),
        Err(report) => panic!("{report}"),
    }
}

fn ours() -> impl Service<Bare, Response: Sized, Error = BoxError> + Clone {
    let now = clock::now();
    let circuit = Breaker::new(BreakerConfig::default(), 7, now).expect("valid");
    let retry = RetryConfig::default();
    let rule = RetryRule::new(&retry).expect("valid").into();
    let budget = Budget::new(&retry.budget, now);
    ServiceBuilder::new()
        .layer(ContextLayer::new(stock()))
        .layer(ObserveLayer::new(stock(), Default::default()))
        .layer(RateLimitLayer::new(stock(), Arc::new(rate())))
        .layer(TimeoutLayer::new(Duration::from_secs(15)))
        .layer(CircuitBreakerLayer::new(stock(), circuit))
        .layer(RetryLayer::new(stock(), rule, budget))
        .layer(BalanceLayer::new(set()))
        .layer(ConcurrencyLayer::new(stock(), ConcurrencyLimit::new(1_024)))
        .layer(StampLayer::new().with_caller("orders".parse().expect("valid")))
        .service(Prompt)
}

/// Retries errors within tower's own budget; keeps the head, for bodies are empty here.
#[derive(Clone)]
struct Again(Arc<TpsBudget>);

impl<T> tower::retry::Policy<Bare, T, BoxError> for Again {
    type Future = Ready<()>;

    fn retry(&mut self, _: &mut Bare, result: &mut Result<T, BoxError>) -> Option<Self::Future> {
        if result.is_ok() {
            self.0.deposit();
            return None;
        }
        self.0.withdraw().then(|| ready(()))
    }

    fn clone_request(&mut self, request: &Bare) -> Option<Bare> {
        Some(request.clone())
    }
}

/// tower's own parts, as near as they come: no circuit, no ejection, no deadline on the wire.
fn towers() -> impl Service<Bare, Response: Sized, Error = BoxError> {
    let endpoint =
        || PeakEwma::new(Prompt, Duration::from_millis(30), 1e6, CompleteOnResponse::default());
    let list: Vec<_> = (0..10).map(|_| endpoint()).collect();
    let balance =
        tower::balance::p2c::Balance::new(tower::discover::ServiceList::new::<Bare>(list));
    ServiceBuilder::new()
        .rate_limit(1_000_000_000, Duration::from_secs(1))
        .timeout(Duration::from_secs(15))
        .layer(tower::retry::RetryLayer::new(Again(Arc::new(TpsBudget::default()))))
        .buffer(16)
        .concurrency_limit(1_024)
        .service(balance)
}

fn request() -> Bare {
    Request::get("http://stock/stock/42")
        .header("host", HeaderValue::from_static("stock"))
        .header("accept", HeaderValue::from_static("application/json"))
        .header("user-agent", HeaderValue::from_static("orders/1"))
        .body(Empty::new())
        .expect("valid")
}

/// One call that is answered at once, without a runtime's help.
fn exchange<S: Service<Bare, Error = BoxError>>(service: &mut S, request: Bare) {
    let mut cx = Task::from_waker(Waker::noop());
    assert!(service.poll_ready(&mut cx).is_ready());
    let mut future = std::pin::pin!(service.call(request));
    assert!(matches!(black_box(future.as_mut().poll(&mut cx)), Poll::Ready(Ok(_))));
}

#[expect(clippy::print_stderr, reason = "criterion counts no allocations")]
fn stacks(c: &mut Criterion) {
    let mut group = c.benchmark_group("stack");
    let mut service = ours();
    group.bench_function("outrigger", |b| {
        b.iter_batched(
            request,
            |request| exchange(&mut service, request),
            criterion::BatchSize::SmallInput,
        );
    });
    let counted = {
        let request = request();
        allocation_counter::measure(|| exchange(&mut service, request))
    };
    eprintln!("stack/outrigger: {} allocations a call", counted.count_total);

    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
    let runtime = runtime.expect("a runtime");
    let mut peer = runtime.block_on(async { towers() });
    group.bench_function("tower balance+buffer+retry+timeout+rate_limit", |b| {
        b.iter_batched(
            request,
            |request| {
                runtime.block_on(async {
                    std::future::poll_fn(|cx| peer.poll_ready(cx)).await.expect("ready");
                    drop(black_box(peer.call(request).await.expect("answered")));
                });
            },
            criterion::BatchSize::SmallInput,
        );
    });
    let request = request();
    let counted = allocation_counter::measure(|| {
        runtime.block_on(async {
            std::future::poll_fn(|cx| peer.poll_ready(cx)).await.expect("ready");
            drop(black_box(peer.call(request).await.expect("answered")));
        });
    });
    eprintln!("stack/tower: {} allocations a call", counted.count_total);
    group.finish();
}

criterion_group!(benches, rules, stacks);
criterion_main!(benches);
