//! Scripted endpoints and the fault proxy on real sockets of the loopback interface.

use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::time::Duration;

use outrigger_testkit::{FaultProxy, Faults, Scripted, Step};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

const GET: &[u8] = b"GET /a?b HTTP/1.1\r\nhost: stock\r\nX-One: 1\r\n\r\n";

/// Sends one request over a connection of its own and reads to the end.
async fn ask(address: SocketAddr) -> std::io::Result<String> {
    let mut tcp = TcpStream::connect(address).await?;
    tcp.write_all(b"GET / HTTP/1.1\r\nhost: stock\r\nconnection: close\r\n\r\n").await?;
    let mut answer = String::new();
    tcp.read_to_string(&mut answer).await?;
    Ok(answer)
}

fn status(answer: &str) -> &str {
    answer.split(' ').nth(1).unwrap_or_default()
}

#[tokio::test]
async fn steps_are_taken_in_order_and_the_last_one_stays() {
    let endpoint = Scripted::start([Step::answer(200), Step::answer(500), Step::answer(429)])
        .await
        .expect("a port");
    let mut statuses = Vec::new();
    for _ in 0..4 {
        statuses.push(status(&ask(endpoint.address()).await.expect("answered")).to_owned());
    }
    assert_eq!(statuses, ["200", "500", "429", "429"]);
    assert_eq!((endpoint.requests(), endpoint.connections()), (4, 4));
    endpoint.follow([Step::answer(204)]);
    assert_eq!(status(&ask(endpoint.address()).await.expect("answered")), "204");
}

#[tokio::test]
async fn what_was_asked_is_remembered() {
    let endpoint = Scripted::start([]).await.expect("a port");
    let mut tcp = TcpStream::connect(endpoint.address()).await.expect("it listens");
    tcp.write_all(GET).await.expect("open");
    tcp.write_all(b"POST /c HTTP/1.1\r\ncontent-length: 3\r\n\r\nxyz").await.expect("open");
    tcp.write_all(
        b"PUT /d HTTP/1.1\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n2\r\nab\r\n1;x\r\nc\r\n0\r\nt: 1\r\n\r\n",
    )
    .await
    .expect("open");
    let mut all = String::new();
    tcp.read_to_string(&mut all).await.expect("answered");
    let seen = endpoint.seen();
    assert_eq!(all.matches("HTTP/1.1 200").count(), 3);
    assert_eq!(
        (&*seen[0].method, &*seen[0].path, seen[0].header("x-one")),
        ("GET", "/a?b", Some("1"))
    );
    assert_eq!((&*seen[1].path, &*seen[1].body), ("/c", &b"xyz"[..]));
    assert_eq!((&*seen[2].path, &*seen[2].body), ("/d", &b"abc"[..]));
    assert_eq!(endpoint.connections(), 1);
}

#[tokio::test]
async fn a_script_may_look_at_the_request() {
    let endpoint = Scripted::start_with(|seen| match &*seen.path {
        "/" => Step::answer(200).with_header("x-two", "2").with_body("root"),
        _ => Step::answer(404),
    })
    .await
    .expect("a port");
    let answer = ask(endpoint.address()).await.expect("answered");
    assert!(answer.contains("x-two: 2") && answer.ends_with("\r\n\r\nroot"), "{answer}");
}

#[tokio::test]
async fn every_way_to_fail_looks_as_it_should() {
    let full = Step::answer(200).with_body("four");
    for (step, wanted) in [
        (Step::reset(), "reset"),
        (Step::close(), ""),
        (Step::half_close(), ""),
        (full.clone().breaking_off(), "reset"),
        (Step::raw("noise"), "noise"),
        (full.trickling(Duration::from_millis(1)), "four"),
    ] {
        let endpoint = Scripted::start([step.clone()]).await.expect("a port");
        let found = match ask(endpoint.address()).await {
            Ok(answer) => answer,
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => "reset".to_owned(),
            Err(error) => panic!("{step:?}: {error}"),
        };
        assert!(
            found == wanted || !wanted.is_empty() && found.ends_with(wanted),
            "{step:?}: {found}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn delays_and_stalls_take_their_time() {
    let hour = Duration::from_secs(3_600);
    let endpoint =
        Scripted::start([Step::answer(200).after(hour), Step::stall()]).await.expect("a port");
    let asked = timeout(2 * hour, ask(endpoint.address())).await.expect("within two hours");
    assert_eq!(status(&asked.expect("answered")), "200");
    assert!(timeout(2 * hour, ask(endpoint.address())).await.is_err(), "never answered");
}

#[tokio::test]
async fn an_endpoint_dies_and_comes_back_on_its_port() {
    let mut endpoint = Scripted::start([]).await.expect("a port");
    let mut kept = TcpStream::connect(endpoint.address()).await.expect("it listens");
    kept.write_all(GET).await.expect("open");
    kept.read_exact(&mut [0; 8]).await.expect("answered");

    endpoint.die().await;

    let mut rest = Vec::new();
    let end = kept.read_to_end(&mut rest).await;
    assert_eq!(end.expect_err("reset").kind(), std::io::ErrorKind::ConnectionReset);
    let refused = ask(endpoint.address()).await.expect_err("nobody listens");
    assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
    endpoint.listen_again().await.expect("the port is free");
    assert_eq!(status(&ask(endpoint.address()).await.expect("answered")), "200");
}

async fn proxied(body: &'static str) -> (Scripted, FaultProxy) {
    let endpoint = Scripted::start([Step::answer(200).with_body(body)]).await.expect("a port");
    let proxy = FaultProxy::start(endpoint.address()).await.expect("a port");
    (endpoint, proxy)
}

#[tokio::test]
async fn a_proxy_without_faults_changes_nothing() {
    let (endpoint, proxy) = proxied("whole").await;
    let answer = ask(proxy.address()).await.expect("answered");
    assert_eq!(answer, ask(endpoint.address()).await.expect("answered"));
    let passed = proxy.passed();
    assert_eq!((passed.connections, passed.down), (1, answer.len() as u64));
}

#[tokio::test]
async fn a_stall_ends_when_it_is_switched_off() {
    let (endpoint, proxy) = proxied("whole").await;
    proxy.set(Faults::stall());
    let address = proxy.address();
    let asked = tokio::spawn(async move { ask(address).await });
    let waits = timeout(Duration::from_millis(50), async {
        while endpoint.requests() == 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert!(waits.is_err(), "nothing has passed");
    proxy.set(Faults::none());
    assert!(asked.await.expect("no panic").expect("answered").ends_with("whole"));
}

#[tokio::test]
async fn resets_and_half_closes_reach_the_caller() {
    let (_endpoint, proxy) = proxied("whole").await;
    for half in [false, true] {
        let mut tcp = TcpStream::connect(proxy.address()).await.expect("it listens");
        tcp.write_all(GET).await.expect("open");
        let mut begin = [0; 8];
        tcp.read_exact(&mut begin).await.expect("the way is open");
        if half {
            proxy.half_close_all()
        } else {
            proxy.reset_all()
        }
        let mut rest = Vec::new();
        let end = tcp.read_to_end(&mut rest).await;
        assert_eq!(end.is_ok(), half, "{end:?}");
    }
    proxy.change(|faults| faults.resets_new = true);
    assert!(ask(proxy.address()).await.is_err());
}

#[tokio::test]
async fn a_rate_is_kept() {
    static BODY: [u8; 2_000] = [b'x'; 2_000];
    let endpoint = Scripted::start([Step::answer(200).with_body(&BODY[..])]).await.expect("a port");
    let proxy = FaultProxy::start(endpoint.address()).await.expect("a port");
    proxy.set(Faults::rate(NonZeroU32::new(10_000).expect("not 0")));
    #[expect(clippy::disallowed_methods, reason = "a rate is bytes over real time")]
    let started = std::time::Instant::now();
    ask(proxy.address()).await.expect("answered");
    let took = started.elapsed();
    // 2,050 bytes at 10,000 a second, and the request before them.
    assert!(took >= Duration::from_millis(200), "{took:?}");
}

#[tokio::test]
async fn corruption_flips_one_bit_in_so_many_bytes() {
    let (_endpoint, proxy) = proxied("aaaaaaaaaaaaaaaaaaaa").await;
    // The request is shorter than that, and the body lies within the answer's second hundred.
    proxy.set(Faults::corrupt(NonZeroU32::new(60).expect("not 0")));
    let answer = ask(proxy.address()).await.expect("answered");
    assert_eq!(answer.matches('`').count(), 1, "one `a` became a backtick: {answer}");
}
