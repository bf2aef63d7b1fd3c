//! What clients of other languages registered with a real Consul, replayed: `data/` holds what the real
//! agent then showed.

use outrigger_dev::Agent;
use serde_json::{Map, Value, json};

use crate::wire::{get, put, start};

/// Sends what the client must have sent.
async fn replay(agent: &Agent, recorded: &Value) {
    let checks = recorded["checks"].as_object().expect("checks");
    for (id, service) in recorded["services"].as_object().expect("services") {
        let mut body = Map::new();
        for (to, from) in [
            ("ID", "ID"),
            ("Name", "Service"),
            ("Tags", "Tags"),
            ("Port", "Port"),
            ("Address", "Address"),
        ] {
            body.insert(to.to_owned(), service[from].clone());
        }
        if service["Meta"] != json!({}) {
            body.insert("Meta".to_owned(), service["Meta"].clone());
        }
        if let Some(check) = checks.values().find(|check| check["ServiceID"] == id.as_str()) {
            let check = match check["Type"].as_str() {
                Some("http") => {
                    json!({"HTTP": "http://127.0.0.1:1/health", "Interval": "1h", "Status": "passing"})
                }
                _ => json!({"TTL": "1h", "Status": "passing"}),
            };
            body.insert("Check".to_owned(), check);
        }
        put(agent, "/v1/agent/service/register", &Value::Object(body)).await;
    }
}

/// Everything that was recorded is shown, with the same values; newer versions may show more.
fn contains(at: &str, shown: &Value, recorded: &Value) {
    match (shown, recorded) {
        (Value::Object(shown), Value::Object(recorded)) => {
            for (key, value) in recorded {
                let differs =
                    matches!(key.as_str(), "CreateIndex" | "ModifyIndex" | "Output" | "Node");
                if differs && !value.is_object() {
                    continue;
                }
                let shown = shown.get(key).unwrap_or_else(|| panic!("{at}/{key} is not shown"));
                if key != "ID" || value.as_str().is_none_or(|id| id.len() != 36) {
                    contains(&format!("{at}/{key}"), shown, value);
                }
            }
        }
        (Value::Array(shown), Value::Array(recorded)) => {
            assert_eq!(shown.len(), recorded.len(), "{at}");
            for (n, (shown, recorded)) in shown.iter().zip(recorded).enumerate() {
                contains(&format!("{at}/{n}"), shown, recorded);
            }
        }
        (shown, recorded) => assert_eq!(shown, recorded, "{at}"),
    }
}

async fn shows_as_recorded(text: &str) {
    let recorded: Value = serde_json::from_str(text).expect("JSON");
    let agent = start(Agent::builder()).await;
    replay(&agent, &recorded).await;
    contains("services", &get(&agent, "/v1/agent/services").await, &recorded["services"]);
    contains("checks", &get(&agent, "/v1/agent/checks").await, &recorded["checks"]);
    if let Some(health) = recorded.get("health") {
        let name = health[0]["Service"]["Service"].as_str().expect("a name");
        let shown = get(&agent, &format!("/v1/health/service/{name}")).await;
        contains("health", &shown, health);
    }
}

#[tokio::test]
async fn a_go_client() {
    shows_as_recorded(include_str!("../data/go.json")).await;
}

#[tokio::test]
async fn a_node_client() {
    shows_as_recorded(include_str!("../data/node.json")).await;
}

#[tokio::test]
async fn a_python_client() {
    shows_as_recorded(include_str!("../data/python.json")).await;
}

#[tokio::test]
async fn a_spring_application() {
    shows_as_recorded(include_str!("../data/spring.json")).await;
}
