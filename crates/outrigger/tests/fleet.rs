//! A service as a member of its fleet, over real sockets on loopback and a registry in memory.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use outrigger::core::{Event, FailureKind, Observe, Reason, Rejected};
use outrigger::discovery::{InMemoryRegistry, Registrar, Resolver};
use outrigger::retry::{Condition, HedgeConfig};
use outrigger::{Body, Builder, Fleet, InboundRate, Rules};
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tower::service_fn;

type Answer = Result<Response<Full<Bytes>>, Infallible>;

fn builder(service: &str, registry: &InMemoryRegistry) -> Builder {
    let registry = Arc::new(registry.clone());
    outrigger::builder(service)
        .registry(Arc::clone(&registry) as Arc<dyn Resolver>, Some(registry as Arc<dyn Registrar>))
        .notice(Duration::from_millis(50))
}

async fn join(builder: Builder) -> Fleet {
    builder.join().await.expect("valid settings")
}

/// A running service; ends when dropped or told to.
struct Running {
    address: SocketAddr,
    end: Option<oneshot::Sender<()>>,
    task: JoinHandle<()>,
}

impl Running {
    async fn end(mut self) {
        drop(self.end.take());
        self.task.await.expect("it ends without a panic");
    }
}

async fn serve<F, A>(fleet: Fleet, handler: F) -> Running
where
    F: Fn(Request<outrigger::RequestBody>) -> A + Clone + Send + Sync + 'static,
    A: Future<Output = Answer> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let (end, ended) = oneshot::channel::<()>();
    let serving = fleet.clone();
    let task = tokio::spawn(async move {
        let end = async {
            let _ = ended.await;
        };
        serving.serve_until(listener, service_fn(handler), end).await.expect("it serves");
    });
    fleet.registered().await;
    Running { address, end: Some(end), task }
}

fn text(status: StatusCode, text: impl Into<Bytes>) -> Answer {
    let mut response = Response::new(Full::new(text.into()));
    *response.status_mut() = status;
    Ok(response)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_is_found_by_name_called_and_drained() {
    let registry = InMemoryRegistry::new();
    let stock = join(builder("inventory", &registry).version("1.2.0")).await;
    let running = serve(stock, |request| async move {
        text(StatusCode::OK, format!("{} {}", request.method(), request.uri().path()))
    })
    .await;

    let orders = join(builder("orders", &registry)).await;
    for host in ["inventory", "Inventory", "inventory.Service.Consul", "inventory.outrigger"] {
        let response = orders.get(&format!("http://{host}/stock/42")).await.expect("an answer");
        assert_eq!(response.status(), 200);
        assert_eq!(response.into_body().text().await.expect("a text"), "GET /stock/42");
    }
    let response = orders.post("http://inventory/stock", "new").await.expect("an answer");
    assert_eq!(response.into_body().text().await.expect("a text"), "POST /stock");
    let view = orders.services();
    assert_eq!(view.len(), 1, "one service, however it is spelled");
    assert_eq!(view[0].endpoints[0].version.as_deref(), Some("1.2.0"));
    assert_eq!(
        view[0].endpoints[0].language.as_ref().map(ToString::to_string).as_deref(),
        Some("rust")
    );

    running.end().await;
    let gone = async {
        while orders.services()[0]
            .endpoints
            .iter()
            .any(|endpoint| endpoint.status.as_str() != "critical")
        {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(5), gone).await.expect("callers hear that it left");
}

#[tokio::test]
async fn a_service_without_endpoints_is_refused_at_once() {
    let registry = InMemoryRegistry::new();
    let orders = join(builder("orders", &registry)).await;
    orders.get("http://nobody/").await.expect_err("nobody is there");
    let mut quickest = Duration::MAX;
    // The best of some: what is measured is our refusal, not what else this machine does.
    for _ in 0..20 {
        let started = std::time::Instant::now_in_test();
        orders.get("http://nobody/").await.expect_err("nobody is there");
        quickest = quickest.min(started.elapsed());
    }
    assert!(quickest < Duration::from_millis(10), "{quickest:?}");
    let error = orders.get("http://nobody/").await.expect_err("nobody is there");
    assert!(matches!(error.rejected(), Some(Rejected::NoEndpoint { .. })));
    assert_eq!((error.reason(), error.status()), (Some(Reason::NoEndpoint), Some(503)));
}

#[tokio::test]
async fn a_url_that_names_no_service_is_refused_with_the_way_out() {
    let registry = InMemoryRegistry::new();
    let orders = join(builder("orders", &registry)).await;
    let error = orders.get("http://127.0.0.1:80/").await.expect_err("an address is no name");
    let why = error.destination().expect("the reason").to_string();
    assert!(why.contains("OUTRIGGER_ENDPOINTS"), "{why}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failing_endpoint_is_retried_elsewhere_and_a_post_is_delivered_once() {
    let registry = InMemoryRegistry::new();
    let seen = Arc::new(AtomicU32::new(0));
    let bad = {
        let seen = Arc::clone(&seen);
        serve(join(builder("inventory", &registry)).await, move |_| {
            seen.fetch_add(1, Ordering::Relaxed);
            async { text(StatusCode::SERVICE_UNAVAILABLE, "no") }
        })
        .await
    };
    let good = serve(join(builder("inventory", &registry)).await, |_| async {
        text(StatusCode::OK, "yes")
    })
    .await;
    let mut rules = Rules::default();
    rules.retry.when.push(Condition::ServerError);
    let orders = join(builder("orders", &registry).rules_for("inventory", rules)).await;
    for _ in 0..20 {
        let response = orders.get("http://inventory/").await.expect("an answer");
        assert_eq!(response.status(), 200, "a GET is sent again");
    }
    let before = seen.load(Ordering::Relaxed);
    let mut refused = 0;
    for _ in 0..20 {
        let response = orders.post("http://inventory/", "x").await.expect("an answer");
        refused += u32::from(response.status() == 503);
    }
    assert_eq!(seen.load(Ordering::Relaxed) - before, refused, "a POST is delivered once");
    bad.end().await;
    good.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deadline_falls_on_its_way_and_is_nobody_s_failure() {
    let registry = InMemoryRegistry::new();
    let leaf = serve(join(builder("leaf", &registry)).await, |request| async move {
        let left = request.headers()["x-outrigger-deadline-ms"].to_str().expect("a number");
        let left = left.to_owned();
        tokio::time::sleep(Duration::from_secs(5)).await;
        text(StatusCode::OK, left)
    })
    .await;
    let middle_fleet = join(builder("middle", &registry)).await;
    let caller = middle_fleet.clone();
    let middle = serve(middle_fleet, move |_| {
        let caller = caller.clone();
        async move {
            match caller.get("http://leaf/").await {
                Ok(_) => text(StatusCode::OK, "late"),
                Err(error) => {
                    let kind = error.failed().map(|failed| failed.kind);
                    assert_eq!(kind, Some(FailureKind::Deadline));
                    text(StatusCode::GATEWAY_TIMEOUT, "deadline")
                }
            }
        }
    })
    .await;
    let front = join(builder("front", &registry)).await;
    front.get("http://middle/healthz").await.expect("known from here on");
    let started = std::time::Instant::now_in_test();
    let request = Request::get("http://middle/")
        .header("x-outrigger-deadline-ms", "300")
        .body(Body::empty())
        .expect("a request");
    let error = front.send(request).await;
    let took = started.elapsed();
    // The leaf takes 5 s; the slack is for a machine that does other things as well.
    assert!(took < Duration::from_millis(1_000), "the caller was answered after {took:?}");
    if let Err(error) = error {
        assert_eq!(error.reason(), Some(Reason::Deadline));
    }
    let view = front.services();
    assert_eq!(view[0].endpoints[0].failures, 0, "the endpoint is not blamed");
    drop((leaf, middle));
}

/// Counts what is refused for want of tokens.
#[derive(Debug, Default)]
struct Refused(AtomicU32);

impl Observe for Refused {
    fn observe(&self, event: &Event<'_>) {
        if let Event::Rejected { rejected: Rejected::RateLimited { service, .. }, .. } = event {
            assert_eq!(service.as_str(), "inventory");
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_service_does_not_accept_is_answered_by_the_contract() {
    let registry = InMemoryRegistry::new();
    let mut inbound = outrigger::Inbound::default();
    inbound.rate_limits.push(InboundRate::new("2/m".parse().expect("a rate")));
    let refused = Arc::new(Refused::default());
    let observed = builder("inventory", &registry).observer(Arc::clone(&refused) as _);
    let stock = join(observed.inbound(inbound)).await;
    let running = serve(stock, |_| async { text(StatusCode::OK, "yes") }).await;
    let orders = join(builder("orders", &registry)).await;
    for _ in 0..2 {
        assert_eq!(orders.get("http://inventory/").await.expect("an answer").status(), 200);
    }
    let response = orders.get("http://inventory/").await.expect("an answer");
    assert_eq!(response.status(), 429);
    assert_eq!(response.headers()["x-outrigger-reason"], "rate_limited");
    let wait: u64 =
        response.headers()["retry-after"].to_str().expect("text").parse().expect("seconds");
    assert!((1..=30).contains(&wait), "{wait}");
    assert_eq!(response.into_body().text().await.expect("a text"), "local_rate_limited");
    running.end().await;
    assert_eq!(refused.0.load(Ordering::Relaxed), 1, "who refuses counts what it refuses");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_answer_is_hedged_and_the_quicker_one_taken() {
    let registry = InMemoryRegistry::new();
    let calls = Arc::new(AtomicU32::new(0));
    let mut instances = Vec::new();
    for _ in 0..2 {
        let calls = Arc::clone(&calls);
        let fleet = join(builder("inventory", &registry)).await;
        instances.push(
            serve(fleet, move |_| {
                let first = calls.fetch_add(1, Ordering::Relaxed) == 0;
                async move {
                    if first {
                        tokio::time::sleep(Duration::from_secs(5)).await;
                    }
                    text(StatusCode::OK, "yes")
                }
            })
            .await,
        );
    }
    let mut rules = Rules::default();
    let mut hedge = HedgeConfig::default();
    hedge.after = Duration::from_millis(50);
    rules.hedge = Some(hedge);
    let orders = join(builder("orders", &registry).rules(rules)).await;
    let started = std::time::Instant::now_in_test();
    let response = orders.get("http://inventory/").await.expect("an answer");
    assert_eq!(response.status(), 200);
    assert_eq!(response.headers()["x-outrigger-attempts"], "2");
    assert!(started.elapsed() < Duration::from_secs(2), "{:?}", started.elapsed());
    assert_eq!(calls.load(Ordering::Relaxed), 2);
    drop(instances);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn several_rate_limits_must_all_admit() {
    let registry = InMemoryRegistry::new();
    let running = serve(join(builder("inventory", &registry)).await, |_| async {
        text(StatusCode::OK, "yes")
    })
    .await;
    let mut rules = Rules::default();
    for (rate, burst) in [("1000/s", 1000), ("1/m", 3)] {
        let limit = outrigger::limit::RateLimitConfig::new(rate.parse().expect("a rate"));
        rules.rate_limits.push(limit.with_burst(burst.try_into().expect("not zero")));
    }
    let orders = join(builder("orders", &registry).rules(rules)).await;
    for _ in 0..3 {
        orders.get("http://inventory/").await.expect("admitted");
    }
    let error = orders.get("http://inventory/").await.expect_err("the stricter one refuses");
    assert_eq!(error.reason(), Some(Reason::RateLimited));
    running.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_instance_that_cannot_be_reached_is_gone_around() {
    let registry = InMemoryRegistry::new();
    let one = serve(join(builder("inventory", &registry)).await, |_| async {
        text(StatusCode::OK, "one")
    })
    .await;
    let two = serve(join(builder("inventory", &registry)).await, |_| async {
        text(StatusCode::OK, "two")
    })
    .await;
    let orders = join(builder("orders", &registry)).await;
    orders.get("http://inventory/").await.expect("known from here on");
    // Without a word: the task is dropped, the port closes, the registry still lists it.
    assert_ne!(one.address, two.address);
    one.task.abort();
    let mut resets = 0;
    for _ in 0..50 {
        match orders.get("http://inventory/").await {
            Ok(response) => assert_eq!(response.status(), 200),
            // It was written to the kept connection in the moment in which that was cut: an
            // endpoint may have seen it.
            Err(error) if error.failed().is_some_and(|by| by.kind == FailureKind::Reset) => {
                resets += 1;
            }
            Err(error) => panic!("the other one answers: {error:?}"),
        }
    }
    assert!(resets <= 1, "one connection was kept to it, and {resets} requests broke");
    two.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_health_path_answers_however_busy_the_service_is() {
    let registry = InMemoryRegistry::new();
    let mut inbound = outrigger::Inbound::default();
    let mut concurrency = outrigger::Concurrency::default();
    concurrency.max_in_flight = 1;
    inbound.concurrency = Some(concurrency);
    inbound.rate_limits.push(InboundRate::new("1/m".parse().expect("a rate")));
    let stock = join(builder("inventory", &registry).inbound(inbound)).await;
    let running = serve(stock, |_| async {
        tokio::time::sleep(Duration::from_secs(5)).await;
        text(StatusCode::OK, "late")
    })
    .await;
    let orders = join(builder("orders", &registry)).await;
    let busy = orders.clone();
    let busy = tokio::spawn(async move { busy.get("http://inventory/").await });
    tokio::time::sleep(Duration::from_millis(100)).await;
    for _ in 0..3 {
        let health = orders.get("http://inventory/healthz").await.expect("an answer");
        assert_eq!(health.status(), 200, "a full service is not an ill one");
    }
    busy.abort();
    drop(running);
}

#[tokio::test(start_paused = true)]
async fn a_first_call_waits_for_the_registry_no_longer_than_it_may_take() {
    struct Never<T>(std::marker::PhantomData<fn() -> T>);
    impl<T> futures_core::Stream for Never<T> {
        type Item = T;
        fn poll_next(
            self: std::pin::Pin<&mut Self>,
            _: &mut std::task::Context<'_>,
        ) -> std::task::Poll<Option<T>> {
            std::task::Poll::Pending
        }
    }
    #[derive(Debug)]
    struct Silent;
    impl Resolver for Silent {
        fn watch(&self, _: &outrigger::discovery::Query) -> outrigger::discovery::SnapshotStream {
            outrigger::discovery::SnapshotStream::new(Never(std::marker::PhantomData))
        }
        fn catalogue(&self, _: Option<&str>) -> outrigger::discovery::CatalogueStream {
            outrigger::discovery::CatalogueStream::new(Never(std::marker::PhantomData))
        }
    }
    let mut rules = Rules::default();
    rules.timeout = Some(Duration::from_millis(500));
    let orders = outrigger::builder("orders").registry(Arc::new(Silent), None).rules(rules);
    let orders = join(orders).await;
    let started = std::time::Instant::now_in_test();
    let error = orders.get("http://inventory/").await.expect_err("nobody is known");
    let took = std::time::Instant::now_in_test() - started;
    assert!(took <= Duration::from_millis(510), "the timeout holds: {took:?}, {error}");
    let request = Request::get("http://inventory/")
        .header("x-outrigger-deadline-ms", "300")
        .body(Body::empty())
        .expect("a request");
    let started = std::time::Instant::now_in_test();
    let error = orders.send(request).await.expect_err("nobody is known");
    let took = std::time::Instant::now_in_test() - started;
    assert!(took <= Duration::from_millis(310), "the deadline holds: {took:?}, {error}");
    assert_eq!(error.reason(), Some(Reason::Deadline));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hedges_are_budgeted_by_the_requests_in_flight_though_retries_are_off() {
    let registry = InMemoryRegistry::new();
    let calls = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&calls);
    let running = serve(join(builder("inventory", &registry)).await, move |_| {
        counted.fetch_add(1, Ordering::Relaxed);
        async {
            tokio::time::sleep(Duration::from_millis(400)).await;
            text(StatusCode::OK, "yes")
        }
    })
    .await;
    let mut rules = Rules::default();
    rules.retry.attempts = 0;
    let mut hedge = HedgeConfig::default();
    hedge.after = Duration::from_millis(100);
    rules.hedge = Some(hedge);
    let orders = join(builder("orders", &registry).rules(rules)).await;
    orders.get("http://inventory/healthz").await.expect("known from here on");
    let flights: Vec<_> = (0..60)
        .map(|_| {
            let orders = orders.clone();
            tokio::spawn(async move { orders.get("http://inventory/").await.map(drop) })
        })
        .collect();
    for flight in flights {
        flight.await.expect("no panic").expect("an answer");
    }
    let hedges = calls.load(Ordering::Relaxed) - 60;
    assert!((6..=12).contains(&hedges), "a fifth of 60 may be hedged at once: {hedges}");
    drop(running);
}

#[tokio::test]
async fn an_adaptive_limit_starts_below_a_small_fixed_one() {
    let registry = InMemoryRegistry::new();
    let running = serve(join(builder("inventory", &registry)).await, |_| async {
        text(StatusCode::OK, "yes")
    })
    .await;
    let mut rules = Rules::default();
    let mut capacity = outrigger::Capacity::default();
    capacity.max_requests = 10;
    capacity.adaptive = Some(outrigger::limit::Gradient2Config::default());
    rules.capacity = Some(capacity);
    let orders = join(builder("orders", &registry).rules(rules)).await;
    assert_eq!(orders.get("http://inventory/").await.expect("an answer").status(), 200);
    running.end().await;
}

#[tokio::test]
async fn an_inbound_rule_out_of_range_is_told_before_anything_is_served() {
    let registry = InMemoryRegistry::new();
    let mut inbound = outrigger::Inbound::default();
    let mut concurrency = outrigger::Concurrency::default();
    concurrency.max_in_flight = 0;
    inbound.concurrency = Some(concurrency);
    let joined = builder("inventory", &registry).inbound(inbound).join().await;
    assert!(joined.is_err(), "it would refuse every request");
}

#[tokio::test]
async fn a_stream_that_stalls_is_ended_though_there_is_no_timeout() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let endpoint = tokio::spawn(async move {
        let (mut tcp, _) = listener.accept().await.expect("a caller");
        let _ = tcp.read(&mut [0; 4_096]).await.expect("a request");
        let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n";
        tcp.write_all(head.as_bytes()).await.expect("it listens");
        std::future::pending::<()>().await;
    });
    let mut rules = Rules::default();
    rules.timeout = None;
    rules.idle_timeout = Some(Duration::from_millis(100));
    let registry = InMemoryRegistry::new();
    let orders = builder("orders", &registry).rules(rules);
    let orders = join(orders.endpoints("feed", [address]).expect("a name")).await;
    let response = orders.get("http://feed/").await.expect("a head");
    let body = tokio::time::timeout(Duration::from_secs(5), response.into_body().text()).await;
    assert!(body.expect("the idle timeout holds").is_err(), "it broke off");
    endpoint.abort();
}

#[tokio::test]
async fn each_spelling_of_a_path_counts_for_the_same_rate() {
    let registry = InMemoryRegistry::new();
    let mut inbound = outrigger::Inbound::default();
    let rate = InboundRate::new("2/m".parse().expect("a rate")).with_per(outrigger::Per::Path);
    inbound.rate_limits.push(rate);
    let stock = join(builder("inventory", &registry).inbound(inbound)).await;
    let running = serve(stock, |_| async { text(StatusCode::OK, "yes") }).await;
    let orders = join(builder("orders", &registry)).await;
    let mut statuses = Vec::new();
    for path in ["stock/1", "stock/%31", "stock//1", "stock/./1"] {
        let response = orders.get(&format!("http://inventory/{path}")).await.expect("an answer");
        statuses.push(response.status().as_u16());
    }
    assert_eq!(statuses, [200, 200, 429, 429]);
    running.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_registry_that_hangs_does_not_keep_a_service_from_ending() {
    use outrigger::core::{InstanceId, RegistrationState, Status};
    use outrigger::discovery::{Announcement, BoxFuture, Registered, Registration, RegistryError};

    type Done<'a> = BoxFuture<'a, Result<(), RegistryError>>;

    #[derive(Debug)]
    struct Hung(InstanceId);
    impl Announcement for Hung {
        fn id(&self) -> &InstanceId {
            &self.0
        }
        fn state(&self) -> RegistrationState {
            RegistrationState::Pending
        }
        fn settled(&self) -> BoxFuture<'_, ()> {
            Box::pin(std::future::pending())
        }
        fn report(&self, _: Status, _: &str) -> Done<'_> {
            Box::pin(std::future::pending())
        }
        fn maintenance(&self, _: bool, _: &str) -> Done<'_> {
            Box::pin(std::future::pending())
        }
        fn deregister(&self) -> Done<'_> {
            Box::pin(std::future::pending())
        }
        fn drain(&self, _: Duration) -> Done<'_> {
            Box::pin(std::future::pending())
        }
        fn abandon(&self) {}
    }

    #[derive(Debug)]
    struct HungRegistrar;
    impl Registrar for HungRegistrar {
        fn register(&self, _: Registration) -> BoxFuture<'_, Result<Registered, RegistryError>> {
            let id = InstanceId::new("inventory-1").expect("valid");
            Box::pin(async { Ok(Registered::new(Arc::new(Hung(id)))) })
        }
    }

    let resolver = Arc::new(InMemoryRegistry::new());
    let fleet = outrigger::builder("inventory").registry(resolver, Some(Arc::new(HungRegistrar)));
    let fleet = join(fleet).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let app = service_fn(|_| async { text(StatusCode::OK, "yes") });
    let serving = fleet.serve_until(listener, app, std::future::ready(()));
    let ended = tokio::time::timeout(Duration::from_secs(10), serving).await;
    ended.expect("the registry's silence is not waited out").expect("it served");
}

/// The clock of a test.
trait NowInTest {
    fn now_in_test() -> Self;
}

impl NowInTest for std::time::Instant {
    fn now_in_test() -> Self {
        outrigger::tower::clock::now()
    }
}
