//! Bytes over sockets: as an endpoint's answer to the pool, and as a client of the server. Loopback
//! only; what may not hang is bounded.

use std::convert::Infallible;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Once};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Empty, Full, Limited};
use outrigger_core::{Context, Dispatch, Endpoint, Instance};
use outrigger_http::{Pool, PoolConfig, Server, ServerConfig};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use tower::{ServiceExt as _, service_fn};

/// Longest that anything may take here.
const PATIENCE: Duration = Duration::from_secs(10);

/// A runtime for one input.
pub(crate) fn runtime(paused: bool) -> tokio::runtime::Runtime {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    builder.enable_all().start_paused(paused);
    builder.build().expect("a runtime")
}

/// Counts panics, since those in tasks are caught by the runtime.
pub(crate) struct Panics(usize);

static PANICS: AtomicUsize = AtomicUsize::new(0);

impl Panics {
    pub(crate) fn now() -> Self {
        static HOOK: Once = Once::new();
        HOOK.call_once(|| {
            let before = std::panic::take_hook();
            std::panic::set_hook(Box::new(move |info| {
                PANICS.fetch_add(1, Ordering::SeqCst);
                before(info);
            }));
        });
        Self(PANICS.load(Ordering::SeqCst))
    }

    pub(crate) fn hold(self) {
        assert_eq!(PANICS.load(Ordering::SeqCst), self.0, "a task panicked");
    }
}

/// An endpoint that answers with this, whatever it is asked, twice: each request ends in its time,
/// and the pool counts nothing as in flight afterwards. The first byte chooses the method.
pub fn pool(input: &[u8]) {
    let Some((&mode, answer)) = input.split_first() else { return };
    let answer: Arc<[u8]> = answer.into();
    let panics = Panics::now();
    runtime(false).block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let answer = Arc::clone(&answer);
                tokio::spawn(async move {
                    let mut question = [0; 4096];
                    let _asked = stream.read(&mut question).await;
                    let _answered = stream.write_all(&answer).await;
                    let _ended = stream.shutdown().await;
                });
            }
        });
        let service: outrigger_core::ServiceName = "stock".parse().expect("a valid name");
        let instance = Instance::new("stock-1".parse().expect("a valid id"), service, address);
        let instance = Arc::new(instance);
        let pool = Pool::<Empty<Bytes>>::new(PoolConfig::default());
        for _ in 0..2 {
            let method = ["GET", "HEAD", "POST", "OPTIONS"][usize::from(mode % 4)];
            let request = Request::builder().method(method).uri("http://stock/a?b");
            let dispatch = Dispatch {
                context: Context::new(tokio::time::Instant::now().into_std()),
                endpoint: Endpoint::new(Arc::clone(&instance), address),
                request: request.body(Empty::new()).expect("a valid request"),
            };
            let asking = async {
                let response = pool.clone().oneshot(dispatch).await.ok()?;
                assert!(!response.status().is_informational(), "{}", response.status());
                assert!(!response.headers().contains_key("connection"), "{:?}", response.headers());
                Limited::new(response.into_body(), 1 << 20).collect().await.ok()
            };
            let _answer = timeout(PATIENCE, asking).await.expect("a request ends in its time");
        }
        assert_eq!(pool.stats().in_flight, 0, "{:?}", pool.stats());
    });
    panics.hold();
}

/// A client that sends this and says that it is done: the server answers or closes in its time, shows
/// the service only whole heads, and then serves the next one as if nothing had been.
pub fn server(input: &[u8]) {
    let panics = Panics::now();
    runtime(false).block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let echo = service_fn(|request: Request<_>| async move {
            let body: hyper::body::Incoming = request.into_body();
            let read = Limited::new(body, 1 << 20).collect().await;
            let answer = if read.is_ok() { "whole" } else { "broken" };
            Ok::<_, Infallible>(Response::new(Full::<Bytes>::from(answer)))
        });
        let server = Server::new(ServerConfig::default());
        let serving = tokio::spawn(server.serve(listener, move |_| echo, std::future::pending()));
        let talk = async {
            let mut stream = TcpStream::connect(address).await.expect("it accepts");
            let (mut from, mut to) = stream.split();
            let say = async {
                let _said = to.write_all(input).await;
                let _done = to.shutdown().await;
            };
            let mut heard = Vec::new();
            let hear = async {
                let mut part = [0; 4096];
                while let Ok(count) = from.read(&mut part).await {
                    if count == 0 || heard.len() > 1 << 20 {
                        break;
                    }
                    heard.extend_from_slice(&part[..count]);
                }
            };
            tokio::join!(say, hear);
            heard
        };
        let heard =
            timeout(PATIENCE, talk).await.expect("a connection that said all ends in its time");
        let http1 = heard.starts_with(b"HTTP/1.");
        // An HTTP/2 answer begins with a SETTINGS frame, nine bytes of head of type 4.
        let http2 = heard.len() >= 9 && heard[3] == 4;
        assert!(heard.is_empty() || http1 || http2, "{:?}", heard.get(..64));
        let next = async {
            let mut stream = TcpStream::connect(address).await.expect("it still accepts");
            stream
                .write_all(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
                .await
                .expect("sent");
            let mut answer = Vec::new();
            let _ended = stream.read_to_end(&mut answer).await;
            answer
        };
        let answer = timeout(PATIENCE, next).await.expect("the next one is served");
        assert!(answer.starts_with(b"HTTP/1.1 200 OK\r\n") && answer.ends_with(b"whole"));
        serving.abort();
    });
    panics.hold();
}
