//! What a member's admin surface shows, asked over real sockets on loopback.

#[path = "admin/schema.rs"]
mod schema;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use outrigger::breaker::BreakerConfig;
use outrigger::discovery::{InMemoryRegistry, Registrar, Resolver};
use outrigger::{Builder, Fleet, JoinError, Rules};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, oneshot};
use tower::service_fn;

use schema::faults;

const LOOPBACK: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 0);

fn builder(service: &str, registry: &InMemoryRegistry) -> Builder {
    let registry = Arc::new(registry.clone());
    outrigger::builder(service)
        .registry(Arc::clone(&registry) as Arc<dyn Resolver>, Some(registry as Arc<dyn Registrar>))
        .notice(Duration::from_millis(200))
}

/// Status and body of an answer.
async fn get(fleet: &Fleet, path: &str, accept: &str) -> (u16, String) {
    let address = fleet.admin_address().expect("a surface");
    let mut stream = TcpStream::connect(address).await.expect("it listens");
    let head = format!(
        "GET {path} HTTP/1.1\r\nhost: localhost\r\naccept: {accept}\r\nconnection: close\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await.expect("sent");
    let mut text = String::new();
    stream.read_to_string(&mut text).await.expect("a text");
    let (head, body) = text.split_once("\r\n\r\n").expect("a head");
    (head[9..12].parse().expect("a status"), body.to_owned())
}

async fn json(fleet: &Fleet, path: &str) -> (u16, Value) {
    let (status, body) = get(fleet, path, "*/*").await;
    (status, serde_json::from_str(&body).expect("JSON"))
}

/// The events so far.
async fn events(fleet: &Fleet, until: &str) -> Vec<Value> {
    let mut stream =
        TcpStream::connect(fleet.admin_address().expect("a surface")).await.expect("a port");
    let ask = b"GET /api/v1/events HTTP/1.1\r\nhost: localhost\r\n\r\n";
    stream.write_all(ask).await.expect("sent");
    let mut text = String::new();
    while !text.contains(until) {
        let mut piece = [0; 4096];
        let read = stream.read(&mut piece).await.expect("open");
        assert_ne!(read, 0, "it ended before {until:?}: {text}");
        text.push_str(std::str::from_utf8(&piece[..read]).expect("text"));
    }
    let data = text.lines().filter_map(|line| line.strip_prefix("data: "));
    // The last line may be cut by the read.
    data.filter_map(|data| serde_json::from_str(data).ok()).collect()
}

struct Running {
    end: Option<oneshot::Sender<()>>,
    /// Told when a request that never ends has reached the application.
    held: Arc<Notify>,
    task: tokio::task::JoinHandle<()>,
}

async fn serve(fleet: &Fleet, status: StatusCode) -> Running {
    let listener = TcpListener::bind(LOOPBACK).await.expect("a port");
    let (end, ended) = oneshot::channel::<()>();
    let serving = fleet.clone();
    let held = Arc::new(Notify::new());
    let holds = Arc::clone(&held);
    let app = service_fn(move |request: Request<outrigger::RequestBody>| {
        let holds = Arc::clone(&holds);
        async move {
            if request.uri().path() == "/hold" {
                holds.notify_one();
                std::future::pending::<()>().await;
            }
            let mut response = Response::new(Full::new(Bytes::from_static(b"hello")));
            *response.status_mut() = status;
            Ok::<_, Infallible>(response)
        }
    });
    let task = tokio::spawn(async move {
        let end = async {
            let _ = ended.await;
        };
        serving.serve_until(listener, app, end).await.expect("it serves");
    });
    fleet.registered().await;
    Running { end: Some(end), held, task }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn state_readiness_and_events_are_what_is_described() {
    let registry = InMemoryRegistry::new();
    let stock = builder("inventory", &registry).version("1.2.0").zone("a").admin(LOOPBACK);
    let stock = stock.join().await.expect("joined");
    let (status, before) = json(&stock, "/readyz").await;
    assert_eq!((status, before["reasons"][0]["code"].as_str()), (503, Some("not_serving")));
    let mut running = serve(&stock, StatusCode::INTERNAL_SERVER_ERROR).await;
    let (status, ready) = json(&stock, "/readyz").await;
    assert_eq!(status, 200, "{ready}");

    let mut rules = Rules::default();
    let mut breaker = BreakerConfig::default();
    breaker.min_calls = NonZeroU32::new(2).expect("not zero");
    rules.breaker = Some(breaker);
    let orders = builder("orders", &registry).rules_for("inventory", rules).admin(LOOPBACK);
    let orders = orders.join().await.expect("joined");
    for _ in 0..4 {
        // Whatever comes of it: 500, and then the circuit's refusal.
        let _ = orders.get("http://inventory/stock/1").await;
    }

    let (_, description) = json(&stock, "/api/v1/openapi.json").await;
    let of = |name: &str| description["components"]["schemas"][name].clone();
    let (status, state) = json(&orders, "/api/v1/state").await;
    assert_eq!(status, 200);
    let (_, served) = json(&stock, "/api/v1/state").await;
    for (name, value) in
        [("State", &state), ("State", &served), ("Readiness", &before), ("Readiness", &ready)]
    {
        let faults = faults(&description, &of(name), value);
        assert!(faults.is_empty(), "{name}: {faults:#?}");
    }
    let (_, lost) = json(&orders, "/nothing").await;
    assert!(faults(&description, &of("Error"), &lost).is_empty(), "{lost}");

    let inventory = &state["services"]["inventory"];
    let endpoint = &inventory["endpoints"][0];
    assert_eq!(
        (endpoint["version"].as_str(), endpoint["zone"].as_str()),
        (Some("1.2.0"), Some("a"))
    );
    assert_eq!(endpoint["language"], "rust");
    assert_eq!(endpoint["address"], served["listeners"]["inbound"], "one and the same port");
    assert_eq!(inventory["freshness"], "live");
    let circuit = &inventory["circuits"][0];
    assert_eq!(circuit["state"], "open");
    let wait =
        circuit["retry_at_ms"].as_u64().expect("a time") - state["at_ms"].as_u64().expect("a time");
    assert!((1..=10_000).contains(&wait), "the default is 5 s and some jitter: {wait} ms");
    assert_eq!(state["registry"]["kind"], "other");
    assert_eq!(state["registry"]["connected"], true);

    let told = events(&orders, "\"kind\":\"circuit\"").await;
    for event in &told {
        let faults = faults(&description, &of("Event"), event);
        assert!(faults.is_empty(), "{faults:#?}");
    }
    let texts: Vec<&str> = told.iter().filter_map(|event| event["text"].as_str()).collect();
    assert!(
        texts
            .iter()
            .any(|text| text.contains("circuit orders → inventory goes from closed to open")),
        "{texts:#?}"
    );

    // While this is in flight, the drain is not over.
    let inbound = served["listeners"]["inbound"].as_str().expect("an address");
    let mut held = TcpStream::connect(inbound).await.expect("it listens");
    held.write_all(b"GET /hold HTTP/1.1\r\nhost: inventory\r\n\r\n").await.expect("sent");
    let begun = tokio::time::timeout(Duration::from_secs(5), running.held.notified());
    begun.await.expect("it is in flight");
    let _ = running.end.take().expect("still there").send(());
    let draining = async {
        while json(&stock, "/readyz").await.1["reasons"][0]["code"] != "draining" {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(5), draining).await.expect("it says that it drains");
    assert_eq!(json(&stock, "/healthz").await.0, 200, "and lives");
    drop(held);
    running.task.await.expect("it ends");
    let (_, after) = json(&stock, "/api/v1/state").await;
    assert_eq!(after["listeners"].get("inbound"), None, "nothing listens any more");
}

#[tokio::test]
async fn metrics_are_one_page_in_either_format() {
    let fleet = builder("orders", &InMemoryRegistry::new()).admin(LOOPBACK).join().await;
    let fleet = fleet.expect("joined");
    let (_, text) = get(&fleet, "/metrics", "text/plain").await;
    assert!(text.contains("# TYPE outrigger_rejections_total counter"), "{text:.500}");
    let (_, open) = get(&fleet, "/metrics", "application/openmetrics-text").await;
    assert!(open.contains("# TYPE outrigger_rejections counter"), "{open:.500}");
    assert!(open.ends_with("# EOF\n"), "{}", &open[open.len() - 40..]);
}

#[tokio::test]
async fn a_surface_lives_as_long_as_its_member_and_no_longer() {
    let registry = InMemoryRegistry::new();
    let fleet = builder("orders", &registry).admin(LOOPBACK).join().await.expect("joined");
    let address = fleet.admin_address().expect("a surface");
    let clone = fleet.clone();
    drop(fleet);
    assert_eq!(json(&clone, "/healthz").await.0, 200, "a clone is the same member");
    drop(clone);
    let gone = async {
        while TcpListener::bind(address).await.is_err() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(5), gone).await.expect("the port is given back");
}

#[tokio::test]
async fn a_port_that_others_reach_or_have_is_refused_when_joining() {
    let registry = InMemoryRegistry::new();
    let everywhere: SocketAddr = "0.0.0.0:0".parse().expect("an address");
    let taken = TcpListener::bind(LOOPBACK).await.expect("a port");
    let taken = taken.local_addr().map(|address| (address, taken)).expect("an address");
    for (address, why) in [(everywhere, "loopback"), (taken.0, "in use")] {
        let error = builder("orders", &registry).admin(address).join().await.expect_err("refused");
        let JoinError::Admin { source, .. } = &error else { panic!("{error}") };
        assert!(source.to_string().contains(why), "{source}");
    }
    let none = builder("orders", &registry).without_admin().join().await.expect("joined");
    assert_eq!(none.admin_address(), None);
}
