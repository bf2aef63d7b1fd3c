//! Pausing, stopping, starting again.

use std::io::ErrorKind;
use std::time::Duration;

use outrigger_dev::{Agent, Status};
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::wire::{PATIENCE, ask, get, put, start};

/// Long enough to tell silence from an answer on loopback.
const SILENCE: Duration = Duration::from_millis(200);

#[tokio::test]
async fn it_stays_on_loopback_unless_told_otherwise() {
    let everywhere = ([0, 0, 0, 0], 0).into();
    let refused = Agent::builder().bind(everywhere).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::PermissionDenied);
    let agent = Agent::builder().any_address().bind(everywhere).await.unwrap();
    assert!(agent.url().starts_with("http://127.0.0.1:"), "{}", agent.url());
}

#[tokio::test]
async fn a_paused_agent_accepts_and_does_not_answer() {
    let agent = start(Agent::builder()).await;
    put(&agent, "/v1/agent/service/register", &json!({"Name": "web"})).await;
    agent.pause();
    let mut held = Box::pin(ask(&agent, "GET", "/v1/agent/services", ""));
    assert!(timeout(SILENCE, &mut held).await.is_err(), "no answer, and no error either");
    agent.resume();
    let (status, body) = timeout(PATIENCE, held).await.expect("an answer").unwrap();
    assert_eq!(status, 200);
    assert!(body.contains("web"), "the request that was held is answered: {body}");
}

#[tokio::test]
async fn a_pause_also_holds_connections_that_are_open() {
    let agent = start(Agent::builder()).await;
    let mut held = Box::pin(ask(&agent, "GET", "/v1/catalog/services?index=100&wait=1ms", ""));
    // The request is under way before the pause.
    assert!(timeout(Duration::ZERO, &mut held).await.is_err());
    agent.pause();
    assert!(timeout(SILENCE, &mut held).await.is_err(), "its answer is not sent");
    agent.resume();
    assert_eq!(timeout(PATIENCE, held).await.expect("an answer").unwrap().0, 200);
}

#[tokio::test]
async fn stopping_breaks_every_connection_at_once() {
    let agent = start(Agent::builder()).await;
    let mut held = Box::pin(ask(&agent, "GET", "/v1/catalog/services?index=100&wait=60s", ""));
    assert!(timeout(SILENCE, &mut held).await.is_err(), "it waits");
    agent.stop().await;
    let broken = timeout(PATIENCE, held).await.expect("it does not hang");
    assert!(broken.is_err(), "the watch breaks: {broken:?}");
    let refused = ask(&agent, "GET", "/v1/agent/services", "").await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
    assert!(agent.state().is_none(), "the memory is gone");
}

#[tokio::test]
async fn it_comes_back_empty_on_the_same_port() {
    let agent = start(Agent::builder()).await;
    put(&agent, "/v1/agent/service/register", &json!({"Name": "web", "Check": {"TTL": "1h"}}))
        .await;
    for value in ["1", "2", "3"] {
        put(&agent, "/v1/kv/x", &json!(value)).await;
    }
    let index = agent.state().expect("running").with(|state| state.index());
    let url = agent.url();
    agent.restart_empty().await.unwrap();
    assert_eq!(agent.url(), url);
    assert_eq!(get(&agent, "/v1/agent/services").await, json!({}));
    assert!(agent.state().expect("running").with(|state| state.index()) < index);
    let heartbeat = ask(&agent, "PUT", "/v1/agent/check/pass/service:web", "").await.unwrap();
    assert_eq!(heartbeat.0, 404, "and says so: {}", heartbeat.1);
}

#[tokio::test]
async fn a_stopped_or_paused_agent_can_be_started_again() {
    let agent = start(Agent::builder()).await;
    agent.stop().await;
    agent.stop().await;
    agent.restart_empty().await.unwrap();
    assert_eq!(get(&agent, "/v1/agent/services").await, json!({}));
    agent.pause();
    agent.restart_empty().await.unwrap();
    assert_eq!(get(&agent, "/v1/agent/services").await, json!({}), "a new process is not stopped");
}

#[tokio::test]
async fn dropping_it_closes_the_port() {
    let agent = start(Agent::builder()).await;
    let address = agent.address();
    drop(agent);
    let closed = async {
        while tokio::net::TcpStream::connect(address).await.is_ok() {
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, closed).await.expect("the port closes");
}

#[tokio::test]
async fn a_test_can_look_into_the_memory() {
    let agent = start(Agent::builder().node_name("laptop").datacenter("home").seed(7)).await;
    let check = json!({"TTL": "1h", "Status": "passing"});
    put(&agent, "/v1/agent/service/register", &json!({"Name": "web", "Check": check})).await;
    put(&agent, "/v1/kv/x", &Value::Null).await;
    let state = agent.state().expect("running");
    let found = state.with(|state| state.instances("web"));
    assert_eq!((found.len(), found[0].1), (1, Status::Passing));
    assert_eq!(state.with(|state| state.value("x").map(<[u8]>::to_vec)), Some(Vec::new()));
    let me = get(&agent, "/v1/agent/self").await;
    assert_eq!(me["Config"]["NodeName"], "laptop");
    assert_eq!(me["Config"]["Datacenter"], "home");
}

#[tokio::test]
async fn the_first_page_says_what_it_is() {
    let agent = start(Agent::builder()).await;
    let (status, body) = ask(&agent, "GET", "/", "").await.unwrap();
    assert_eq!(status, 200);
    assert!(body.contains("FOR DEVELOPMENT ONLY"), "{body}");
}
