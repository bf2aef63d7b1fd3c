//! HTTP/2: sharing, limits, goodbyes.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode};
use http_body::Frame;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo};
use outrigger_core::{Endpoint, FailureKind, Protocol};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

use crate::raw::*;

/// Answers with what it was asked, once a permit is added; counts connections.
fn serve(listener: TcpListener, max_streams: u32, go: Arc<Semaphore>) -> Arc<Count> {
    let count = Arc::new(Count::default());
    let counted = Arc::clone(&count);
    tokio::spawn(async move {
        while let Ok((tcp, _)) = listener.accept().await {
            counted.add();
            let go = Arc::clone(&go);
            let service = hyper::service::service_fn(move |request: Request<Incoming>| {
                let go = Arc::clone(&go);
                async move {
                    go.acquire().await.expect("never closed").forget();
                    let line = format!(
                        "{} {} host={:?}",
                        request.method(),
                        request.uri(),
                        request.headers().get("host")
                    );
                    Ok::<_, Infallible>(Response::new(Full::<Bytes>::from(line)))
                }
            });
            let connection = hyper::server::conn::http2::Builder::new(TokioExecutor::new())
                .max_concurrent_streams(max_streams)
                .serve_connection(TokioIo::new(tcp), service);
            tokio::spawn(connection);
        }
    });
    count
}

fn always() -> Arc<Semaphore> {
    Arc::new(Semaphore::new(1_000_000))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_requests_share_one_connection() {
    let (listener, endpoint) = listen_for(Protocol::Grpc).await;
    let connections = serve(listener, 200, always());
    let pool = pool(|_| {});
    let tasks: Vec<_> = (0..100)
        .map(|n| {
            let (pool, endpoint) = (pool.clone(), endpoint.clone());
            tokio::spawn(async move { get(&pool, &endpoint, &format!("/{n}?q")).await })
        })
        .collect();
    for (n, task) in tasks.into_iter().enumerate() {
        let line = task.await.expect("no panic").expect("answered");
        assert_eq!(line, format!("GET http://stock/{n}?q host=None"));
    }
    assert_eq!(connections.get(), 1);
    let stats = pool.stats();
    assert_eq!((stats.connections, stats.idle, stats.in_flight, stats.pending), (1, 1, 0, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_endpoint_that_allows_few_streams_gets_more_connections() {
    let (listener, endpoint) = listen_for(Protocol::H2c).await;
    let go = Arc::new(Semaphore::new(0));
    let connections = serve(listener, 5, Arc::clone(&go));
    let pool = pool(|config| config.max_connections = 4);
    let tasks: Vec<_> = (0..40)
        .map(|n| {
            let (pool, endpoint) = (pool.clone(), endpoint.clone());
            tokio::spawn(async move { get(&pool, &endpoint, &format!("/{n}")).await })
        })
        .collect();

    until("all streams are in use", || {
        let stats = pool.stats();
        (stats.in_flight, stats.pending) == (20, 20)
    })
    .await;
    assert_eq!((connections.get(), pool.stats().connections), (4, 4));

    go.add_permits(40);
    for task in tasks {
        task.await.expect("no panic").expect("whoever waited is answered");
    }
    assert_eq!(connections.get(), 4);
    assert_eq!((pool.stats().in_flight, pool.stats().pending), (0, 0));
}

#[tokio::test]
async fn an_endpoint_that_does_not_speak_http2_is_a_connect_failure() {
    for answer in [OK, "HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n"] {
        let (listener, endpoint) = listen_for(Protocol::H2c).await;
        answer_all(listener, answer);
        let failed = get(&pool(|_| {}), &endpoint, "/").await.expect_err("no HTTP/2");
        assert_eq!(failed.kind, FailureKind::ConnectFailure);
    }
}

#[tokio::test]
async fn a_dropped_future_resets_its_stream_and_keeps_the_connection() {
    let (listener, endpoint) = listen_for(Protocol::H2c).await;
    let go = Arc::new(Semaphore::new(0));
    let connections = serve(listener, 100, Arc::clone(&go));
    let pool = pool(|_| {});
    let task = {
        let (pool, endpoint) = (pool.clone(), endpoint.clone());
        tokio::spawn(async move { get(&pool, &endpoint, "/").await })
    };
    until("it is in flight", || pool.stats().in_flight == 1).await;

    task.abort();
    assert!(task.await.expect_err("aborted").is_cancelled());

    assert_eq!(pool.stats().in_flight, 0);
    go.add_permits(10);
    get(&pool, &endpoint, "/").await.expect("answered");
    assert_eq!(connections.get(), 1);
}

/// What a hand-driven endpoint does with each request.
#[derive(Clone, Copy)]
enum Act {
    Answer,
    Refuse,
    Cancel,
    /// Leaves, having looked at nothing from this request on.
    Goodbye,
    /// Answers with trailers.
    Trailers,
}

fn act(listener: TcpListener, acts: &'static [Act]) -> Arc<Count> {
    let count = Arc::new(Count::default());
    let counted = Arc::clone(&count);
    let acts = Arc::new(std::sync::Mutex::new(acts.iter()));
    tokio::spawn(async move {
        while let Ok((tcp, _)) = listener.accept().await {
            counted.add();
            let acts = Arc::clone(&acts);
            tokio::spawn(async move {
                let mut connection = h2::server::handshake(tcp).await.expect("HTTP/2");
                while let Some(Ok((_, mut respond))) = connection.accept().await {
                    let act = acts.lock().expect("not poisoned").next().copied();
                    match act.unwrap_or(Act::Answer) {
                        Act::Answer => {
                            let _ = respond.send_response(Response::new(()), true);
                        }
                        Act::Refuse => respond.send_reset(h2::Reason::REFUSED_STREAM),
                        Act::Cancel => respond.send_reset(h2::Reason::CANCEL),
                        Act::Trailers => {
                            let mut body =
                                respond.send_response(Response::new(()), false).expect("open");
                            body.send_data("data".into(), false).expect("open");
                            let mut trailers = HeaderMap::new();
                            trailers.insert("grpc-status", "0".parse().expect("valid value"));
                            body.send_trailers(trailers).expect("open");
                        }
                        Act::Goodbye => {
                            connection.abrupt_shutdown(h2::Reason::NO_ERROR);
                        }
                    }
                }
            });
        }
    });
    count
}

async fn scripted(acts: &'static [Act]) -> (Endpoint, Arc<Count>) {
    let (listener, endpoint) = listen_for(Protocol::H2c).await;
    let count = act(listener, acts);
    (endpoint, count)
}

#[tokio::test]
async fn a_refused_stream_is_told_from_a_reset_one() {
    let (endpoint, connections) = scripted(&[Act::Answer, Act::Refuse, Act::Cancel]).await;
    let pool = pool(|_| {});
    get(&pool, &endpoint, "/").await.expect("answered");

    let refused = get(&pool, &endpoint, "/").await.expect_err("refused");
    assert_eq!(refused.kind, FailureKind::RefusedStream);
    let reset = get(&pool, &endpoint, "/").await.expect_err("reset");
    assert_eq!(reset.kind, FailureKind::Reset);

    get(&pool, &endpoint, "/").await.expect("the connection is as good as before");
    assert_eq!(connections.get(), 1);
}

/// A frame of HTTP/2 by hand.
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("short").to_be_bytes();
    let mut bytes = vec![length[1], length[2], length[3], kind, flags];
    bytes.extend_from_slice(&stream.to_be_bytes());
    bytes.extend_from_slice(payload);
    bytes
}

#[tokio::test]
async fn a_goodbye_before_the_stream_is_a_refusal_and_the_next_goes_elsewhere() {
    let (listener, endpoint) = listen_for(Protocol::H2c).await;
    let connections = Arc::new(Count::default());
    let counted = Arc::clone(&connections);
    tokio::spawn(async move {
        use tokio::io::AsyncReadExt;
        // The first connection: settings, and GOAWAY with last stream 0 once a request has come.
        let (mut tcp, _) = listener.accept().await.expect("a connection");
        counted.add();
        write(&mut tcp, frame(4, 0, 0, &[])).await;
        let mut seen = Vec::new();
        let mut bytes = [0; 1024];
        // HEADERS is type 1 on stream 1.
        while !seen.windows(5).any(|w| w[0] == 1 && w[1..] != [0; 4] && w[4] == 0) {
            let read = tcp.read(&mut bytes).await.expect("open");
            seen.extend_from_slice(&bytes[..read]);
            if seen.len() > 24 + 60 {
                break;
            }
        }
        write(&mut tcp, frame(7, 0, 0, &[0, 0, 0, 0, 0, 0, 0, 0])).await;
        let open = tcp;
        let acts: &[Act] = &[];
        let rest = act(listener, acts);
        until("others come", || rest.get() > 0).await;
        counted.add();
        drop(open);
    });
    let pool = pool(|_| {});

    let failed = get(&pool, &endpoint, "/").await.expect_err("it was not looked at");
    assert_eq!(failed.kind, FailureKind::RefusedStream);

    get(&pool, &endpoint, "/").await.expect("over another connection");
    until("two connections", || connections.get() == 2).await;
}

#[tokio::test]
async fn a_goodbye_in_between_costs_no_request() {
    let (endpoint, connections) = scripted(&[Act::Answer, Act::Goodbye]).await;
    let pool = pool(|_| {});
    get(&pool, &endpoint, "/").await.expect("answered");
    // Told that the endpoint is leaving: how is the endpoint's matter, the next one is ours.
    let _ = get(&pool, &endpoint, "/").await;
    for _ in 0..5 {
        get(&pool, &endpoint, "/").await.expect("over another connection");
    }
    assert_eq!(connections.get(), 2);
}

#[tokio::test]
async fn trailers_pass() {
    let (endpoint, _) = scripted(&[Act::Trailers]).await;
    let response = send(&pool(|_| {}), &endpoint, request("/")).await.expect("answered");
    let body = response.into_body().collect().await.expect("whole");
    assert_eq!(body.trailers().and_then(|t| t.get("grpc-status")).expect("a trailer"), "0");
    assert_eq!(body.to_bytes(), "data");
}

#[tokio::test]
async fn a_request_body_that_fails_is_not_the_endpoints_fault() {
    let (listener, endpoint) = listen_for(Protocol::H2c).await;
    serve(listener, 100, Arc::new(Semaphore::new(0)));
    let pool = pool(|_| {});
    let mut frames = vec![
        Err(std::io::Error::other("the caller's disk is gone")),
        Ok(Frame::data(Bytes::from("one"))),
    ];
    let stream = Stream(move || frames.pop());
    let request = Request::post("http://stock/")
        .body(StreamBody::new(stream).boxed_unsync())
        .expect("valid request");

    let failed = send(&pool, &endpoint, request).await.expect_err("there is no answer");

    assert_eq!(failed.kind, FailureKind::RequestBody);
    assert_eq!(pool.stats().in_flight, 0);
}

struct Stream<F>(F);

impl<F: FnMut() -> Option<T> + Unpin, T> futures_core::Stream for Stream<F> {
    type Item = T;

    fn poll_next(
        mut self: std::pin::Pin<&mut Self>,
        _cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<T>> {
        std::task::Poll::Ready((self.0)())
    }
}

#[tokio::test]
async fn connection_headers_of_http_1_do_not_cross() {
    let (listener, endpoint) = listen_for(Protocol::H2c).await;
    let service = hyper::service::service_fn(|request: Request<Incoming>| async move {
        let mut names: Vec<_> = request.headers().keys().map(ToString::to_string).collect();
        names.sort_unstable();
        let line = format!("{} {}", request.uri(), names.join(","));
        Ok::<_, Infallible>(Response::new(Full::<Bytes>::from(line)))
    });
    tokio::spawn(async move {
        let (tcp, _) = listener.accept().await.expect("a connection");
        hyper::server::conn::http2::Builder::new(TokioExecutor::new())
            .serve_connection(TokioIo::new(tcp), service)
            .await
    });
    let request = Request::get("/path")
        .header("host", "orders.example:81")
        .header("connection", "keep-alive, x-hop")
        .header("keep-alive", "timeout=5")
        .header("x-hop", "1")
        .header("te", "gzip, trailers")
        .header("upgrade", "h2c")
        .header("x-end", "1")
        .body(empty())
        .expect("valid request");

    let response = send(&pool(|_| {}), &endpoint, request).await.expect("answered");

    assert_eq!(response.status(), StatusCode::OK);
    let line = response.into_body().collect().await.expect("whole").to_bytes();
    assert_eq!(line, "http://orders.example:81/path te,x-end");
}

#[tokio::test(start_paused = true)]
async fn an_unused_connection_is_closed_after_its_time() {
    let (endpoint, _) = scripted(&[]).await;
    let pool = pool(|config| config.idle_timeout = Duration::from_secs(10));
    get(&pool, &endpoint, "/").await.expect("answered");
    tokio::time::sleep(Duration::from_secs(8)).await;
    assert_eq!(pool.stats().connections, 1, "not before its time");
    tokio::time::sleep(Duration::from_secs(4)).await;
    assert_eq!(pool.stats().connections, 0);
}
