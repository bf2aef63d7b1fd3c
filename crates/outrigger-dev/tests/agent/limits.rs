//! What is bounded, and what many watchers cost.

use outrigger_dev::Agent;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::wire::{PATIENCE, ask, get, put, start};

#[tokio::test]
async fn a_client_has_as_many_connections_as_allowed_and_gets_them_back() {
    let agent = start(Agent::builder().connections_per_client(3)).await;
    let mut open = Vec::new();
    for _ in 0..3 {
        let mut socket = TcpStream::connect(agent.address()).await.unwrap();
        // An answer shows that the connection has been accepted and counted.
        socket.write_all(b"GET /v1/status/leader HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
        let mut byte = [0];
        socket.read_exact(&mut byte).await.unwrap();
        open.push(socket);
    }
    let refused = ask(&agent, "GET", "/v1/status/leader", "").await;
    assert!(refused.as_ref().map_or(true, |(status, _)| *status == 429), "{refused:?}");
    open.pop();
    let freed = async {
        while !ask(&agent, "GET", "/v1/status/leader", "").await.is_ok_and(|(s, _)| s == 200) {}
    };
    timeout(PATIENCE, freed).await.expect("a closed connection makes room");
}

#[tokio::test]
async fn bodies_are_bounded_announced_or_not() {
    let agent = start(Agent::builder()).await;
    let big = "x".repeat(512 * 1024 + 1);
    assert_eq!(ask(&agent, "PUT", "/v1/kv/big", &big).await.unwrap().0, 413);
    let mut socket = TcpStream::connect(agent.address()).await.unwrap();
    let head = "PUT /v1/kv/big HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n";
    socket.write_all(head.as_bytes()).await.unwrap();
    let (mut from, mut to) = socket.into_split();
    let endless = tokio::spawn(async move {
        let chunk = format!("10000\r\n{}\r\n", "x".repeat(0x10000));
        while to.write_all(chunk.as_bytes()).await.is_ok() {}
    });
    let mut answer = vec![0; 12];
    timeout(PATIENCE, from.read_exact(&mut answer)).await.expect("no endless reading").unwrap();
    assert_eq!(answer, b"HTTP/1.1 413");
    drop(from);
    timeout(PATIENCE, endless).await.expect("the sender is cut off").unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_watchers_hear_of_every_change_of_their_service() {
    let agent = std::sync::Arc::new(start(Agent::builder()).await);
    for n in 0..20 {
        let body = json!({"Name": "web", "ID": format!("web-{n}"), "Check": {"TTL": "1h", "Status": "passing"}});
        put(&agent, "/v1/agent/service/register", &body).await;
    }
    let index = agent.state().expect("running").with(|state| state.index());
    let mut watchers = JoinSet::new();
    for _ in 0..100 {
        let agent = agent.clone();
        watchers.spawn(async move {
            let path = format!("/v1/health/service/web?passing&wait=60s&index={index}");
            get(&agent, &path).await.as_array().map(Vec::len)
        });
    }
    put(&agent, "/v1/agent/check/fail/service:web-7", &Value::Null).await;
    while let Some(seen) = timeout(PATIENCE, watchers.join_next()).await.expect("no watcher sleeps")
    {
        assert_eq!(seen.unwrap(), Some(19));
    }
}
