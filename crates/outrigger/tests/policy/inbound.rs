//! The inbound half of a service's own policy, reloaded while it serves.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use outrigger::discovery::{InMemoryRegistry, KeyWatcher, Resolver};
use outrigger::telemetry::AccessLogTo;
use outrigger::{Builder, Fleet, PolicyView};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;

use crate::fleet::{policy, text};

/// `stock`, serving on loopback.
pub(crate) struct Stock {
    keys: InMemoryRegistry,
    pub(crate) address: SocketAddr,
    pub(crate) fleet: Fleet,
    before: Option<PolicyView>,
    _end: oneshot::Sender<()>,
}

impl Stock {
    pub(crate) async fn start(text: Option<&str>, change: impl FnOnce(Builder) -> Builder) -> Self {
        let keys = InMemoryRegistry::new();
        if let Some(text) = text {
            keys.set_key("outrigger/policy/stock", text.as_bytes().to_vec());
        }
        let builder = outrigger::builder("stock")
            .registry(Arc::new(keys.clone()) as Arc<dyn Resolver>, None)
            .keys(Arc::new(keys.clone()) as Arc<dyn KeyWatcher>)
            // What is refused here on purpose is nobody's trouble.
            .access_log(AccessLogTo::Nowhere);
        let fleet = change(builder).join().await.expect("valid settings");
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let (end, ended) = oneshot::channel::<()>();
        let serving = fleet.clone();
        tokio::spawn(async move {
            let app = tower::service_fn(|request: Request<outrigger::RequestBody>| async move {
                if request.uri().path() == "/slow" {
                    tokio::time::sleep(Duration::from_millis(400)).await;
                }
                // One that breaks off is answered as if it had ended there.
                let body = request.into_body().collect().await;
                Ok::<_, Infallible>(text_of(body.map_or(0, |body| body.to_bytes().len())))
            });
            let end = async {
                let _ = ended.await;
            };
            serving.serve_until(listener, app, end).await.expect("it serves");
        });
        let mut stock = Self { keys, address, fleet, before: None, _end: end };
        stock.changed().await;
        stock
    }

    /// Waits until something else is obeyed, or is in trouble.
    async fn changed(&mut self) {
        let changed = async {
            while self.fleet.policy() == self.before {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(5), changed).await.expect("in time");
        self.before = self.fleet.policy();
    }

    pub(crate) async fn push(&mut self, text: &str) {
        self.keys.set_key("outrigger/policy/stock", text.as_bytes().to_vec());
        self.changed().await;
    }

    pub(crate) async fn send(
        &self,
        path: &str,
        from: &str,
        body: &'static str,
    ) -> Response<Incoming> {
        let request = Request::post(path)
            .header("host", "stock")
            .header("x-user", from)
            .body(Full::from(body));
        self.ask(request.expect("a request")).await
    }

    /// A request without a body, of this content type.
    pub(crate) async fn send_as(&self, kind: &str, path: &str) -> Response<Incoming> {
        let request = Request::post(path)
            .header("host", "stock")
            .header("content-type", kind)
            .body(Full::default());
        self.ask(request.expect("a request")).await
    }

    async fn ask(&self, request: Request<Full<Bytes>>) -> Response<Incoming> {
        let tcp = TcpStream::connect(self.address).await.expect("it listens");
        let (mut send, connection) =
            http1::handshake::<_, Full<Bytes>>(TokioIo::new(tcp)).await.expect("no bytes yet");
        tokio::spawn(connection);
        send.send_request(request).await.expect("an answer")
    }

    pub(crate) async fn status(&self, path: &str, from: &str, body: &'static str) -> u16 {
        self.send(path, from, body).await.status().as_u16()
    }
}

fn text_of(length: usize) -> Response<Full<Bytes>> {
    text(200, length.to_string())
}

#[tokio::test]
async fn rates_by_key_and_match_hold_and_survive_a_reload() {
    let rules = |burst: u32| {
        policy(&format!(
            "inbound:\n  rate_limits:\n    - {{ name: users, rate: 1/h, burst: {burst}, \
             per: {{ header: x-user }}, match: {{ path_prefix: /stock }} }}"
        ))
    };
    let mut stock = Stock::start(Some(&rules(2)), |builder| builder).await;
    for (path, from, wanted) in [
        ("/stock/1", "a", 200),
        ("/stock/2", "a", 200),
        ("/stock/3", "a", 429),
        ("/stock/3", "b", 200),
        ("/other", "a", 200),
    ] {
        assert_eq!(stock.status(path, from, "").await, wanted, "{path} by {from}");
    }
    let refused = stock.send("/stock", "a", "").await;
    assert_eq!(refused.headers()["x-outrigger-reason"], "rate_limited");
    stock.push(&rules(3)).await;
    assert_eq!(stock.status("/stock", "a", "").await, 429, "the bucket was not filled anew");
    stock.push(&policy("timeout: 1s")).await;
    assert_eq!(stock.status("/stock", "a", "").await, 200, "no limit is left");
}

#[tokio::test]
async fn concurrency_and_body_limit_come_with_a_reload() {
    let mut stock = Stock::start(None, |builder| builder).await;
    assert_eq!(stock.status("/", "a", "12345").await, 200);
    stock.push(&policy("inbound: { body_limit: 4B, concurrency: { max_in_flight: 1 } }")).await;
    let response = stock.send("/", "a", "12345").await;
    assert_eq!(response.status(), 413);
    assert_eq!(stock.status("/", "a", "1234").await, 200);
    let (one, two) = tokio::join!(stock.status("/slow", "a", ""), stock.status("/slow", "b", ""));
    let mut both = [one, two];
    both.sort_unstable();
    assert_eq!(both, [200, 503]);
    // A bad one changes nothing.
    stock.push("version: 1\nservice: stock\ninbuond: {}\n").await;
    assert_eq!(stock.status("/", "a", "12345").await, 413);
}

#[tokio::test]
async fn a_body_of_unannounced_length_is_counted_as_it_comes() {
    let stock = Stock::start(Some(&policy("inbound: { body_limit: 4B }")), |b| b).await;
    for (chunks, status) in [("2\r\nab\r\n2\r\ncd\r\n", "200"), ("2\r\nab\r\n3\r\ncde\r\n", "413")]
    {
        let mut tcp = TcpStream::connect(stock.address).await.expect("it listens");
        let head =
            "POST / HTTP/1.1\r\nhost: stock\r\nconnection: close\r\ntransfer-encoding: chunked";
        let text = format!("{head}\r\n\r\n{chunks}0\r\n\r\n");
        tcp.write_all(text.as_bytes()).await.expect("written");
        let mut answer = String::new();
        tcp.read_to_string(&mut answer).await.expect("an answer");
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{answer}");
    }
}

#[tokio::test]
async fn settings_hold_until_a_policy_speaks() {
    let mut inbound = outrigger::Inbound::default();
    inbound.rate_limits.push(outrigger::InboundRate::new("1/h".parse().expect("a rate")));
    let mut stock = Stock::start(None, |builder| builder.inbound(inbound)).await;
    assert_eq!(stock.status("/", "a", "").await, 200);
    assert_eq!(stock.status("/", "a", "").await, 429);
    stock.push(&policy("timeout: 1s")).await;
    assert_eq!(stock.status("/", "a", "").await, 200, "whole, and not merged");
}

#[tokio::test]
async fn authorize_is_never_silently_ignored_and_stops_nobody_who_ran() {
    let authorize = policy("inbound: { authorize: { allow: [ { from: [orders] } ] } }");
    let stock = Stock::start(Some(&authorize), |builder| builder).await;
    assert_eq!(stock.status("/", "a", "").await, 503, "a cold start with nothing older");
    let health = stock.get("/healthz").await;
    assert_eq!(health.status(), 503);
    let why = health.into_body().collect().await.expect("whole").to_bytes();
    let why = String::from_utf8_lossy(&why).into_owned();
    assert!(why.contains("inbound.authorize"), "{why}");

    let mut stock = Stock::start(Some(&policy("inbound: { body_limit: 4B }")), |b| b).await;
    stock.push(&authorize).await;
    assert_eq!(stock.status("/", "a", "1234").await, 200, "the last good one stays");
    assert_eq!(stock.status("/", "a", "12345").await, 413);
    let observe = authorize.replace("allow:", "mode: observe, allow:");
    stock.push(&observe).await;
    assert_eq!(stock.status("/", "a", "12345").await, 200);
}

impl Stock {
    async fn get(&self, path: &str) -> Response<Incoming> {
        let request = Request::get(path).header("host", "stock").body(Full::default());
        self.ask(request.expect("a request")).await
    }
}

#[tokio::test]
async fn the_version_a_request_runs_under_is_on_its_span() {
    use outrigger::telemetry::{FinishedSpan, SpanKind, SpanSink};

    #[derive(Debug, Default)]
    struct Seen(std::sync::Mutex<Vec<String>>);

    impl SpanSink for Seen {
        fn finished(&self, span: &FinishedSpan) {
            let version = span.attributes.iter().find(|a| a.key == "outrigger.policy.version");
            if let (SpanKind::Server, Some(version)) = (span.kind, version) {
                self.0.lock().expect("no panic within").push(version.value.to_string());
            }
        }
    }

    let seen = Arc::new(Seen::default());
    let sink = Arc::clone(&seen);
    let texts = ["telemetry: { sample: 1 }", "telemetry: { sample: 1 }\ntimeout: 1s"].map(policy);
    let mut stock = Stock::start(Some(&texts[0]), |builder| builder.span_sink(sink)).await;
    assert_eq!(stock.status("/", "a", "").await, 200);
    stock.push(&texts[1]).await;
    assert_eq!(stock.status("/", "a", "").await, 200);
    let ended = async {
        while seen.0.lock().expect("no panic within").len() < 2 {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(5), ended).await.expect("both spans end");
    let wanted = texts.map(|text| outrigger_policy::version_of(&text).to_string());
    assert_eq!(*seen.0.lock().expect("no panic within"), wanted);
}

#[tokio::test]
async fn which_traces_of_its_callers_are_kept_is_the_policy_s() {
    use outrigger::telemetry::{FinishedSpan, SpanSink};

    #[derive(Debug, Default)]
    struct Kept(std::sync::atomic::AtomicU32);

    impl SpanSink for Kept {
        fn finished(&self, _: &FinishedSpan) {
            self.0.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        }
    }

    let kept = Arc::new(Kept::default());
    let sink = Arc::clone(&kept);
    let all = policy("telemetry: { sample: 1 }");
    let mut stock = Stock::start(Some(&all), |builder| builder.span_sink(sink)).await;
    let ask = async |stock: &Stock| {
        let before = kept.0.load(std::sync::atomic::Ordering::Relaxed);
        for _ in 0..10 {
            assert_eq!(stock.status("/", "a", "").await, 200);
        }
        kept.0.load(std::sync::atomic::Ordering::Relaxed) - before
    };
    assert_eq!(ask(&stock).await, 10);
    stock.push(&policy("telemetry: { sample: 0 }")).await;
    assert_eq!(ask(&stock).await, 0);
}
