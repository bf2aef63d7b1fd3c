//! Whole stacks: services that call services, each with all its layers.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Empty;
use outrigger_balance::EndpointSet;
use outrigger_breaker::{Breaker, BreakerConfig, Mode};
use outrigger_core::{BoxError, Dispatch, FailureKind, Observers, ServiceName, header};
use outrigger_limit::{ConcurrencyLimit, RateLimit, RateLimitConfig};
use outrigger_retry::{Budget, BudgetConfig, Methods, RetryConfig, RetryRule};
use outrigger_tower::{
    BalanceLayer, CircuitBreakerLayer, ConcurrencyLayer, ContextLayer, DeadlineLayer, FusedLayer,
    FusedRules, InboundLayer, ObserveLayer, PerTryTimeoutLayer, RateLimitLayer, RefuseLayer,
    RefusedBody, ReplayBody, RetryLayer, StampLayer, TimeoutLayer, clock,
};
use tower::util::BoxCloneSyncService;
use tower::{ServiceBuilder, ServiceExt, service_fn};

use crate::kit::*;

type Bare = Request<Empty<Bytes>>;
type Wired = Dispatch<Request<ReplayBody<Empty<Bytes>>>>;
type Wire = BoxCloneSyncService<Wired, Res, BoxError>;
type Client = BoxCloneSyncService<Bare, Response<()>, BoxError>;

/// What a caller is made of; each test changes what it is about.
struct Caller {
    service: ServiceName,
    set: EndpointSet,
    retry: RetryConfig,
    timeout: Duration,
    observers: Observers,
}

impl Caller {
    fn of(service: &str, ports: &[u16]) -> Self {
        let mut retry = RetryConfig::default();
        retry.attempts = 10;
        retry.when = ["5xx", "reset", "timeout", "connect_failure"]
            .map(|t| t.parse().expect("valid"))
            .into();
        // Only the guard is to hold them back.
        retry.budget.min_per_second = 100_000;
        retry.budget.min_concurrent = 10_000;
        Self {
            service: service.parse().expect("valid"),
            set: set_of(ports, Observers::none()),
            retry,
            timeout: ms(15_000),
            observers: Observers::none(),
        }
    }

    /// Every layer of a caller, in the policy's order.
    fn stack(self, wire: Wire) -> Client {
        let now = clock::now();
        let rule = RetryRule::new(&self.retry).expect("valid");
        let budget = Budget::new(&self.retry.budget, now);
        let mut circuit = BreakerConfig::default();
        circuit.mode = Mode::Observe;
        let circuit = Breaker::new(circuit, 7, now).expect("valid");
        let rate = RateLimitConfig::new("1000000/s".parse().expect("valid"));
        let rate = RateLimit::new(rate, now).expect("valid");
        let (name, observers) = (self.service, self.observers);
        if module_path!().ends_with("fused") {
            let observe = ObserveLayer::new(name.clone(), observers.clone());
            let retry = RetryLayer::new(name.clone(), rule.into(), budget)
                .with_observers(observers.clone());
            let balance = BalanceLayer::new(self.set).with_observers(observers);
            let mut rules = FusedRules::new(observe, retry, balance);
            rules.limits = vec![RateLimitLayer::new(name.clone(), Arc::new(rate))];
            rules.timeout = TimeoutLayer::new(self.timeout);
            rules.circuit = Some(CircuitBreakerLayer::new(name.clone(), circuit));
            rules.capacity =
                Some(ConcurrencyLayer::new(name.clone(), ConcurrencyLimit::new(1_024)));
            rules.per_try = PerTryTimeoutLayer::maybe(self.retry.per_try_timeout);
            rules.stamp = StampLayer::new().with_caller("caller".parse().expect("valid"));
            let stack = ServiceBuilder::new()
                .layer(ContextLayer::new(name))
                .layer(FusedLayer::new(rules))
                .service(wire)
                .map_response(|response: Response<_>| response.map(drop));
            return BoxCloneSyncService::new(stack);
        }
        let stack = ServiceBuilder::new()
            .layer(ContextLayer::new(name.clone()))
            .layer(ObserveLayer::new(name.clone(), observers.clone()))
            .layer(RateLimitLayer::new(name.clone(), Arc::new(rate)))
            .layer(TimeoutLayer::new(self.timeout))
            .layer(CircuitBreakerLayer::new(name.clone(), circuit))
            .layer(
                RetryLayer::new(name.clone(), rule.into(), budget)
                    .with_observers(observers.clone()),
            )
            .layer(BalanceLayer::new(self.set).with_observers(observers))
            .layer(ConcurrencyLayer::new(name, ConcurrencyLimit::new(1_024)))
            .layer(PerTryTimeoutLayer::maybe(self.retry.per_try_timeout))
            .layer(StampLayer::new().with_caller("caller".parse().expect("valid")))
            .service(wire)
            .map_response(|response: Response<_>| response.map(drop));
        BoxCloneSyncService::new(stack)
    }
}

/// The wire to a service in the same process: the request arrives there with its headers and
/// nothing else, as it would over a socket.
fn wire_to<F, Fut>(handler: F) -> Wire
where
    F: Fn(Bare) -> Fut + Clone + Send + Sync + 'static,
    Fut: Future<Output = Result<Response<()>, BoxError>> + Send + 'static,
{
    let server = ServiceBuilder::new()
        .layer(RefuseLayer::new())
        .layer(InboundLayer::new(stock()))
        .layer(DeadlineLayer::new())
        .service(service_fn(move |request: Bare| {
            let answer = handler(request);
            async move { answer.await.map(|response| response.map(|()| Script::empty())) }
        }));
    let server: BoxCloneSyncService<Bare, Response<RefusedBody<_>>, Infallible> =
        BoxCloneSyncService::new(server);
    BoxCloneSyncService::new(service_fn(move |dispatch: Wired| {
        let server = server.clone();
        async move {
            let (mut parts, _) = dispatch.request.into_parts();
            parts.extensions.clear();
            let response = server.oneshot(Request::from_parts(parts, Empty::new())).await;
            let (mut parts, _) = response.expect("always an answer").into_parts();
            parts.extensions.clear();
            Ok(Response::from_parts(parts, Script::empty()))
        }
    }))
}

/// A chain of services in front of a backend, each with an eager stack of its own; how many calls
/// the backend gets for one request, and the answer.
async fn chain(depth: usize, method: &str, status: u16) -> (u32, Response<()>) {
    let calls = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&calls);
    let mut wire = wire_to(move |_| {
        counted.fetch_add(1, Relaxed);
        async move { Ok(Response::builder().status(status).body(()).expect("valid")) }
    });
    for _ in 1..depth {
        let client = Caller::of("next", &[1, 2, 3]).stack(wire);
        wire = wire_to(move |request: Bare| {
            let client = client.clone();
            // A handler that calls on and makes an answer of its own: it passes no header on.
            let method = request.method().clone();
            async move {
                let onward = Request::builder().method(method).uri("/").body(Empty::new());
                let response = client.oneshot(onward?).await?;
                Ok(Response::builder().status(response.status()).body(())?)
            }
        });
    }
    let client = Caller::of("first", &[1, 2, 3]).stack(wire);
    let request = Request::builder().method(method).uri("/").body(Empty::new()).expect("valid");
    let response = client.oneshot(request).await.expect("an answer");
    (calls.load(Relaxed), response)
}

#[tokio::test(start_paused = true)]
async fn three_stacks_that_all_retry_ten_times_make_eleven_calls() {
    for depth in 1..=4 {
        let (calls, response) = chain(depth, "GET", 503).await;
        assert_eq!(calls, 11, "only the innermost of {depth} retries");
        assert_eq!(response.status(), 503, "the backend's own answer");
        assert_eq!(response.headers()[header::ATTEMPTS], "11");
    }
}

#[tokio::test(start_paused = true)]
async fn a_post_is_delivered_once_through_three_stacks() {
    for status in [500, 502, 503, 504] {
        let (calls, _) = chain(3, "POST", status).await;
        assert_eq!(calls, 1, "{status}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_succeeds_is_called_once_and_says_nothing_of_tries() {
    let (calls, response) = chain(3, "GET", 200).await;
    assert_eq!(calls, 1);
    assert!(!response.headers().contains_key(header::ATTEMPTS));
}

#[tokio::test(start_paused = true)]
async fn a_deadline_falls_at_each_hop_and_the_caller_is_answered_in_time() {
    let told: Arc<std::sync::Mutex<Vec<u64>>> = Arc::default();
    let note = |told: &Arc<std::sync::Mutex<Vec<u64>>>, request: &Bare| {
        let left = request.headers()[header::DEADLINE].to_str().expect("digits");
        told.lock().expect("whole").push(left.parse().expect("digits"));
    };
    let leaf_told = Arc::clone(&told);
    let leaf = wire_to(move |request| {
        note(&leaf_told, &request);
        async {
            tokio::time::sleep(ms(10_000)).await;
            Ok(Response::new(()))
        }
    });
    let client = Caller::of("leaf", &[1]).stack(leaf);
    let middle_told = Arc::clone(&told);
    let middle = wire_to(move |request| {
        note(&middle_told, &request);
        let client = client.clone();
        async move {
            tokio::time::sleep(ms(40)).await;
            client.oneshot(Request::new(Empty::new())).await
        }
    });
    let client = Caller::of("middle", &[1]).stack(middle);
    let t0 = clock::now();
    let request = Request::get("/").header(header::DEADLINE, "300").body(Empty::new());
    let outcome = client.oneshot(request.expect("valid")).await;
    assert!(clock::now() - t0 <= ms(310), "{:?}", clock::now() - t0);
    match outcome {
        Ok(response) => assert_eq!(response.status(), 504),
        Err(error) => assert_eq!(kind_of(&error), Some(FailureKind::Deadline)),
    }
    let told = told.lock().expect("whole").clone();
    assert_eq!(told[0], 300);
    assert!(told[1] <= 260, "40 ms were spent in between: {told:?}");
    assert_eq!(told.len(), 2, "nothing was started past the deadline");
}

#[tokio::test(start_paused = true)]
async fn each_request_is_told_once_with_how_it_ended() {
    let (heard, observers) = Heard::new();
    let mut caller = Caller::of("stock", &[1, 2]);
    caller.observers = observers;
    caller.retry.attempts = 1;
    let first = AtomicU32::new(0);
    let wire = service_fn(move |_: Wired| {
        let reply = match first.fetch_add(1, Relaxed) {
            0 => Err(failed(FailureKind::ConnectFailure)),
            _ => Ok(answer(200)),
        };
        std::future::ready(reply)
    });
    let wire = Arc::new(std::sync::Mutex::new(wire));
    let wire = service_fn(move |dispatch| {
        let mut wire = wire.lock().expect("whole");
        tower::Service::call(&mut *wire, dispatch)
    });
    let client = caller.stack(BoxCloneSyncService::new(wire));
    client.oneshot(bare()).await.expect("the second try is answered");
    let told = heard.take();
    assert!(told[0].ends_with("as 0: connect_failure failure"), "{told:?}");
    assert_eq!(told[1], "retried 1 hedge=false");
    assert!(told[2].ends_with("as 1: Some(200) success"), "{told:?}");
    assert_eq!(told[3], "finished GET Some(200) success after 2");
    assert_eq!(told.len(), 4);
}

#[tokio::test(start_paused = true)]
async fn a_refusal_is_told_as_one_and_costs_no_try() {
    let (heard, observers) = Heard::new();
    let mut caller = Caller::of("stock", &[]);
    caller.observers = observers;
    let wire = service_fn(|_: Wired| async { Ok(answer(200)) });
    let wire = BoxCloneSyncService::new(wire);
    let error = caller.stack(wire).oneshot(bare()).await.expect_err("nobody is there");
    assert_eq!(error.to_string(), "`stock` has no usable endpoint");
    assert_eq!(
        heard.take(),
        ["rejected: `stock` has no usable endpoint", "finished GET Some(503) ignored after 0",]
    );
}

#[tokio::test(start_paused = true)]
async fn a_brownout_costs_the_backend_at_most_a_fifth_more_and_ten_a_second() {
    for failing in [0.5, 1.0] {
        let calls = Arc::new(AtomicU32::new(0));
        let counted = Arc::clone(&calls);
        let rng = std::sync::Mutex::new(fastrand::Rng::with_seed(7));
        let rng = Arc::new(rng);
        let wire = service_fn(move |_: Wired| {
            counted.fetch_add(1, Relaxed);
            let fails = rng.lock().expect("whole").f64() < failing;
            async move {
                tokio::time::sleep(ms(5)).await;
                Ok::<_, BoxError>(answer(if fails { 503 } else { 200 }))
            }
        });
        let mut caller = Caller::of("stock", &[1, 2, 3]);
        caller.retry.budget = BudgetConfig::default();
        caller.retry.methods = Methods::All;
        let client = caller.stack(BoxCloneSyncService::new(wire));
        let (per_second, seconds) = (200, 10);
        let t0 = clock::now();
        let mut tasks = tokio::task::JoinSet::new();
        for _ in 0..per_second * seconds {
            let client = client.clone();
            tasks.spawn(async move { client.oneshot(bare()).await.map(drop) });
            tokio::time::sleep(Duration::from_secs(1) / per_second).await;
        }
        tasks.join_all().await;
        let requests = per_second * seconds;
        // The last retries end some time after the last request began.
        let lasted = clock::now() - t0;
        let allowed = requests * 12 / 10 + 10 * lasted.as_millis() as u32 / 1_000;
        let calls = calls.load(Relaxed);
        assert!(calls <= allowed, "{calls} calls, {allowed} allowed, {failing} failing");
        assert!(calls > requests, "retries were made");
    }
}
