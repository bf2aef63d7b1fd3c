//! HTTP/1.1: keeping, giving back, failing.

use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request, StatusCode};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use outrigger_core::{FailureKind, Protocol};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::mpsc;
use tower::Service;

use crate::raw::*;

pub(crate) fn channel_body() -> (mpsc::Sender<Result<Frame<Bytes>, std::io::Error>>, Out) {
    let (send, mut receive) = mpsc::channel(1);
    let stream = futures_core_stream(move |cx| receive.poll_recv(cx));
    (send, StreamBody::new(stream).boxed_unsync())
}

struct PollFn<F>(F);

impl<F: FnMut(&mut Context<'_>) -> Poll<Option<T>> + Unpin, T> futures_core::Stream for PollFn<F> {
    type Item = T;

    fn poll_next(mut self: std::pin::Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<T>> {
        (self.0)(cx)
    }
}

fn futures_core_stream<F, T>(poll: F) -> PollFn<F>
where
    F: FnMut(&mut Context<'_>) -> Poll<Option<T>> + Unpin,
{
    PollFn(poll)
}

#[tokio::test]
async fn the_second_request_goes_over_the_first_ones_connection() {
    let (listener, endpoint) = listen().await;
    let connections = answer_all(listener, OK);
    let pool = pool(|_| {});

    for _ in 0..10 {
        assert_eq!(get(&pool, &endpoint, "/").await.expect("answered"), "ok");
    }

    assert_eq!(connections.get(), 1);
    let stats = pool.stats();
    assert_eq!((stats.opened, stats.reused, stats.idle, stats.in_flight), (1, 9, 1, 0));
}

#[tokio::test]
async fn an_answer_without_a_body_gives_its_connection_back_at_its_head() {
    let (listener, endpoint) = listen().await;
    answer_all(listener, "HTTP/1.1 204 No Content\r\n\r\n");
    let pool = pool(|_| {});

    let response = send(&pool, &endpoint, request("/")).await.expect("answered");

    assert_eq!(response.status(), StatusCode::NO_CONTENT);
    assert_eq!(pool.stats().idle, 1, "the body is still held, and the connection is free");
}

#[tokio::test]
async fn a_closed_port_is_a_connect_failure() {
    let (listener, endpoint) = listen().await;
    drop(listener);
    let pool = pool(|_| {});

    let failed = get(&pool, &endpoint, "/").await.expect_err("nobody listens");

    assert_eq!(failed.kind, FailureKind::ConnectFailure);
    assert_eq!(failed.endpoint, Some(endpoint.address()));
    assert!(failed.cause.is_some(), "it says why");
    assert_eq!(pool.stats().connections, 0);
}

#[tokio::test(start_paused = true)]
async fn an_endpoint_that_accepts_and_says_nothing_is_a_connect_failure_in_time() {
    let (_listener, endpoint) = listen_for(Protocol::H2c).await;
    let pool = pool(|config| config.connect_timeout = Duration::from_millis(300));

    let failed = get(&pool, &endpoint, "/").await.expect_err("no preface ever comes");

    assert_eq!(failed.kind, FailureKind::ConnectFailure);
    let cause = failed.cause.expect("it says why").to_string();
    assert_eq!(cause, "no connection within 300ms");
    assert_eq!(pool.stats().connections, 0);
}

#[tokio::test]
async fn a_connection_that_ends_before_the_answer_is_a_reset_and_not_sent_again() {
    let (listener, endpoint) = listen().await;
    let requests = std::sync::Arc::new(Count::default());
    let counted = std::sync::Arc::clone(&requests);
    tokio::spawn(async move {
        // First an honest answer, so that the second request goes over a kept connection.
        while let Ok((mut tcp, _)) = listener.accept().await {
            let mut first = true;
            while read_head(&mut tcp).await.is_some() {
                counted.add();
                if !std::mem::take(&mut first) {
                    break;
                }
                write(&mut tcp, OK).await;
            }
        }
    });
    let pool = pool(|_| {});
    get(&pool, &endpoint, "/").await.expect("the first is answered");

    let failed = get(&pool, &endpoint, "/").await.expect_err("the second is not");

    assert_eq!(failed.kind, FailureKind::Reset);
    assert_eq!(requests.get(), 2, "what may have been seen is not sent again");
    assert_eq!(pool.stats().connections, 0);
}

#[tokio::test]
async fn an_answer_that_breaks_off_is_a_reset_of_the_body() {
    let (listener, endpoint) = listen().await;
    tokio::spawn(async move {
        let (mut tcp, _) = listener.accept().await.expect("a connection");
        read_head(&mut tcp).await;
        write(&mut tcp, "HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf").await;
    });
    let pool = pool(|_| {});

    let response = send(&pool, &endpoint, request("/")).await.expect("the head is there");
    let failed = response.into_body().collect().await.expect_err("the body is not");

    assert_eq!(failed.kind, FailureKind::Reset);
    assert_eq!(pool.stats().connections, 0);
}

#[tokio::test]
async fn a_kept_connection_that_was_closed_meanwhile_costs_no_request() {
    for protocol in [Protocol::Http, Protocol::H2c] {
        closed_behind_the_runtimes_back(protocol).await;
    }
}

/// The endpoint closes the kept connection while this thread is busy: the runtime cannot have been
/// told when the next request is sent.
async fn closed_behind_the_runtimes_back(protocol: Protocol) {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
    let endpoint = endpoint(listener.local_addr().expect("bound"), protocol);
    let (close, closes) = std::sync::mpsc::channel::<()>();
    let (tell, closed) = std::sync::mpsc::channel();
    let server = std::thread::spawn(move || {
        let mut heads = 0;
        for stream in listener.incoming().take(2) {
            let mut stream = stream.expect("accepted");
            answer_one(&mut stream, protocol);
            heads += 1;
            if heads == 1 {
                closes.recv().expect("told to close");
                drop(stream);
                tell.send(()).expect("waited for");
            }
        }
    });
    let pool = pool(|_| {});
    let post = || Request::post("http://stock/").body(full("x")).expect("valid request");
    let response = send(&pool, &endpoint, post()).await.expect("answered");
    response.into_body().collect().await.expect("the body is there");
    tokio::time::pause();
    tokio::time::sleep(Duration::from_secs(2)).await;
    tokio::time::resume();
    assert_eq!(pool.stats().idle, 1);

    close.send(()).expect("the endpoint waits");
    closed.recv().expect("closed");
    let second = send(&pool, &endpoint, post()).await;

    match protocol {
        Protocol::Http => drop(second.expect("sent again, over a fresh connection")),
        // hyper does not give the request back; but it is known that nobody has seen it.
        _ => {
            let failed = second.expect_err("the connection was closed");
            assert_eq!(failed.kind, FailureKind::ConnectFailure);
            drop(send(&pool, &endpoint, post()).await.expect("the next finds a fresh one"));
        }
    }
    server.join().expect("two connections were served");
}

fn answer_one(stream: &mut std::net::TcpStream, protocol: Protocol) {
    use std::io::{Read, Write};
    let mut bytes = [0; 4096];
    if protocol == Protocol::Http {
        let mut seen = Vec::new();
        while !seen.ends_with(b"\r\n\r\nx") {
            let read = stream.read(&mut bytes).expect("a request");
            assert!(read > 0, "a whole request");
            seen.extend_from_slice(&bytes[..read]);
        }
        stream.write_all(OK.as_bytes()).expect("written");
        return;
    }
    // SETTINGS, and once the request's DATA with END_STREAM is there, HEADERS `:status 204`.
    stream.write_all(&[0, 0, 0, 4, 0, 0, 0, 0, 0]).expect("written");
    let mut seen = Vec::new();
    while !seen.ends_with(&[0, 0, 1, 0, 1, 0, 0, 0, 1, b'x']) {
        let read = stream.read(&mut bytes).expect("a request");
        assert!(read > 0, "a whole request");
        seen.extend_from_slice(&bytes[..read]);
    }
    stream.write_all(&[0, 0, 1, 1, 5, 0, 0, 0, 1, 0x89]).expect("written");
}

#[tokio::test]
async fn connection_close_is_obeyed_and_not_passed_on() {
    let (listener, endpoint) = listen().await;
    let connections = answer_all(
        listener,
        "HTTP/1.1 200 OK\r\nconnection: close, x-secret\r\nx-secret: 1\r\nkeep-alive: timeout=5\r\ncontent-length: 2\r\n\r\nok",
    );
    let pool = pool(|_| {});

    for _ in 0..3 {
        let response = send(&pool, &endpoint, request("/")).await.expect("answered");
        for name in ["connection", "x-secret", "keep-alive"] {
            assert!(!response.headers().contains_key(name), "{name} belongs to the connection");
        }
        response.into_body().collect().await.expect("the body is there");
    }

    assert_eq!(connections.get(), 3);
}

#[tokio::test]
async fn the_head_on_the_wire_is_clean() {
    let (listener, endpoint) = listen().await;
    let (tell, told) = tokio::sync::oneshot::channel();
    tokio::spawn(async move {
        let (mut tcp, _) = listener.accept().await.expect("a connection");
        let head = read_head(&mut tcp).await.expect("a head");
        write(&mut tcp, OK).await;
        let _ = tell.send(head);
    });
    let request = Request::post("http://stock/a/b?c=d")
        .header("connection", "x-hop, content-length, host")
        .header("x-hop", "1")
        .header("keep-alive", "timeout=5")
        .header("transfer-encoding", "chunked")
        .header("upgrade", "websocket")
        .header("te", "gzip")
        .header("content-length", "77")
        .header("x-end", "1")
        .body(full("four"))
        .expect("valid request");

    send(&pool(|_| {}), &endpoint, request).await.expect("answered");

    let head = told.await.expect("the endpoint saw it").to_ascii_lowercase();
    let (line, headers) = head.split_once("\r\n").expect("a request line");
    assert_eq!(line, "post /a/b?c=d http/1.1");
    let mut headers: Vec<_> = headers.trim().split("\r\n").collect();
    headers.sort_unstable();
    assert_eq!(headers, ["content-length: 4", "host: stock", "x-end: 1"]);
}

#[tokio::test]
async fn a_length_that_the_body_does_not_have_is_never_claimed() {
    let (listener, endpoint) = listen().await;
    let (tell, mut told) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Ok((mut tcp, _)) = listener.accept().await {
            let tell = tell.clone();
            tokio::spawn(async move {
                while let Some(head) = read_head(&mut tcp).await {
                    let _ = tell.send(head);
                    write(&mut tcp, OK).await;
                }
            });
        }
    });
    let pool = pool(|_| {});
    for lengths in [&["10"][..], &["10", "0"], &["+0"], &["0, 10"]] {
        let mut request = Request::get("http://stock/").body(empty()).expect("valid request");
        for length in lengths {
            request.headers_mut().append("content-length", length.parse().expect("valid value"));
        }
        send(&pool, &endpoint, request).await.expect("answered");
        let head = told.recv().await.expect("the endpoint saw it");
        assert!(!head.contains("content-length"), "{lengths:?} became {head}");
    }
}

#[tokio::test]
async fn trailers_and_chunks_pass_both_ways() {
    let (listener, endpoint) = listen().await;
    let (tell, told) = tokio::sync::oneshot::channel();
    tokio::spawn(async move {
        let (mut tcp, _) = listener.accept().await.expect("a connection");
        read_head(&mut tcp).await;
        let mut body = String::new();
        while !body.ends_with("\r\n\r\n") {
            let mut byte = [0];
            tcp.read_exact(&mut byte).await.expect("a chunked body");
            body.push(byte[0].into());
        }
        write(
            &mut tcp,
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ntrailer: x-sum\r\n\r\n2\r\nok\r\n0\r\nx-sum: 7\r\n\r\n",
        )
        .await;
        let _ = tell.send(body);
        std::future::pending::<()>().await;
    });
    let pool = pool(|_| {});
    let (frames, body) = channel_body();
    let request = Request::post("http://stock/")
        .header("te", "trailers")
        .header("trailer", "x-in")
        .body(body)
        .expect("valid request");
    let sending = tokio::spawn(async move {
        frames.send(Ok(Frame::data("one".into()))).await.expect("wanted");
        let mut trailers = HeaderMap::new();
        trailers.insert("x-in", "5".parse().expect("valid value"));
        frames.send(Ok(Frame::trailers(trailers))).await.expect("wanted");
    });

    let response = send(&pool, &endpoint, request).await.expect("answered");
    let collected = response.into_body().collect().await.expect("the body is there");

    sending.await.expect("all was sent");
    assert_eq!(collected.trailers().and_then(|t| t.get("x-sum")).expect("a trailer"), "7");
    assert_eq!(collected.to_bytes(), "ok");
    let seen = told.await.expect("the endpoint saw it");
    assert_eq!(seen, "3\r\none\r\n0\r\nx-in: 5\r\n\r\n");
    until("the connection is back", || pool.stats().idle == 1).await;
}

#[tokio::test]
async fn an_early_answer_reaches_a_caller_who_is_still_sending() {
    let (listener, endpoint) = listen().await;
    tokio::spawn(async move {
        let (mut tcp, _) = listener.accept().await.expect("a connection");
        read_head(&mut tcp).await;
        write(&mut tcp, "HTTP/1.1 413 Too Large\r\ncontent-length: 2\r\n\r\nno").await;
        std::future::pending::<()>().await;
    });
    let pool = pool(|_| {});
    let (frames, body) = channel_body();
    frames.send(Ok(Frame::data("one".into()))).await.expect("room for one");
    let request = Request::post("http://stock/").body(body).expect("valid request");

    let response = send(&pool, &endpoint, request).await.expect("answered");

    assert_eq!(response.status(), StatusCode::PAYLOAD_TOO_LARGE);
    assert_eq!(response.into_body().collect().await.expect("whole").to_bytes(), "no");
    assert_eq!(pool.stats().idle, 0, "half a request is still on its way over this connection");
    drop(frames);
    until("the connection is back once the request has ended", || pool.stats().idle == 1).await;
}

#[tokio::test]
async fn a_body_waits_for_100_continue() {
    let (listener, endpoint) = listen().await;
    let server = tokio::spawn(async move {
        let (mut tcp, _) = listener.accept().await.expect("a connection");
        let head = read_head(&mut tcp).await.expect("a head");
        assert!(head.contains("expect: 100-continue"));
        let mut byte = [0];
        let early = tokio::time::timeout(Duration::from_millis(50), tcp.read(&mut byte)).await;
        assert!(early.is_err(), "the body is held back");
        write(&mut tcp, "HTTP/1.1 100 Continue\r\n\r\n").await;
        let mut body = [0; 4];
        tcp.read_exact(&mut body).await.expect("now it comes");
        write(&mut tcp, OK).await;
        body
    });
    let request = Request::put("http://stock/")
        .header("expect", "100-continue")
        .body(full("four"))
        .expect("valid request");

    let response = send(&pool(|_| {}), &endpoint, request).await.expect("answered");

    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(&server.await.expect("the endpoint's checks hold"), b"four");
}

#[tokio::test(start_paused = true)]
async fn a_body_does_not_wait_for_100_continue_for_ever() {
    let (listener, endpoint) = listen().await;
    tokio::spawn(async move {
        let (mut tcp, _) = listener.accept().await.expect("a connection");
        read_head(&mut tcp).await;
        let mut body = [0; 4];
        tcp.read_exact(&mut body).await.expect("it comes unasked");
        write(&mut tcp, OK).await;
    });
    let request = Request::put("http://stock/")
        .header("expect", "100-continue")
        .body(full("four"))
        .expect("valid request");

    let response = send(&pool(|_| {}), &endpoint, request).await.expect("answered");

    assert_eq!(response.status(), StatusCode::OK);
}

#[tokio::test]
async fn a_request_body_that_fails_is_not_the_endpoints_fault() {
    let (listener, endpoint) = listen().await;
    tokio::spawn(async move {
        let (mut tcp, _) = listener.accept().await.expect("a connection");
        let mut all = Vec::new();
        let _ = tcp.read_to_end(&mut all).await;
    });
    let pool = pool(|_| {});
    let (frames, body) = channel_body();
    let request = Request::post("http://stock/").body(body).expect("valid request");
    tokio::spawn(async move {
        let _ = frames.send(Ok(Frame::data("one".into()))).await;
        let _ = frames.send(Err(std::io::Error::other("the caller's disk is gone"))).await;
    });

    let failed = send(&pool, &endpoint, request).await.expect_err("there is no answer");

    assert_eq!(failed.kind, FailureKind::RequestBody);
    until("nothing is left", || pool.stats().connections == 0).await;
}

#[tokio::test]
async fn a_future_that_is_dropped_before_it_is_polled_leaves_nothing_behind() {
    let (listener, endpoint) = listen().await;
    answer_all(listener, OK);
    let mut pool = pool(|_| {});
    get(&pool, &endpoint, "/").await.expect("answered");

    drop(pool.call(dispatch(&endpoint, request("/"))));

    assert_eq!(pool.stats().in_flight, 0);
    assert_eq!(get(&pool, &endpoint, "/").await.expect("answered"), "ok");
}

#[tokio::test]
async fn a_future_that_is_dropped_in_flight_closes_its_connection() {
    let (listener, endpoint) = listen().await;
    let (tell, told) = tokio::sync::oneshot::channel();
    tokio::spawn(async move {
        let (mut tcp, _) = listener.accept().await.expect("a connection");
        read_head(&mut tcp).await;
        let mut rest = Vec::new();
        let end = tcp.read_to_end(&mut rest).await;
        let _ = tell.send((end.is_ok(), rest));
    });
    let mut pool = pool(|_| {});
    {
        let mut future = pin!(pool.call(dispatch(&endpoint, request("/"))));
        let mut context = Context::from_waker(std::task::Waker::noop());
        for _ in 0..1_000 {
            assert!(future.as_mut().poll(&mut context).is_pending(), "nobody answers");
            tokio::task::yield_now().await;
            if pool.stats().in_flight == 1 {
                break;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        assert_eq!(pool.stats().in_flight, 1);
        // Handed over, but only the next poll sends.
        assert!(future.as_mut().poll(&mut context).is_pending());
        tokio::task::yield_now().await;
    }
    let stats = pool.stats();
    assert_eq!((stats.in_flight, stats.connections), (0, 0), "counts are right at once");
    let (ended, rest) = told.await.expect("the endpoint sees the end");
    assert!(ended && rest.is_empty());
}

#[tokio::test]
async fn a_long_body_that_is_dropped_before_its_end_closes_its_connection() {
    let (listener, endpoint) = listen().await;
    let connections = answer_all(listener, "HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\nsome");
    let pool = pool(|_| {});

    for asked in 1..=3 {
        let response = send(&pool, &endpoint, request("/")).await.expect("a head");
        assert_eq!(pool.stats().in_flight, 1);
        drop(response);
        let stats = pool.stats();
        assert_eq!((stats.in_flight, stats.connections), (0, 0), "counts are right at once");
        assert_eq!(connections.get(), asked, "what is half read is not used again");
    }
}

#[tokio::test]
async fn a_short_body_that_nobody_reads_costs_no_connection() {
    for answer in [
        "HTTP/1.1 503 No\r\ncontent-length: 7\r\n\r\ntrouble",
        "HTTP/1.1 503 No\r\ntransfer-encoding: chunked\r\n\r\n7\r\ntrouble\r\n3\r\nxyz\r\n0\r\n\r\n",
    ] {
        let (listener, endpoint) = listen().await;
        let connections = answer_all(listener, answer);
        let pool = pool(|_| {});
        for _ in 0..10 {
            drop(send(&pool, &endpoint, request("/")).await.expect("a head"));
            until("it is back", || pool.stats().idle == 1).await;
        }
        assert_eq!(connections.get(), 1, "{answer}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_short_body_that_does_not_come_is_not_waited_for() {
    let (listener, endpoint) = listen().await;
    answer_all(listener, "HTTP/1.1 503 No\r\ncontent-length: 7\r\n\r\ntro");
    let pool = pool(|_| {});
    drop(send(&pool, &endpoint, request("/")).await.expect("a head"));
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(pool.stats().connections, 0);
}

#[tokio::test]
async fn an_endless_answer_is_held_back_by_a_slow_reader() {
    let (listener, endpoint) = listen().await;
    let sent = std::sync::Arc::new(std::sync::atomic::AtomicU64::new(0));
    let counted = std::sync::Arc::clone(&sent);
    tokio::spawn(async move {
        let (mut tcp, _) = listener.accept().await.expect("a connection");
        socket2::SockRef::from(&tcp).set_send_buffer_size(16 * 1024).expect("settable");
        read_head(&mut tcp).await;
        write(&mut tcp, "HTTP/1.1 200 OK\r\ncontent-length: 1073741824\r\n\r\n").await;
        let chunk = [0; 16 * 1024];
        while tcp.write_all(&chunk).await.is_ok() {
            counted.fetch_add(chunk.len() as u64, std::sync::atomic::Ordering::SeqCst);
        }
    });
    let pool = pool(|_| {});

    let response = send(&pool, &endpoint, request("/")).await.expect("a head");
    let mut before = u64::MAX;
    // Until nothing moves for 50 ms.
    loop {
        tokio::time::sleep(Duration::from_millis(50)).await;
        let now = sent.load(std::sync::atomic::Ordering::SeqCst);
        if now == before {
            break;
        }
        before = now;
    }

    assert!(before < 32 * 1_048_576, "the kernel's buffers are full, ours are bounded: {before}");
    drop(response);
}

#[tokio::test]
async fn connect_is_refused_before_anything_is_opened() {
    let (listener, endpoint) = listen().await;
    let connections = answer_all(listener, OK);
    let request = Request::connect("stock:80").body(empty()).expect("valid request");

    let failed = send(&pool(|_| {}), &endpoint, request).await.expect_err("not supported");

    assert_eq!(failed.kind, FailureKind::ConnectFailure);
    assert_eq!(connections.get(), 0);
}
