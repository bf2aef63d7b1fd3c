//! Bytes: `CONNECT`, and upstreams that are plain TCP.

use std::net::SocketAddr;
use std::time::Duration;

use outrigger::core::{Address, Instance, ServiceName};
use outrigger_testkit::{Scripted, Step};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::stage::{Answer, Stage};

/// Answers each connection, once its caller has closed its own direction, with what it said.
async fn echo() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let at = listener.local_addr().expect("bound");
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut said = Vec::new();
                let _ = stream.read_to_end(&mut said).await;
                let _ = stream.write_all(&said).await;
            });
        }
    });
    at
}

async fn connect(proxy: SocketAddr, target: &str) -> (TcpStream, Answer) {
    let mut stream = TcpStream::connect(proxy).await.expect("it listens");
    let ask = format!("CONNECT {target} HTTP/1.1\r\nhost: {target}\r\n\r\n");
    stream.write_all(ask.as_bytes()).await.expect("it reads");
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let byte = tokio::time::timeout(Duration::from_secs(10), stream.read_u8()).await;
        match byte.expect("it answers in time") {
            Ok(byte) => head.push(byte),
            Err(_) => break,
        }
    }
    let answer = Answer::read(&head);
    (stream, answer)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connect_leads_where_it_was_allowed_to_and_nowhere_else() {
    let stage = Stage::new();
    let (allowed, other) = (echo().await, echo().await);
    let mut config = stage.config("orders");
    config.connect.push(Address::Socket(allowed));
    let orders = stage.start(config).await;
    let (mut stream, answer) = connect(orders.outbound(), &allowed.to_string()).await;
    assert_eq!(answer.status, 200);
    stream.write_all(b"select 1").await.expect("it is carried");
    stream.shutdown().await.expect("one direction is closed");
    let mut back = Vec::new();
    stream.read_to_end(&mut back).await.expect("the other goes on");
    assert_eq!(back, b"select 1");
    for target in [other.to_string(), "169.254.169.254:80".into(), "example.com:443".into()] {
        let (_, answer) = connect(orders.outbound(), &target).await;
        assert_eq!(answer.status, 403, "{target}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connect_to_a_service_is_served_with_every_rule() {
    let stage = Stage::new();
    let stock = Scripted::start([Step::answer(200).with_body("stock")]).await.expect("a port");
    let id = "stock-1".parse().expect("an id");
    let name: ServiceName = "inventory".parse().expect("a name");
    stage.registry.put(Instance::new(id, name, stock.address()));
    let orders = stage.outbound_only("orders").await;
    let (mut stream, answer) = connect(orders.outbound(), "inventory:80").await;
    assert_eq!(answer.status, 200);
    let ask = "GET /inside HTTP/1.1\r\nhost: inventory\r\nconnection: close\r\n\r\n";
    stream.write_all(ask.as_bytes()).await.expect("it is carried");
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.expect("it answers");
    assert_eq!(Answer::read(&answer).body, "stock");
    assert_eq!(stock.seen()[0].header("x-outrigger-caller"), Some("orders"));
    let (_, answer) = connect(orders.outbound(), "nobody.service.consul:80").await;
    assert_eq!(answer.status, 503);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn plain_tcp_finds_an_endpoint_that_takes_connections_and_keeps_half_close() {
    let stage = Stage::new();
    let name: ServiceName = "db".parse().expect("a name");
    let good = echo().await;
    let refusing = {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        listener.local_addr().expect("bound")
    };
    stage.registry.put(Instance::new("db-1".parse().expect("an id"), name.clone(), refusing));
    stage.registry.put(Instance::new("db-2".parse().expect("an id"), name.clone(), good));
    let mut config = stage.config("orders");
    config.upstreams.push("db=tcp://127.0.0.1:0".parse().expect("an upstream"));
    let orders = stage.start(config).await;
    let at = orders.running.addresses().upstreams[&name];
    for _ in 0..12 {
        let mut stream = TcpStream::connect(at).await.expect("it listens");
        stream.write_all(b"hello").await.expect("it is carried");
        stream.shutdown().await.expect("one direction is closed");
        let mut back = Vec::new();
        stream.read_to_end(&mut back).await.expect("the other goes on");
        assert_eq!(back, b"hello");
    }
    let counts = &orders.running.tcp()[&name];
    let counted = async {
        while counts.open() > 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(5), counted).await.expect("all have ended");
    assert_eq!((counts.connections(), counts.failed(), counts.bytes()), (12, 0, (60, 60)));
    let views = orders.running.fleet().services();
    let view = views.iter().find(|view| view.service == name).expect("it is called");
    let refused = view.endpoints.iter().find(|one| one.address == refusing).expect("listed");
    assert!(refused.ejected || refused.failures < 5, "five refusals in a row eject: {refused:?}");
    assert!(view.endpoints.iter().all(|one| one.in_flight == 0));
}
