//! Connections that become something else, through a proxy made of the server and the pool.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::time::Duration;

use http::{Request, Response, StatusCode};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use outrigger_core::Endpoint;
use outrigger_http::{
    Accepted, Asked, Carried, Peer, Pool, Server, TunnelConfig, TunnelEnd, Upgrades, tunnel,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tower::service_fn;

use crate::raw::*;

/// Answers like a WebSocket server: 101, and from then on every byte plus one, until the end.
async fn switching_endpoint(answer: &'static str) -> (Endpoint, mpsc::UnboundedReceiver<String>) {
    let (listener, endpoint) = listen().await;
    let (tell, told) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Ok((mut tcp, _)) = listener.accept().await {
            let tell = tell.clone();
            tokio::spawn(async move {
                while let Some(head) = read_head(&mut tcp).await {
                    let asks = head.contains("upgrade: websocket");
                    let _ = tell.send(head);
                    write(&mut tcp, if asks { answer } else { OK }).await;
                    if asks && answer.starts_with("HTTP/1.1 101") {
                        let mut byte = [0];
                        while let Ok(1) = tcp.read(&mut byte).await {
                            write(&mut tcp, [byte[0] + 1]).await;
                        }
                        // The caller's end is here; the last word is ours.
                        write(&mut tcp, "bye").await;
                        return;
                    }
                }
            });
        }
    });
    (endpoint, told)
}

/// Forwards everything to one endpoint, with these upgrades; `CONNECT` leads to the endpoint too.
async fn proxy(
    endpoint: Endpoint,
    upgrades: Upgrades,
) -> (SocketAddr, Pool<Out>, mpsc::UnboundedReceiver<Carried>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback has a free port");
    let address = listener.local_addr().expect("bound");
    let pool = pool(|_| {});
    let (tell, told) = mpsc::unbounded_channel();
    let shared = pool.clone();
    let make = move |_: &Peer| {
        let (pool, endpoint, upgrades, tell) =
            (shared.clone(), endpoint.clone(), upgrades.clone(), tell.clone());
        service_fn(move |mut request: Request<Incoming>| {
            let (pool, endpoint, tell) = (pool.clone(), endpoint.clone(), tell.clone());
            let asked = upgrades.judge(&mut request);
            async move {
                let config = TunnelConfig::default().with_idle_timeout(Duration::from_secs(60));
                let status = |status| {
                    let mut response = Response::new(empty());
                    *response.status_mut() = status;
                    response
                };
                if let Some(accepted) = Accepted::take(&mut request) {
                    tokio::spawn(async move {
                        let near = accepted.stream().await.expect("answered with 200");
                        let far = TcpStream::connect(endpoint.address()).await.expect("listens");
                        let _ = tell.send(tunnel(near, far, config).await);
                    });
                    return Ok::<_, Infallible>(status(StatusCode::OK));
                }
                if matches!(asked, Asked::Refused) {
                    return Ok(status(StatusCode::FORBIDDEN));
                }
                let request =
                    request.map(|body| body.map_err(std::io::Error::other).boxed_unsync());
                let Ok(mut response) = send(&pool, &endpoint, request).await else {
                    return Ok(status(StatusCode::SERVICE_UNAVAILABLE));
                };
                if let Asked::Wanted(wanted) = asked
                    && let Some(tunnel) = wanted.join(&mut response, config)
                {
                    tokio::spawn(async move {
                        let _ = tell.send(tunnel.run().await);
                    });
                }
                Ok(response.map(|body| body.map_err(std::io::Error::other).boxed_unsync()))
            }
        })
    };
    tokio::spawn(Server::default().serve(listener, make, std::future::pending()));
    (address, pool, told)
}

fn websocket() -> Upgrades {
    Upgrades::new(["websocket"]).expect("a name")
}

const ASK: &str = "GET /chat HTTP/1.1\r\nhost: stock\r\nconnection: keep-alive, Upgrade\r\nupgrade: websocket\r\nsec-websocket-key: x\r\n\r\n";
const AGREES: &str = "HTTP/1.1 101 Switching Protocols\r\nconnection: Upgrade\r\nupgrade: websocket\r\nsec-websocket-accept: y\r\n\r\n";

async fn connect(address: SocketAddr) -> TcpStream {
    TcpStream::connect(address).await.expect("the proxy listens")
}

async fn read(tcp: &mut TcpStream, length: usize) -> String {
    let mut bytes = vec![0; length];
    tcp.read_exact(&mut bytes).await.expect("it comes");
    String::from_utf8(bytes).expect("a text")
}

#[tokio::test]
async fn what_is_configured_is_carried_byte_by_byte_and_each_end_by_itself() {
    let (endpoint, mut heads) = switching_endpoint(AGREES).await;
    let (address, pool, mut carried) = proxy(endpoint.clone(), websocket()).await;
    let mut tcp = connect(address).await;
    // The first bytes come with the request, as from a client that is sure of itself.
    write(&mut tcp, format!("{ASK}abc")).await;

    let head = read_head(&mut tcp).await.expect("an answer").to_ascii_lowercase();
    assert!(head.starts_with("http/1.1 101"), "{head}");
    assert!(head.contains("connection: upgrade\r\n") && head.contains("upgrade: websocket\r\n"));
    assert!(head.contains("sec-websocket-accept: y"), "{head}");
    assert_eq!(read(&mut tcp, 3).await, "bcd");
    assert_eq!((pool.stats().in_flight, pool.stats().connections), (1, 1), "it holds its place");
    write(&mut tcp, "GET / HTTP/1.1\r\n\n\n").await;
    assert_eq!(read(&mut tcp, 4).await, "HFU!", "no HTTP is looked for any more");
    read(&mut tcp, 14).await;
    tcp.shutdown().await.expect("said");
    let mut rest = String::new();
    tcp.read_to_string(&mut rest).await.expect("a text");
    assert_eq!(rest, "bye", "the caller's end left the other side open");

    let seen = heads.recv().await.expect("asked");
    assert!(seen.contains("connection: upgrade\r\n") && seen.contains("sec-websocket-key: x"));
    let carried = carried.recv().await.expect("told");
    assert_eq!((carried.forth, carried.back, carried.end), (21, 24, TunnelEnd::Closed));
    until("its place is free", || pool.stats().connections == 0).await;
}

#[tokio::test]
async fn what_is_not_configured_is_refused_and_reaches_nobody() {
    let (endpoint, mut heads) = switching_endpoint(AGREES).await;
    let (address, _, _carried) = proxy(endpoint, Upgrades::none()).await;
    let mut tcp = connect(address).await;
    write(&mut tcp, ASK).await;
    let head = read_head(&mut tcp).await.expect("an answer");
    assert!(head.starts_with("HTTP/1.1 403"), "{head}");
    // The connection is what it was.
    write(&mut tcp, "GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
    assert!(read_head(&mut tcp).await.expect("an answer").starts_with("HTTP/1.1 200"));
    let seen = heads.recv().await.expect("the second one");
    assert!(seen.starts_with("GET / "), "{seen}");
}

#[tokio::test]
async fn h2c_is_never_honoured_and_never_forwarded() {
    for upgrades in [Upgrades::none(), websocket()] {
        let (endpoint, mut heads) = switching_endpoint(AGREES).await;
        let (address, _, _carried) = proxy(endpoint, upgrades).await;
        let mut tcp = connect(address).await;
        write(
            &mut tcp,
            "GET / HTTP/1.1\r\nhost: a\r\nconnection: Upgrade, HTTP2-Settings\r\nupgrade: h2c\r\nhttp2-settings: AAMAAABkAAQCAAAAAAIAAAAA\r\n\r\n",
        )
        .await;
        assert!(read_head(&mut tcp).await.expect("an answer").starts_with("HTTP/1.1 200"));
        let seen = heads.recv().await.expect("forwarded");
        for name in ["upgrade", "http2-settings", "connection"] {
            assert!(!seen.contains(name), "{seen}");
        }
    }
    println!("promise 49: h2c passed over, what is not configured 403, what is carried to its end");
}

#[tokio::test]
async fn an_endpoint_that_does_not_agree_is_heard_like_any_other() {
    for answer in [
        "HTTP/1.1 426 Upgrade Required\r\nupgrade: other\r\nconnection: upgrade\r\ncontent-length: 2\r\n\r\nno",
        "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nno",
    ] {
        let (endpoint, _heads) = switching_endpoint(answer).await;
        let (address, pool, _carried) = proxy(endpoint, websocket()).await;
        let mut tcp = connect(address).await;
        for _ in 0..2 {
            write(&mut tcp, ASK).await;
            let head = read_head(&mut tcp).await.expect("an answer");
            assert!(head.starts_with(&answer[..12]) && !head.contains("upgrade"), "{head}");
            assert_eq!(read(&mut tcp, 2).await, "no");
        }
        assert_eq!(pool.stats().opened, 1, "the endpoint's connection is kept too");
    }
}

#[tokio::test]
async fn a_switch_to_something_else_is_no_answer() {
    for answer in [
        "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: h2c\r\n\r\n",
        "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket, x\r\n\r\n",
        "HTTP/1.1 101 Switching Protocols\r\n\r\n",
    ] {
        let (endpoint, _heads) = switching_endpoint(answer).await;
        let (address, pool, _carried) = proxy(endpoint, websocket()).await;
        let mut tcp = connect(address).await;
        write(&mut tcp, ASK).await;
        let head = read_head(&mut tcp).await.expect("an answer");
        assert!(head.starts_with("HTTP/1.1 503"), "{head}");
        until("its connection is closed", || pool.stats().connections == 0).await;
    }
}

#[tokio::test]
async fn connect_is_handed_over_and_its_bytes_are_the_services_own() {
    let (endpoint, mut heads) = switching_endpoint(AGREES).await;
    let (address, _, mut carried) = proxy(endpoint, Upgrades::none()).await;
    let mut tcp = connect(address).await;
    // The bytes of the tunnel come with the request: they are not taken for another one.
    write(&mut tcp, "CONNECT stock:80 HTTP/1.1\r\nhost: stock:80\r\n\r\nGET /in HTTP/1.1\r\n\r\n")
        .await;
    let head = read_head(&mut tcp).await.expect("an answer");
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    assert!(read_head(&mut tcp).await.expect("an answer").starts_with("HTTP/1.1 200"));
    assert_eq!(read(&mut tcp, 2).await, "ok");
    assert_eq!(heads.recv().await.expect("carried"), "GET /in HTTP/1.1\r\n\r\n", "as it was");
    drop(tcp);
    assert_eq!(carried.recv().await.expect("told").forth, 20);
}

#[tokio::test]
async fn a_stream_that_is_there_already_is_served_with_every_check() {
    let (mut near, far) = tokio::io::duplex(4_096);
    let service =
        service_fn(|_: Request<Incoming>| async { Ok::<_, Infallible>(Response::new(full("hi"))) });
    let serving = tokio::spawn(async move {
        Server::default().serve_stream(far, service, std::future::pending()).await;
    });
    near.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\nGET / HTTP/1.1\r\nhost: a\n\r\n")
        .await
        .expect("there is room");
    let mut heard = String::new();
    near.read_to_string(&mut heard).await.expect("a text");
    let answers: Vec<_> = heard.matches("HTTP/1.1 ").collect();
    assert_eq!(answers.len(), 2, "{heard}");
    assert!(heard.starts_with("HTTP/1.1 200"), "{heard}");
    assert!(heard.contains("HTTP/1.1 400") && heard.contains("x-outrigger-reason: bad_request"));
    drop(near);
    serving.await.expect("it ends");
}
