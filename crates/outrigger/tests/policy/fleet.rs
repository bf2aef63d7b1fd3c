//! Services on loopback, with a registry and its keys in memory.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use outrigger::core::{Instance, InstanceId, Language, ServiceName};
use outrigger::discovery::{InMemoryRegistry, KeyWatcher, Resolver};
use outrigger::tower::TokioClock;
use outrigger::{Body, Builder, Error, Fleet, PolicyView, ResponseBody};
use tokio::net::TcpListener;
use tokio::task::AbortHandle;

pub(crate) type Answer = Response<Full<Bytes>>;

/// An endpoint of `stock`; ends when dropped.
pub(crate) struct Endpoint {
    task: AbortHandle,
}

impl Drop for Endpoint {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A registry in memory that knows `stock`.
#[derive(Clone)]
pub(crate) struct Registry(pub(crate) InMemoryRegistry);

impl Default for Registry {
    fn default() -> Self {
        // With the time of day, so that what is saved of it is not too old.
        Self(InMemoryRegistry::with_clock(Arc::new(TokioClock::new())))
    }
}

impl Registry {
    /// One more endpoint of `stock`, answering by `handler`.
    pub(crate) async fn endpoint<F, A>(&self, language: Language, handler: F) -> Endpoint
    where
        F: Fn(Request<Incoming>) -> A + Clone + Send + Sync + 'static,
        A: Future<Output = Answer> + Send + 'static,
    {
        self.endpoint_as(|instance| instance.language = Some(language), handler).await
    }

    /// The same, registered as `change` makes it.
    pub(crate) async fn endpoint_as<F, A>(
        &self,
        change: impl FnOnce(&mut Instance),
        handler: F,
    ) -> Endpoint
    where
        F: Fn(Request<Incoming>) -> A + Clone + Send + Sync + 'static,
        A: Future<Output = Answer> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let task = tokio::spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.expect("accepted");
                stream.set_nodelay(true).expect("settable");
                let handler = handler.clone();
                connections.spawn(async move {
                    let service = hyper::service::service_fn(move |request| {
                        let answer = handler(request);
                        async move { Ok::<_, Infallible>(answer.await) }
                    });
                    let http = hyper::server::conn::http1::Builder::new();
                    // The caller ends it when it likes.
                    let _ = http.serve_connection(TokioIo::new(stream), service).await;
                });
            }
        });
        self.put(address, change);
        Endpoint { task: task.abort_handle() }
    }

    /// Registers whatever listens there.
    pub(crate) fn put(&self, address: std::net::SocketAddr, change: impl FnOnce(&mut Instance)) {
        let id = InstanceId::new(&format!("stock-{address}")).expect("an id");
        let mut instance = Instance::new(id, name("stock"), address);
        change(&mut instance);
        self.0.put(instance);
    }

    /// One more endpoint, registered as `change` makes it, that tells who it is.
    pub(crate) async fn named(
        &self,
        name: &'static str,
        change: impl FnOnce(&mut Instance),
    ) -> Endpoint {
        self.endpoint_as(change, move |_| async move { text(200, name) }).await
    }

    /// Puts a policy under the key of `stock`.
    pub(crate) fn push(&self, text: &str) {
        self.0.set_key("outrigger/policy/stock", text.as_bytes().to_vec());
    }

    pub(crate) fn builder(&self) -> Builder {
        let registry = Arc::new(self.0.clone());
        outrigger::builder("orders")
            .registry(Arc::clone(&registry) as Arc<dyn Resolver>, None)
            .keys(registry as Arc<dyn KeyWatcher>)
    }

    /// A caller of `stock`.
    pub(crate) async fn caller(&self) -> Caller {
        Caller(self.builder().join().await.expect("valid settings"))
    }
}

pub(crate) fn name(text: &str) -> ServiceName {
    ServiceName::new(text).expect("a name")
}

/// A policy of `stock` with some lines of its own.
pub(crate) fn policy(rest: &str) -> String {
    format!("version: 1\nservice: stock\n{rest}\n")
}

pub(crate) fn text(status: u16, text: impl Into<Bytes>) -> Answer {
    let mut response = Response::new(Full::new(text.into()));
    *response.status_mut() = StatusCode::from_u16(status).expect("a status");
    response
}

/// Somebody who calls `stock`.
#[derive(Clone)]
pub(crate) struct Caller(pub(crate) Fleet);

impl Caller {
    pub(crate) async fn get(&self, path: &str) -> Result<Response<ResponseBody>, Error> {
        self.0.get(&format!("http://stock{path}")).await
    }

    /// The body's text of an answer with 200.
    pub(crate) async fn text(&self, path: &str) -> String {
        let response = self.get(path).await.expect("an answer");
        assert_eq!(response.status(), 200, "{path}");
        response.into_body().text().await.expect("a text")
    }

    /// How often each of so many calls was answered by whom.
    pub(crate) async fn spread(&self, path: &str, calls: u32) -> BTreeMap<String, u32> {
        let mut spread = BTreeMap::new();
        for _ in 0..calls {
            *spread.entry(self.text(path).await).or_default() += 1;
        }
        spread
    }

    pub(crate) async fn send(
        &self,
        method: &str,
        path: &str,
        headers: &[(&'static str, &'static str)],
    ) -> Result<Response<ResponseBody>, Error> {
        let mut request = Request::builder().method(method).uri(format!("http://stock{path}"));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.0.send(request.body(Body::empty()).expect("a request")).await
    }

    pub(crate) fn view(&self) -> PolicyView {
        let services = self.0.services();
        services.into_iter().next().expect("stock was called").policy
    }

    /// Waits until the view is as wanted; a second is what a change may take.
    pub(crate) async fn sees(&self, wanted: impl Fn(&PolicyView) -> bool) -> PolicyView {
        let seen = async {
            loop {
                let view = self.view();
                if wanted(&view) {
                    return view;
                }
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        match tokio::time::timeout(Duration::from_secs(10), seen).await {
            Ok(view) => view,
            Err(_) => panic!("still {:?}", self.view()),
        }
    }

    /// Waits until this text is in force.
    pub(crate) async fn obeys(&self, text: &str) -> PolicyView {
        let version = outrigger_policy::version_of(text).to_string();
        self.sees(|view| view.version == version).await
    }
}

/// The header's value, for asserts.
pub(crate) fn header<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}
