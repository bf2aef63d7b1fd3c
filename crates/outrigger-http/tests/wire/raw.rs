//! What the tests have in common: endpoints that are written byte by byte.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Empty, Full};
use outrigger_core::{Context, Dispatch, Endpoint, Failed, Instance, Protocol};
use outrigger_http::{Pool, PoolBody, PoolConfig};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tower::ServiceExt;

pub(crate) type Out = UnsyncBoxBody<Bytes, io::Error>;

pub(crate) fn empty() -> Out {
    Empty::new().map_err(|never| match never {}).boxed_unsync()
}

pub(crate) fn full(bytes: impl Into<Bytes>) -> Out {
    Full::new(bytes.into()).map_err(|never| match never {}).boxed_unsync()
}

pub(crate) fn pool(change: impl FnOnce(&mut PoolConfig)) -> Pool<Out> {
    let mut config = PoolConfig::default();
    change(&mut config);
    config.validate().expect("tests use valid values");
    Pool::new(config)
}

pub(crate) async fn listen() -> (TcpListener, Endpoint) {
    listen_for(Protocol::Http).await
}

pub(crate) async fn listen_for(protocol: Protocol) -> (TcpListener, Endpoint) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback has a free port");
    let endpoint = endpoint(listener.local_addr().expect("bound"), protocol);
    (listener, endpoint)
}

pub(crate) fn endpoint(address: std::net::SocketAddr, protocol: Protocol) -> Endpoint {
    let id = format!("stock-{}", address.port());
    let mut instance =
        Instance::new(id.parse().expect("valid id"), "stock".parse().expect("valid name"), address);
    instance.protocol = protocol;
    Endpoint::new(Arc::new(instance), address)
}

pub(crate) fn dispatch(endpoint: &Endpoint, request: Request<Out>) -> Dispatch<Request<Out>> {
    #[expect(clippy::disallowed_methods, reason = "the pool does not look at the context")]
    let context = Context::new(Instant::now());
    Dispatch { context, endpoint: endpoint.clone(), request }
}

pub(crate) async fn send(
    pool: &Pool<Out>,
    endpoint: &Endpoint,
    request: Request<Out>,
) -> Result<Response<PoolBody>, Failed> {
    pool.clone().oneshot(dispatch(endpoint, request)).await
}

pub(crate) fn request(path: &str) -> Request<Out> {
    Request::get(format!("http://stock{path}")).body(empty()).expect("valid request")
}

/// Sends a GET and reads the answer to its end.
pub(crate) async fn get(
    pool: &Pool<Out>,
    endpoint: &Endpoint,
    path: &str,
) -> Result<String, Failed> {
    let response = send(pool, endpoint, request(path)).await?;
    let body = response.into_body().collect().await?.to_bytes();
    Ok(String::from_utf8_lossy(&body).into_owned())
}

/// Reads a head; `None` when the peer has left instead.
pub(crate) async fn read_head(tcp: &mut TcpStream) -> Option<String> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        match tcp.read(&mut byte).await {
            Ok(1) => head.push(byte[0]),
            _ => return None,
        }
    }
    Some(String::from_utf8_lossy(&head).into_owned())
}

pub(crate) async fn write(tcp: &mut TcpStream, bytes: impl AsRef<[u8]>) {
    // A peer that has left is what some tests are about.
    let _ = tcp.write_all(bytes.as_ref()).await;
}

/// Answers every request of every connection with `answer`, and counts the connections.
pub(crate) fn answer_all(listener: TcpListener, answer: &'static str) -> Arc<Count> {
    let count = Arc::new(Count::default());
    let counted = Arc::clone(&count);
    tokio::spawn(async move {
        while let Ok((mut tcp, _)) = listener.accept().await {
            counted.add();
            tokio::spawn(async move {
                while read_head(&mut tcp).await.is_some() {
                    write(&mut tcp, answer).await;
                }
            });
        }
    });
    count
}

pub(crate) const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

#[derive(Debug, Default)]
pub(crate) struct Count(std::sync::atomic::AtomicU32);

impl Count {
    pub(crate) fn add(&self) {
        self.0.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
    }

    pub(crate) fn get(&self) -> u32 {
        self.0.load(std::sync::atomic::Ordering::SeqCst)
    }
}

/// Waits until `holds`, at most for ten seconds.
pub(crate) async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    for _ in 0..10_000 {
        if holds() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    panic!("not within ten seconds: {what}");
}
