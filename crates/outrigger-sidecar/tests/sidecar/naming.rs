//! Whom a request on the outbound listener means, and who is never reached.

use std::net::SocketAddr;

use outrigger::core::{Instance, ServiceName};
use outrigger_sidecar::{Place, Unknown, Upstream};
use outrigger_testkit::{Scripted, Step};

use crate::stage::{Answer, Beside, Stage, get, passing, raw};

fn service(name: &str) -> ServiceName {
    name.parse().expect("a name")
}

/// An endpoint of `inventory` that answers 200, and a sidecar of `orders`.
async fn inventory(stage: &Stage) -> (Scripted, Beside) {
    let stock = Scripted::start([Step::answer(200).with_body("stock")]).await.expect("a port");
    let id = "stock-1".parse().expect("an id");
    stage.registry.put(Instance::new(id, service("inventory"), stock.address()));
    (stock, stage.outbound_only("orders").await)
}

fn reason(answer: &Answer) -> (u16, Option<&str>) {
    (answer.status, answer.header("x-outrigger-reason"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_spelling_of_a_service_means_the_service() {
    let stage = Stage::new();
    let (stock, orders) = inventory(&stage).await;
    let names = [
        "inventory",
        "INVENTORY",
        "inventory:8080",
        "inventory.service.consul",
        "inventory.service.consul:80",
        "inventory.outrigger",
    ];
    for name in names {
        let answer = get(orders.outbound(), &format!("http://{name}/a"), &[]).await;
        assert_eq!(reason(&answer), (200, None), "{name} in absolute form");
        let head = format!("GET /a HTTP/1.1\r\nhost: {name}\r\nconnection: close\r\n\r\n");
        let answer = Answer::read(&raw(orders.outbound(), head.as_bytes()).await);
        assert_eq!(answer.status, 200, "{name} as Host");
    }
    assert_eq!(stock.seen().len(), 2 * names.len());
    let both = "GET http://inventory/b HTTP/1.1\r\nhost: nobody\r\nconnection: close\r\n\r\n";
    let answer = Answer::read(&raw(orders.outbound(), both.as_bytes()).await);
    assert_eq!(answer.status, 200, "the absolute form beats Host");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_name_that_is_no_service_is_refused_and_ours_are_never_looked_up_elsewhere() {
    let stage = Stage::new();
    let (_stock, orders) = inventory(&stage).await;
    for name in ["nobody.service.consul", "nobody.service.dc2.consul", "nobody.outrigger"] {
        let answer = get(orders.outbound(), &format!("http://{name}/"), &[]).await;
        assert_eq!(reason(&answer), (503, Some("no_endpoint")), "{name}");
    }
    for name in ["nobody", "example.com", "127.0.0.1", "[::1]:80"] {
        let answer = get(orders.outbound(), &format!("http://{name}/"), &[]).await;
        assert_eq!(reason(&answer), (403, Some("forbidden")), "{name}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn strangers_are_passed_on_to_but_never_to_secrets_or_to_ourselves() {
    let stage = Stage::new();
    let (_stock, _) = inventory(&stage).await;
    let stranger = Scripted::start([Step::answer(200).with_body("hi")]).await.expect("a port");
    let orders = stage.start(passing(stage.config("orders"))).await;
    let port = stranger.address().port();
    for host in ["127.0.0.1", "localhost"] {
        let target = format!("http://{host}:{port}/out");
        let answer = get(orders.outbound(), &target, &[("x-outrigger-caller", "me")]).await;
        assert_eq!((answer.status, answer.body.as_str()), (200, "hi"), "{host}");
    }
    let seen = &stranger.seen()[0];
    assert_eq!(seen.path, "/out");
    assert!(seen.header("traceparent").is_some(), "it is traced");
    assert!(seen.header("x-outrigger-caller").is_none(), "and learns nothing of the fleet");
    let own = orders.outbound().to_string();
    let admin = orders.running.addresses().admin.to_string();
    for host in [
        own.as_str(),
        admin.as_str(),
        "169.254.169.254",
        "[fe80::1]",
        "[fd00:ec2::254]",
        "100.100.100.200",
        "[::ffff:169.254.169.254]",
        "0.0.0.0:80",
    ] {
        let answer = get(orders.outbound(), &format!("http://{host}/latest"), &[]).await;
        assert_eq!(reason(&answer), (403, Some("forbidden")), "{host}");
    }
    let nobody = get(orders.outbound(), "http://nobody.service.consul/", &[]).await;
    assert_eq!(reason(&nobody), (503, Some("no_endpoint")), "ours, whatever strangers get");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_instance_that_is_our_own_listener_is_never_called() {
    let stage = Stage::new();
    let orders = stage.outbound_only("orders").await;
    let id = "trap-1".parse().expect("an id");
    stage.registry.put(Instance::new(id, service("trap"), orders.outbound()));
    let answer = get(orders.outbound(), "http://trap/", &[]).await;
    assert_eq!(reason(&answer), (503, Some("no_endpoint")), "a loop would not end");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_local_port_stands_for_one_service_whatever_the_host_says() {
    let stage = Stage::new();
    let (stock, _) = inventory(&stage).await;
    let mut config = stage.config("orders");
    let free: Upstream = "inventory=127.0.0.1:0".parse().expect("an upstream");
    config.upstreams.push(free);
    let orders = stage.start(config).await;
    let at: SocketAddr = orders.running.addresses().upstreams[&service("inventory")];
    let head = format!("GET /c HTTP/1.1\r\nhost: {at}\r\nconnection: close\r\n\r\n");
    let answer = Answer::read(&raw(at, head.as_bytes()).await);
    assert_eq!(answer.status, 200);
    let seen = &stock.seen()[0];
    assert_eq!((seen.path.as_str(), seen.header("host")), ("/c", Some("inventory")));
    assert_eq!(seen.header("x-outrigger-caller"), Some("orders"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_go_in_through_a_socket_file_too() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    let stage = Stage::new();
    let (_stock, _) = inventory(&stage).await;
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("out.sock");
    let mut config = stage.config("orders");
    config.outbound.address = Place::Unix(path.clone());
    config.unknown = Unknown::Refuse;
    let orders = stage.start(config).await;
    let mut stream = tokio::net::UnixStream::connect(&path).await.expect("it listens");
    let head = "GET http://inventory/ HTTP/1.1\r\nhost: inventory\r\nconnection: close\r\n\r\n";
    stream.write_all(head.as_bytes()).await.expect("it reads");
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.expect("it answers");
    assert_eq!(Answer::read(&answer).body, "stock");
    orders.running.stop().await;
    assert!(!path.exists(), "the file goes with its listener");
}
