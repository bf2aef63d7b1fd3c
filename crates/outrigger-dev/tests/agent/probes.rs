//! Checks that the agent runs, and instances that it gives up.

use std::time::Duration;

use outrigger_dev::Agent;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use crate::wire::{get, put, start, until};

fn quick() -> outrigger_dev::Builder {
    Agent::builder().check_interval_floor(Duration::from_millis(20))
}

fn is(status: &'static str) -> impl Fn(&Value) -> bool {
    move |checks| checks[0]["Status"] == status
}

/// Answers every connection with the same bytes.
async fn answering(bytes: &'static str) -> std::net::SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            let _read = socket.read(&mut [0; 1024]).await;
            let _sent = socket.write_all(bytes.as_bytes()).await;
        }
    });
    address
}

async fn register(agent: &Agent, check: Value) {
    put(agent, "/v1/agent/service/register", &json!({"Name": "web", "Check": check})).await;
}

#[tokio::test]
async fn a_redirect_is_followed_and_the_servers_own_words_are_kept() {
    let target = answering("HTTP/1.1 200 Fine\r\nContent-Length: 2\r\n\r\nok").await;
    let redirect =
        format!("HTTP/1.1 302 Found\r\nLocation: http://{target}/new\r\nContent-Length: 0\r\n\r\n");
    let first = answering(redirect.leak()).await;
    let agent = start(quick()).await;
    register(&agent, json!({"HTTP": format!("http://{first}/old"), "Interval": "20ms"})).await;
    let checks = until(&agent, "/v1/health/checks/web", is("passing")).await;
    assert_eq!(checks[0]["Output"], format!("HTTP GET http://{first}/old: 200 Fine Output: ok"));
}

#[tokio::test]
async fn a_service_that_hangs_is_critical_after_the_timeout() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let agent = start(quick()).await;
    let check = json!({"HTTP": url, "Interval": "20ms", "Timeout": "50ms", "Status": "passing"});
    register(&agent, check).await;
    let checks = until(&agent, "/v1/health/checks/web", is("critical")).await;
    assert!(
        checks[0]["Output"].as_str().is_some_and(|o| o.contains("deadline exceeded")),
        "{checks}"
    );
}

#[tokio::test]
async fn an_endless_answer_is_cut() {
    let endless: &'static str = format!("HTTP/1.1 200 OK\r\n\r\n{}", "x".repeat(100_000)).leak();
    let address = answering(endless).await;
    let agent = start(quick()).await;
    register(&agent, json!({"HTTP": format!("http://{address}/"), "Interval": "20ms"})).await;
    let checks = until(&agent, "/v1/health/checks/web", is("passing")).await;
    assert!(checks[0]["Output"].as_str().is_some_and(|o| o.len() < 5000));
}

#[tokio::test]
async fn a_check_over_tls_says_why_it_is_critical() {
    let agent = start(quick()).await;
    let check = json!({"HTTP": "https://127.0.0.1:1/", "Interval": "20ms", "Status": "passing"});
    register(&agent, check).await;
    let checks = until(&agent, "/v1/health/checks/web", is("critical")).await;
    assert!(checks[0]["Output"].as_str().is_some_and(|o| o.contains("http only")), "{checks}");
}

/// A gRPC server that answers every call with this health, or with a code only.
async fn grpc(health: Option<u8>) -> std::net::SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            let answer = move |request: http::Request<hyper::body::Incoming>| async move {
                assert_eq!(request.uri().path(), "/grpc.health.v1.Health/Check");
                let code = if health.is_some() { "0" } else { "12" };
                let message = health.map_or_else(Vec::new, |health| vec![0, 0, 0, 0, 2, 8, health]);
                http::Response::builder()
                    .header("content-type", "application/grpc")
                    .header("grpc-status", code)
                    .body(http_body_util::Full::new(bytes::Bytes::from(message)))
            };
            tokio::spawn(
                hyper::server::conn::http2::Builder::new(hyper_util::rt::TokioExecutor::new())
                    .serve_connection(
                        hyper_util::rt::TokioIo::new(socket),
                        hyper::service::service_fn(answer),
                    ),
            );
        }
    });
    address
}

#[tokio::test]
async fn a_grpc_service_is_asked_for_its_health() {
    for (health, status, words) in [
        (Some(1), "passing", "success"),
        (Some(2), "critical", "serving status: NOT_SERVING"),
        (None, "critical", "rpc error: code = 12"),
    ] {
        let address = grpc(health).await;
        let agent = start(quick()).await;
        register(&agent, json!({"GRPC": format!("{address}/shop"), "Interval": "20ms"})).await;
        let checks = until(&agent, "/v1/agent/checks", |checks| {
            checks["service:web"]["Output"].as_str().is_some_and(|output| output.contains(words))
        })
        .await;
        assert_eq!(checks["service:web"]["Status"], status);
        assert_eq!(checks["service:web"]["Type"], "grpc");
    }
}

#[tokio::test]
async fn a_deregistered_check_is_not_run_any_more() {
    let address = answering("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await;
    let agent = start(quick()).await;
    register(&agent, json!({"HTTP": format!("http://{address}/"), "Interval": "20ms"})).await;
    until(&agent, "/v1/health/checks/web", is("passing")).await;
    put(&agent, "/v1/agent/service/deregister/web", &Value::Null).await;
    assert_eq!(get(&agent, "/v1/agent/checks").await, json!({}));
    // Registered anew it starts critical: no answer of the old probe comes through.
    register(&agent, json!({"TTL": "1h"})).await;
    assert_eq!(get(&agent, "/v1/health/checks/web").await[0]["Status"], "critical");
}

#[tokio::test]
async fn an_instance_that_stays_critical_is_given_up() {
    let builder = quick().deregister_critical(Duration::from_millis(50), Duration::from_millis(20));
    let agent = start(builder).await;
    register(&agent, json!({"TTL": "30ms", "DeregisterCriticalServiceAfter": "1ms"})).await;
    until(&agent, "/v1/agent/services", |services| *services == json!({})).await;
    until(&agent, "/v1/health/service/web", |instances| *instances == json!([])).await;
}
