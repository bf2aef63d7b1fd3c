//! Who runs a connection: whoever waits for the answer, then whoever reads it, or a task.

use http::Request;
use http_body::Frame;
use http_body_util::BodyExt;
use tokio::io::AsyncReadExt;
use tower::ServiceExt;

use crate::http1::channel_body;
use crate::raw::*;

#[tokio::test]
async fn an_upload_goes_on_while_nobody_reads_the_answer() {
    let (listener, endpoint) = listen().await;
    let (tell, told) = tokio::sync::oneshot::channel();
    tokio::spawn(async move {
        let (mut tcp, _) = listener.accept().await.expect("a connection");
        read_head(&mut tcp).await;
        write(&mut tcp, "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n").await;
        let mut body = String::new();
        while !body.ends_with("0\r\n\r\n") {
            let mut byte = [0];
            tcp.read_exact(&mut byte).await.expect("a chunked body");
            body.push(byte[0].into());
        }
        write(&mut tcp, "2\r\nok\r\n0\r\n\r\n").await;
        let _ = tell.send(body);
        std::future::pending::<()>().await;
    });
    let pool = pool(|_| {});
    let (frames, body) = channel_body();
    let request = Request::post("http://stock/").body(body).expect("valid request");

    let response = send(&pool, &endpoint, request).await.expect("answered");
    // The channel holds one: without somebody who takes them, the second would wait for ever.
    for _ in 0..8 {
        frames.send(Ok(Frame::data("one".into()))).await.expect("wanted");
    }
    drop(frames);

    assert_eq!(told.await.expect("all of it came").matches("one").count(), 8);
    assert_eq!(response.into_body().collect().await.expect("whole").to_bytes(), "ok");
    until("the connection is back", || pool.stats().idle == 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_may_be_read_by_another_task_than_the_head() {
    const CHUNKS: usize = 500;
    let (listener, endpoint) = listen().await;
    tokio::spawn(async move {
        let (mut tcp, _) = listener.accept().await.expect("a connection");
        while read_head(&mut tcp).await.is_some() {
            write(&mut tcp, "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n").await;
            for _ in 0..CHUNKS {
                write(&mut tcp, "2\r\nok\r\n").await;
                tokio::task::yield_now().await;
            }
            write(&mut tcp, "0\r\n\r\n").await;
        }
    });
    let pool = pool(|_| {});
    for _ in 0..5 {
        let mut body = send(&pool, &endpoint, request("/")).await.expect("answered").into_body();
        let first = body.frame().await.expect("not the end").expect("whole");
        let first = first.into_data().expect("data");
        // One task reads a part of it, another one the rest.
        let (part, mut body) = tokio::spawn(async move {
            let frame = body.frame().await.expect("not the end").expect("whole");
            (frame.into_data().expect("data"), body)
        })
        .await
        .expect("no panic");
        let mut length = first.len() + part.len();
        while let Some(frame) = body.frame().await {
            length += frame.expect("whole").into_data().expect("data").len();
        }
        assert_eq!(length, 2 * CHUNKS);
    }
    assert_eq!(pool.stats().opened, 1);
}

#[tokio::test]
async fn an_idle_connection_that_the_endpoint_closes_is_let_go() {
    let (listener, endpoint) = listen().await;
    let (close, closed) = tokio::sync::oneshot::channel::<()>();
    tokio::spawn(async move {
        let (mut tcp, _) = listener.accept().await.expect("a connection");
        read_head(&mut tcp).await;
        write(&mut tcp, OK).await;
        let _ = closed.await;
        drop(tcp);
        std::future::pending::<()>().await;
    });
    let pool = pool(|_| {});
    get(&pool, &endpoint, "/").await.expect("answered");
    assert_eq!(pool.stats().idle, 1);

    close.send(()).expect("the endpoint waits");

    until("the sweep has looked", || pool.stats().connections == 0).await;
}

#[tokio::test]
async fn what_the_socket_has_no_room_for_is_sent_while_nobody_reads_the_answer() {
    // More than the buffers of both sides hold.
    const LENGTH: usize = 32 * 1024 * 1024;
    let (listener, endpoint) = listen().await;
    let (tell, told) = tokio::sync::oneshot::channel();
    tokio::spawn(async move {
        let (mut tcp, _) = listener.accept().await.expect("a connection");
        read_head(&mut tcp).await;
        write(&mut tcp, "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n").await;
        let mut body = vec![0; LENGTH];
        tcp.read_exact(&mut body).await.expect("all of it");
        let _ = tell.send(());
        write(&mut tcp, "ok").await;
        std::future::pending::<()>().await;
    });
    let pool = pool(|_| {});
    // In one piece: hyper has it, and lets go of the body, long before the socket does.
    let request = Request::post("http://stock/").body(full(vec![b'x'; LENGTH]));

    let response = send(&pool, &endpoint, request.expect("valid")).await.expect("answered");
    let whole = tokio::time::timeout(std::time::Duration::from_secs(10), told).await;

    whole.expect("it goes on by itself").expect("all of it came");
    assert_eq!(response.into_body().collect().await.expect("whole").to_bytes(), "ok");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_may_be_waited_for_by_another_task_and_read_on_another_runtime() {
    let (listener, endpoint) = listen().await;
    tokio::spawn(async move {
        let (mut tcp, _) = listener.accept().await.expect("a connection");
        while read_head(&mut tcp).await.is_some() {
            for part in ["HTTP/1.1 200 OK\r\n", "content-length: 4\r\n\r\n", "on", "ly"] {
                // Each part finds whoever waits asleep.
                tokio::time::sleep(std::time::Duration::from_millis(20)).await;
                write(&mut tcp, part).await;
            }
        }
    });
    let pool = pool(|_| {});
    for _ in 0..3 {
        let mut answer = Box::pin(pool.clone().oneshot(dispatch(&endpoint, request("/"))));
        // One task looks, until the request is out, and goes away with its waker.
        let looked = tokio::time::timeout(std::time::Duration::from_millis(10), &mut answer).await;
        assert!(looked.is_err(), "not yet");
        let response = tokio::spawn(answer).await.expect("no panic").expect("answered");
        let body = response.into_body();
        let read = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.expect("a runtime").block_on(body.collect()).expect("whole").to_bytes()
        });
        let read = tokio::task::spawn_blocking(move || read.join().expect("no panic"));
        assert_eq!(read.await.expect("no panic"), "only");
    }
    until("it belongs to the runtime that made it", || pool.stats().idle == 1).await;
    assert_eq!(pool.stats().opened, 1);
}
