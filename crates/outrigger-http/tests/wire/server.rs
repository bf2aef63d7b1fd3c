//! The accept loop.

use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use outrigger_core::Protocol;
use outrigger_http::{Drained, Peer, Server, ServerConfig};
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::sync::{Notify, Semaphore};
use tokio::task::JoinHandle;
use tower::service_fn;

use crate::raw::*;

/// A server whose `/wait` answers once a permit is added, and whose `/panic` panics.
async fn serve(
    change: impl FnOnce(&mut ServerConfig),
    go: Arc<Semaphore>,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> (SocketAddr, JoinHandle<Drained>) {
    let (listener, endpoint) = listen().await;
    let mut config = ServerConfig::default();
    change(&mut config);
    config.validate().expect("tests use valid values");
    let make = move |_: &Peer| {
        let go = Arc::clone(&go);
        service_fn(move |request: Request<Incoming>| {
            let go = Arc::clone(&go);
            async move {
                match request.uri().path() {
                    "/wait" => go.acquire().await.expect("never closed").forget(),
                    "/panic" => panic!("this service always does"),
                    _ => {}
                }
                Ok::<_, Infallible>(Response::new(Full::<Bytes>::from("hi")))
            }
        })
    };
    let task = tokio::spawn(Server::new(config).serve(listener, make, shutdown));
    (endpoint.address(), task)
}

fn now() -> tokio::time::Instant {
    #[expect(clippy::disallowed_methods, reason = "the paused clock of the test")]
    tokio::time::Instant::now()
}

fn open() -> Arc<Semaphore> {
    Arc::new(Semaphore::new(0))
}

async fn connect(address: SocketAddr) -> TcpStream {
    TcpStream::connect(address).await.expect("the server listens")
}

/// Reads until the server closes; says what came.
async fn rest(tcp: &mut TcpStream) -> String {
    let mut all = Vec::new();
    // A reset is an end too.
    let _ = tcp.read_to_end(&mut all).await;
    String::from_utf8_lossy(&all).into_owned()
}

async fn answer(tcp: &mut TcpStream) -> Option<String> {
    let head = read_head(tcp).await?;
    let mut body = [0; 2];
    tcp.read_exact(&mut body).await.ok()?;
    Some(head.to_ascii_lowercase())
}

#[tokio::test]
async fn both_versions_are_served_on_one_port() {
    let (address, _server) = serve(|_| {}, open(), std::future::pending()).await;
    for protocol in [Protocol::Http, Protocol::H2c] {
        let pool = pool(|_| {});
        let endpoint = endpoint(address, protocol);
        for _ in 0..3 {
            assert_eq!(get(&pool, &endpoint, "/").await.expect("answered"), "hi");
        }
        assert_eq!(pool.stats().opened, 1, "connections are kept");
    }
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_says_nothing_is_shown_the_door() {
    let (address, _server) = serve(|_| {}, open(), std::future::pending()).await;
    for half in ["", "PRI * HTT", "GET / HTTP/1.1\r\nhost: a\r\nx: "] {
        let started = now();
        let mut tcp = connect(address).await;
        write(&mut tcp, half).await;
        assert_eq!(rest(&mut tcp).await, "", "no answer to {half:?}");
        let took = started.elapsed();
        assert!(took >= Duration::from_secs(10) && took < Duration::from_secs(25), "{took:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_head_that_trickles_on_a_kept_connection_is_timed_from_its_first_byte() {
    let (address, _server) = serve(|_| {}, open(), std::future::pending()).await;
    let mut tcp = connect(address).await;
    write(&mut tcp, "GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
    answer(&mut tcp).await.expect("answered");
    tokio::time::sleep(Duration::from_secs(40)).await;
    let started = now();
    write(&mut tcp, "GET / HT").await;
    assert_eq!(rest(&mut tcp).await, "");
    let took = started.elapsed();
    assert!(took >= Duration::from_secs(10) && took < Duration::from_secs(12), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn an_idle_connection_is_kept_for_its_time_and_no_longer() {
    let (address, _server) = serve(|_| {}, open(), std::future::pending()).await;
    let mut tcp = connect(address).await;
    for _ in 0..3 {
        write(&mut tcp, "GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
        answer(&mut tcp).await.expect("still there after a minute without a request");
        tokio::time::sleep(Duration::from_secs(60)).await;
    }
    let started = now();
    assert_eq!(rest(&mut tcp).await, "");
    let took = started.elapsed();
    assert!(took <= Duration::from_secs(60), "75 s to 94 s in all: {took:?}");
}

#[tokio::test(start_paused = true)]
async fn a_slow_answer_is_not_taken_for_an_idle_connection() {
    let go = open();
    let (address, _server) = serve(|_| {}, Arc::clone(&go), std::future::pending()).await;
    let mut tcp = connect(address).await;
    write(&mut tcp, "GET /wait HTTP/1.1\r\nhost: a\r\n\r\n").await;
    tokio::time::sleep(Duration::from_secs(600)).await;
    go.add_permits(1);
    answer(&mut tcp).await.expect("answered after ten minutes");
}

#[tokio::test]
async fn a_drain_lets_requests_finish_and_says_goodbye() {
    let go = open();
    let stop = Arc::new(Notify::new());
    let stopped = Arc::clone(&stop);
    let (address, server) =
        serve(|_| {}, Arc::clone(&go), async move { stopped.notified().await }).await;
    let (mut busy, mut idle, mut silent) =
        (connect(address).await, connect(address).await, connect(address).await);
    write(&mut idle, "GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
    answer(&mut idle).await.expect("answered");
    write(&mut busy, "GET /wait HTTP/1.1\r\nhost: a\r\n\r\n").await;
    let http2 = pool(|_| {});
    let over_http2 = {
        let (pool, endpoint) = (http2.clone(), endpoint(address, Protocol::H2c));
        tokio::spawn(async move { get(&pool, &endpoint, "/wait").await })
    };
    until("both wait", || http2.stats().in_flight == 1).await;
    // The head of the other one has no such sign: an answer on a third connection comes after it.
    write(&mut silent, "GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
    answer(&mut silent).await.expect("answered");

    stop.notify_one();
    assert_eq!(rest(&mut idle).await, "", "an idle connection is closed at once");
    assert!(TcpStream::connect(address).await.is_err(), "nobody new gets in");
    assert!(!server.is_finished(), "two requests are in flight");
    go.add_permits(2);

    let head = answer(&mut busy).await.expect("what was in flight is answered");
    assert!(head.contains("connection: close"), "{head}");
    over_http2.await.expect("no panic").expect("over HTTP/2 too");
    let drained = server.await.expect("no panic");
    assert_eq!(drained.cut, 0);
    assert!(drained.finished >= 2, "{drained:?}");
}

#[tokio::test(start_paused = true)]
async fn a_drain_ends_in_time() {
    let stop = Arc::new(Notify::new());
    let stopped = Arc::clone(&stop);
    let (address, server) =
        serve(|config| config.drain = Duration::from_secs(5), open(), async move {
            stopped.notified().await;
        })
        .await;
    let mut busy = connect(address).await;
    write(&mut busy, "GET /wait HTTP/1.1\r\nhost: a\r\n\r\n").await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let started = now();
    stop.notify_one();

    let drained = server.await.expect("no panic");

    assert_eq!(drained.cut, 1);
    assert_eq!(started.elapsed().as_secs(), 5);
    assert_eq!(rest(&mut busy).await, "");
}

#[tokio::test]
async fn a_panic_ends_its_own_connection_only() {
    let (address, server) = serve(|_| {}, open(), std::future::pending()).await;
    let pool = pool(|_| {});
    for protocol in [Protocol::Http, Protocol::H2c] {
        let endpoint = endpoint(address, protocol);
        get(&pool, &endpoint, "/panic").await.expect_err("no answer");
        assert_eq!(get(&pool, &endpoint, "/").await.expect("others are answered"), "hi");
    }
    assert!(!server.is_finished());
}

#[tokio::test]
async fn the_number_of_connections_is_bounded() {
    let (address, _server) =
        serve(|config| config.max_connections = 2, open(), std::future::pending()).await;
    let mut first = connect(address).await;
    let mut second = connect(address).await;
    for tcp in [&mut first, &mut second] {
        write(tcp, "GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
        answer(tcp).await.expect("answered");
    }
    let mut third = connect(address).await;
    write(&mut third, "GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
    let waits = tokio::time::timeout(Duration::from_millis(50), answer(&mut third)).await;
    assert!(waits.is_err(), "it waits in the backlog");
    drop(first);
    answer(&mut third).await.expect("and is answered when a place is free");
}

#[tokio::test]
async fn a_head_over_the_bounds_is_refused() {
    let (address, _server) =
        serve(|config| config.max_headers = 20, open(), std::future::pending()).await;
    let many: String = (0..21).map(|n| format!("x{n}: 1\r\n")).collect();
    let long = format!("x: {}\r\n", "a".repeat(70_000));
    for headers in [many, long] {
        let mut tcp = connect(address).await;
        write(&mut tcp, format!("GET / HTTP/1.1\r\n{headers}\r\n")).await;
        let answer = rest(&mut tcp).await;
        assert!(answer.starts_with("HTTP/1.1 431"), "{answer}");
        assert!(answer.contains("x-outrigger-reason: bad_request"), "{answer}");
    }
    let mut tcp = connect(address).await;
    write(&mut tcp, format!("GET /{} HTTP/1.1\r\nhost: a\r\n\r\n", "a".repeat(100 * 1_024))).await;
    let answer = rest(&mut tcp).await;
    assert!(answer.starts_with("HTTP/1.1 414"), "{answer}");
    println!(
        "promise 46: 21 of 20 headers and 70 KB of one: 431; a target of 100 KiB: 414; closed"
    );
}

/// Not a test of its own: the server of the next one, in a process with few file descriptors.
#[cfg(target_os = "linux")]
#[test]
fn serves_with_few_file_descriptors_when_asked() {
    if std::env::var_os("OUTRIGGER_HTTP_FEW_FDS").is_none() {
        return;
    }
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
    runtime.expect("a runtime").block_on(async {
        let (address, _server) = serve(|_| {}, open(), std::future::pending()).await;
        println!("listening on {address}");
        // Until the parent closes this process's standard input.
        let mut byte = [0];
        let _ = tokio::task::spawn_blocking(move || {
            std::io::Read::read(&mut std::io::stdin(), &mut byte)
        })
        .await;
        std::process::exit(0);
    });
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn out_of_file_descriptors_it_waits_without_spinning_and_recovers() {
    use std::io::BufRead;
    use std::process::{Command, Stdio};

    let own = std::env::current_exe().expect("this program");
    let mut child = Command::new("sh")
        .args(["-c", "ulimit -n 256; exec \"$0\" \"$@\""])
        .arg(own)
        .args(["server::serves_with_few_file_descriptors_when_asked", "--exact", "--nocapture"])
        .env("OUTRIGGER_HTTP_FEW_FDS", "1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("a shell");
    let stdout = child.stdout.take().expect("piped");
    let address: SocketAddr = std::io::BufReader::new(stdout)
        .lines()
        .find_map(|line| line.expect("text").split_once("listening on ")?.1.trim().parse().ok())
        .expect("the server tells its address");
    let cpu_ticks = || {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", child.id())).expect("it runs");
        let fields: Vec<_> = stat.rsplit(')').next().expect("a name").split(' ').collect();
        // utime and stime are the 14th and 15th fields, counted from before the name.
        fields[12].parse::<u64>().expect("a number") + fields[13].parse::<u64>().expect("a number")
    };

    // More than it has, and fewer than it has and its backlog takes: nobody is turned away.
    let mut flood = Vec::new();
    for _ in 0..340 {
        flood.push(connect(address).await);
    }
    // All its descriptors are in use once somebody who asks is not answered.
    let before = cpu_ticks();
    tokio::time::sleep(Duration::from_secs(1)).await;
    let spent = cpu_ticks() - before;
    assert!(spent <= 20, "at most 20 % of a processor, in ticks of 10 ms: {spent}");
    let mut late = connect(address).await;
    write(&mut late, "GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
    let waits = tokio::time::timeout(Duration::from_millis(200), answer(&mut late)).await;
    assert!(waits.is_err(), "nobody can be accepted");

    drop(flood);
    #[expect(clippy::disallowed_methods, reason = "what is measured takes real time")]
    let began = std::time::Instant::now();
    let answered = tokio::time::timeout(Duration::from_secs(2), answer(&mut late)).await;
    assert!(answered.expect("within two seconds").is_some());
    println!(
        "promise 59: 256 descriptors, 340 connections: {spent} % of a core while none is free, answered \
         {:?} after some are",
        began.elapsed()
    );
    drop(child.stdin.take());
    child.wait().expect("it ends");
}
