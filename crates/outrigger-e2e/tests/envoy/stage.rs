//! A service that passes requests on to `stock`, as a proxy would: what the library makes of a call
//! is seen from outside, as an answer on the wire.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{HeaderMap, Request};
use http_body_util::{BodyExt, Full};
use hyper_util::rt::TokioIo;
use outrigger::core::{Event, Instance, Language, Observe, ServiceName, Weights};
use outrigger::discovery::{InMemoryRegistry, KeyWatcher, Resolver};
use outrigger::tower::TokioClock;
use outrigger::{Body, Fleet, ServiceView};
use outrigger_testkit::{Scripted, Step};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{AbortHandle, JoinSet};

/// What becomes of the endpoints, with the time.
#[derive(Debug, Default)]
pub(crate) struct Ejections(pub(crate) Mutex<Vec<(Instant, SocketAddr, bool)>>);

impl Observe for Ejections {
    fn observe(&self, event: &Event<'_>) {
        let (endpoint, is_out) = match event {
            Event::Ejected { endpoint, .. } => (endpoint, true),
            Event::Returned { endpoint, .. } => (endpoint, false),
            _ => return,
        };
        let mut seen = self.0.lock().expect("nobody panics here");
        seen.push((Instant::now(), endpoint.address(), is_out));
    }
}

/// What a client got.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: String,
    pub(crate) took: Duration,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// How many tries the answer tells of; one when it does not say.
    pub(crate) fn tries(&self) -> u64 {
        self.header("x-outrigger-attempts").map_or(1, |tries| tries.parse().expect("a number"))
    }
}

/// What a client asks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ask<'a> {
    pub(crate) method: &'a str,
    pub(crate) body: &'a str,
    pub(crate) headers: &'a [(&'a str, &'a str)],
}

impl Default for Ask<'_> {
    fn default() -> Self {
        Self { method: "GET", body: "", headers: &[] }
    }
}

/// A service in front of `stock`, and `stock`.
#[derive(Debug)]
pub(crate) struct Stage {
    pub(crate) endpoints: Vec<Scripted>,
    pub(crate) fleet: Fleet,
    pub(crate) ejections: Arc<Ejections>,
    front: SocketAddr,
    serving: AbortHandle,
}

impl Drop for Stage {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

fn name(text: &str) -> ServiceName {
    text.parse().expect("a name")
}

/// Endpoints that follow the same steps.
pub(crate) async fn alike(count: usize, steps: &[Step]) -> Vec<Scripted> {
    let mut endpoints = Vec::with_capacity(count);
    for _ in 0..count {
        endpoints.push(Scripted::start(steps.to_vec()).await.expect("a port"));
    }
    endpoints
}

impl Stage {
    /// With a policy for calls to `stock`.
    pub(crate) async fn set(outbound: &str, endpoints: Vec<Scripted>) -> Self {
        Self::set_with(outbound, "", endpoints, &[]).await
    }

    /// With a policy for the front's own door too, and weights of the endpoints. The first
    /// endpoint is in Java, the others are in Rust, for those who split by it.
    pub(crate) async fn set_with(
        outbound: &str,
        inbound: &str,
        endpoints: Vec<Scripted>,
        weights: &[u16],
    ) -> Self {
        let registry = InMemoryRegistry::with_clock(Arc::new(TokioClock::new()));
        registry.set_key("outrigger/policy/stock", outbound.as_bytes().to_vec());
        if !inbound.is_empty() {
            registry.set_key("outrigger/policy/front", inbound.as_bytes().to_vec());
        }
        let instances: Vec<Instance> = endpoints
            .iter()
            .enumerate()
            .map(|(at, endpoint)| {
                let mut instance = endpoint.instance("stock").expect("a name");
                instance.language = Some(if at == 0 { Language::Java } else { Language::Rust });
                let passing = weights.get(at).copied().unwrap_or(1);
                instance.weights = Weights { passing, ..Weights::default() };
                instance
            })
            .collect();
        registry.set(&name("stock"), instances);
        let registry = Arc::new(registry);
        let ejections = Arc::new(Ejections::default());
        let fleet = outrigger::builder("front")
            .registry(Arc::clone(&registry) as Arc<dyn Resolver>, None)
            .keys(registry as Arc<dyn KeyWatcher>)
            .observer(Arc::clone(&ejections) as Arc<dyn Observe>)
            .join()
            .await
            .expect("valid settings");
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let front = listener.local_addr().expect("an address");
        let (own, caller) = (fleet.clone(), fleet.clone());
        let app = tower::service_fn(move |request: Request<outrigger::RequestBody>| {
            let caller = caller.clone();
            async move { pass_on(&caller, request).await }
        });
        let serving = tokio::spawn(async move {
            own.serve_until(listener, app, std::future::pending()).await.expect("serves");
        })
        .abort_handle();
        Self { endpoints, fleet, ejections, front, serving }
    }

    /// Asks the front, over a connection of its own.
    pub(crate) async fn ask(&self, ask: Ask<'_>) -> Answer {
        send(self.front, ask).await
    }

    pub(crate) async fn get(&self) -> Answer {
        self.ask(Ask::default()).await
    }

    /// So many at once, in the order of their ends.
    pub(crate) async fn at_once(&self, count: usize) -> Vec<Answer> {
        let front = self.front;
        let mut asked: JoinSet<Answer> =
            (0..count).map(|_| async move { send(front, Ask::default()).await }).collect();
        let mut answers = Vec::with_capacity(count);
        while let Some(answer) = asked.join_next().await {
            answers.push(answer.expect("an answer"));
        }
        answers
    }

    /// Calls `stock` without the front between; the status, or nothing where no endpoint answered.
    pub(crate) async fn call(&self) -> Option<u16> {
        let response = self.fleet.get("http://stock/").await.ok()?;
        let status = response.status().as_u16();
        response.into_body().bytes().await.ok()?;
        Some(status)
    }

    /// What came to each endpoint.
    pub(crate) fn calls(&self) -> Vec<u64> {
        self.endpoints.iter().map(Scripted::requests).collect()
    }

    pub(crate) fn all_calls(&self) -> u64 {
        self.calls().iter().sum()
    }

    /// `stock`, as the fleet sees it; its policy is in force.
    pub(crate) fn view(&self) -> ServiceView {
        let services = self.fleet.services();
        let view = services.into_iter().find(|view| view.service == name("stock"));
        let view = view.expect("stock was called");
        assert_eq!(view.policy.error, None, "the policy can be used");
        assert_ne!(view.policy.version, "default", "the policy is in force");
        view
    }

    pub(crate) fn ejected(&self) -> u64 {
        self.view().endpoints.iter().filter(|endpoint| endpoint.ejected).count() as u64
    }
}

async fn pass_on(
    fleet: &Fleet,
    request: Request<outrigger::RequestBody>,
) -> Result<http::Response<outrigger::ResponseBody>, outrigger::Error> {
    let (head, body) = request.into_parts();
    let path = head.uri.path_and_query().map_or("/", |path| path.as_str());
    let mut onward = Request::new(Body::new(body));
    *onward.method_mut() = head.method;
    *onward.uri_mut() = format!("http://stock{path}").parse().expect("a URL");
    *onward.headers_mut() = head.headers;
    onward.headers_mut().remove(http::header::HOST);
    fleet.send(onward).await
}

async fn send(front: SocketAddr, ask: Ask<'_>) -> Answer {
    let stream = TcpStream::connect(front).await.expect("the front listens");
    stream.set_nodelay(true).expect("settable");
    let http = hyper::client::conn::http1::handshake(TokioIo::new(stream));
    let (mut sender, connection) = http.await.expect("HTTP/1.1");
    let connection = tokio::spawn(connection);
    let mut request = Request::builder().method(ask.method).uri("/x").header("host", "stock.test");
    for (name, value) in ask.headers {
        request = request.header(*name, *value);
    }
    let body = Full::new(Bytes::copy_from_slice(ask.body.as_bytes()));
    let request = request.body(body).expect("a request");
    let began = Instant::now();
    let response = sender.send_request(request).await.expect("an answer");
    let (head, body) = response.into_parts();
    let body = body.collect().await.expect("a body").to_bytes();
    let took = began.elapsed();
    connection.abort();
    Answer {
        status: head.status.as_u16(),
        headers: head.headers,
        body: String::from_utf8(body.into()).expect("a text"),
        took,
    }
}
