//! What callers of an application meet: rules, trust, drain.

use std::time::Duration;

use outrigger_sidecar::{Application, Trust};
use outrigger_testkit::{Scripted, Step};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::stage::{Answer, Stage, get};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_service_s_own_policy_is_obeyed_before_the_application_sees_anything() {
    let stage = Stage::new();
    let policy = "version: 1\nservice: inventory\ninbound:\n  rate_limits:\n    - name: all\n      \
                  rate: 2/h\n";
    stage.registry.set_key("outrigger/policy/inventory", policy.as_bytes());
    let app = Scripted::start([Step::answer(200)]).await.expect("a port");
    let inventory = stage.beside("inventory", app.address()).await;
    let mut statuses = Vec::new();
    for _ in 0..4 {
        statuses.push(get(inventory.inbound(), "/stock", &[]).await);
    }
    let words: Vec<_> =
        statuses.iter().map(|a| (a.status, a.header("x-outrigger-reason"))).collect();
    let limited = (429, Some("rate_limited"));
    assert_eq!(words, [(200, None), (200, None), limited, limited]);
    assert_eq!(app.seen().len(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_not_believed_cannot_say_who_it_is() {
    let stage = Stage::new();
    let app = Scripted::start([Step::answer(200)]).await.expect("a port");
    let spoof = [
        ("x-outrigger-caller", "billing"),
        ("x-forwarded-for", "10.9.9.9"),
        ("x_forwarded_for", "10.9.9.9"),
        ("forwarded", "for=10.9.9.9"),
        ("baggage", "user=root"),
        ("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
    ];
    let believing = stage.beside("inventory", app.address()).await;
    get(believing.inbound(), "/", &spoof).await;
    let mut config = stage.config("pricing");
    config.application = Some(Application::Tcp(app.address()));
    config.trust = Trust::nobody();
    let wary = stage.start(config).await;
    get(wary.inbound(), "/", &spoof).await;
    let mut edge = stage.config("storefront");
    edge.application = Some(Application::Tcp(app.address()));
    edge.trust.edge = true;
    let edge = stage.start(edge).await;
    get(edge.inbound(), "/", &spoof).await;

    let seen = app.seen();
    let [believed, doubted, edge] = &seen[..] else { panic!("three requests: {seen:?}") };
    assert_eq!(believed.header("x-outrigger-caller"), Some("billing"));
    assert_eq!(believed.header("x-forwarded-for"), Some("10.9.9.9, 127.0.0.1"));
    assert_eq!(believed.header("baggage"), Some("user=root"));
    let trace = "0af7651916cd43dd8448eb211c80319c";
    let has_trace = |value: Option<&str>| value.is_some_and(|value| value.contains(trace));
    assert!(has_trace(believed.header("traceparent")));
    for request in [doubted, edge] {
        assert_eq!(request.header("x-outrigger-caller"), None);
        assert_eq!(request.header("x-forwarded-for"), Some("127.0.0.1"));
        for gone in ["x_forwarded_for", "forwarded", "baggage"] {
            assert_eq!(request.header(gone), None, "{gone}");
        }
    }
    assert!(has_trace(doubted.header("traceparent")), "a trace is not cut inside of the fleet");
    assert!(!has_trace(edge.header("traceparent")), "and begins at its edge");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_application_that_is_not_there_is_said_so() {
    let stage = Stage::new();
    let gone = {
        let app = Scripted::start([Step::answer(200)]).await.expect("a port");
        app.address()
    };
    let inventory = stage.beside("inventory", gone).await;
    let answer = get(inventory.inbound(), "/", &[]).await;
    assert_eq!(
        (answer.status, answer.header("x-outrigger-reason")),
        (503, Some("connect_failure"))
    );
    let name = "inventory".parse().expect("a name");
    let heard = async {
        while stage.registry.instances(&name)[0].status.as_str() != "critical" {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(5), heard).await.expect("the registry hears of it");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_application_is_reached_over_a_socket_file() {
    let stage = Stage::new();
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("app.sock");
    let listener = tokio::net::UnixListener::bind(&path).expect("free");
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut head = vec![0; 4_096];
                if stream.read(&mut head).await.is_ok_and(|read| read > 0) {
                    let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nunix";
                    let _ = stream.write_all(answer).await;
                }
            });
        }
    });
    let mut config = stage.config("inventory");
    config.application = Some(Application::Unix(path));
    let inventory = stage.start(config).await;
    assert_eq!(get(inventory.inbound(), "/", &[]).await.body, "unix");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_drain_leaves_the_registry_first_and_finishes_what_is_in_flight() {
    let stage = Stage::new();
    let slow = Step::answer(200).with_body("late").after(Duration::from_millis(600));
    let app = Scripted::start([slow]).await.expect("a port");
    let inventory = stage.beside("inventory", app.address()).await;
    let at = inventory.inbound();
    let asking = tokio::spawn(async move { get(at, "/slow", &[]).await });
    while app.seen().is_empty() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let drained = inventory.running.drain().await;
    let answer = asking.await.expect("an answer");
    assert_eq!((answer.status, answer.body.as_str()), (200, "late"));
    assert_eq!(drained.cut, 0);
    let name = "inventory".parse().expect("a name");
    assert!(stage.registry.instances(&name).is_empty());
    assert!(tokio::net::TcpStream::connect(at).await.is_err(), "nobody listens");
    let pages = get(inventory.running.addresses().admin, "/api/v1/state", &[]).await;
    assert_eq!(pages.status, 200, "who looks still sees");
    assert!(pages.body.contains("\"uncorrelated\":0"), "{}", pages.body);
    let metrics = get(inventory.running.addresses().admin, "/metrics", &[]).await;
    assert!(metrics.body.contains("outrigger_sidecar_calls_total{correlated=\"true\"} 0"));
}

/// An application that calls `http://inventory/` for each request, with the headers that it
/// copies; a program that knows nothing of traces or deadlines.
async fn relay(
    proxy: std::net::SocketAddr,
    copied: &'static [&'static str],
) -> std::net::SocketAddr {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let at = listener.local_addr().expect("bound");
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut head = vec![0; 8_192];
                let Ok(read) = stream.read(&mut head).await else { return };
                if read == 0 {
                    return;
                }
                let head = String::from_utf8_lossy(&head[..read]).into_owned();
                let kept: Vec<(String, String)> = head
                    .lines()
                    .filter_map(|line| line.split_once(": "))
                    .filter(|(name, _)| copied.contains(name))
                    .map(|(name, value)| (name.to_owned(), value.to_owned()))
                    .collect();
                let kept: Vec<_> = kept.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
                let answer = get(proxy, "http://inventory/", &kept).await;
                let text = format!("HTTP/1.1 {} X\r\ncontent-length: 0\r\n\r\n", answer.status);
                let _ = stream.write_all(text.as_bytes()).await;
            });
        }
    });
    at
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_belongs_to_the_request_it_is_made_for_by_any_header_that_is_copied() {
    let stage = Stage::new();
    let stock = Scripted::start([Step::answer(200)]).await.expect("a port");
    let _inventory = stage.beside("inventory", stock.address()).await;
    let trace = "0af7651916cd43dd8448eb211c80319c";
    let parent = format!("00-{trace}-b7ad6b7169203331-01");
    for (copied, is_found) in
        [(&["traceparent"][..], true), (&["x-request-id"], true), (&["accept"], false)]
    {
        let before = stock.seen().len();
        // The outbound listener must be there before the application is.
        let mut config = stage.config("orders");
        let port = {
            let free = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
            free.local_addr().expect("bound")
        };
        config.outbound = outrigger_sidecar::Listen::at(outrigger_sidecar::Place::Tcp(port));
        config.application = Some(Application::Tcp(relay(port, copied).await));
        let orders = stage.start(config).await;
        let headers = [("traceparent", parent.as_str()), ("x-outrigger-deadline-ms", "5000")];
        let answer = get(orders.inbound(), "/order", &headers).await;
        assert_eq!(answer.status, 200, "{copied:?}");
        let seen = &stock.seen()[before];
        let same = seen.header("traceparent").is_some_and(|value| value.contains(trace));
        assert_eq!(same, is_found, "{copied:?}: {seen:?}");
        let left = seen.header("x-outrigger-deadline-ms").and_then(|left| left.parse().ok());
        let left: u32 = left.expect("every call has a deadline");
        assert_eq!(left < 5_000, is_found, "{copied:?}: {left} ms left");
        let calls = orders.running.correlation();
        let counted = (calls.correlated(), calls.uncorrelated());
        assert_eq!(counted, if is_found { (1, 0) } else { (0, 1) }, "{copied:?}");
        assert_eq!(calls.in_flight(), 0);
        orders.running.drain().await;
        orders.running.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_websocket_is_opened_only_where_it_is_asked_for_by_the_operator() {
    let stage = Stage::new();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let app = listener.local_addr().expect("bound");
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut head = vec![0; 4_096];
                if stream.read(&mut head).await.is_ok_and(|read| read > 0) {
                    let switch = b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\n\
                                   upgrade: websocket\r\n\r\n";
                    let _ = stream.write_all(switch).await;
                    let mut bytes = [0; 4];
                    if stream.read_exact(&mut bytes).await.is_ok() {
                        let _ = stream.write_all(&bytes).await;
                    }
                }
            });
        }
    });
    let ask = "GET /chat HTTP/1.1\r\nhost: chat\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
               sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    let plain = stage.beside("chat", app).await;
    let mut stream = tokio::net::TcpStream::connect(plain.inbound()).await.expect("it listens");
    stream.write_all(ask.as_bytes()).await.expect("it reads");
    let mut head = vec![0; 4_096];
    let read = stream.read(&mut head).await.expect("it answers");
    assert_eq!(Answer::read(&head[..read]).status, 403);

    let mut config = stage.config("chat-2");
    config.application = Some(Application::Tcp(app));
    config.websocket = true;
    let open = stage.start(config).await;
    let mut stream = tokio::net::TcpStream::connect(open.inbound()).await.expect("it listens");
    stream.write_all(ask.as_bytes()).await.expect("it reads");
    let read = stream.read(&mut head).await.expect("it answers");
    assert_eq!(Answer::read(&head[..read]).status, 101);
    stream.write_all(b"ping").await.expect("it is carried");
    let mut back = [0; 4];
    stream.read_exact(&mut back).await.expect("and back");
    assert_eq!(&back, b"ping");
}
