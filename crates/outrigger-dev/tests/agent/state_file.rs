//! What outlives the process, if it is told to.

use std::path::PathBuf;
use std::time::Duration;

use outrigger_dev::Agent;
use serde_json::json;
use tokio::time::timeout;

use crate::wire::{PATIENCE, get, put, start};

/// A file of its own for each test, removed with it.
struct File(PathBuf);

impl File {
    fn new(name: &str) -> Self {
        let name = format!("outrigger-dev-{}-{name}.json", std::process::id());
        let file = Self(std::env::temp_dir().join(name));
        let _none_before = std::fs::remove_file(&file.0);
        file
    }

    async fn holds(&self, text: &str) {
        let written = async {
            while !std::fs::read_to_string(&self.0).is_ok_and(|all| all.contains(text)) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(PATIENCE, written).await.expect("the file is written");
    }
}

impl Drop for File {
    fn drop(&mut self) {
        let _gone = std::fs::remove_file(&self.0);
    }
}

#[tokio::test]
async fn registrations_and_keys_come_back_with_their_status() {
    let file = File::new("back");
    let agent = start(Agent::builder().state_file(&file.0)).await;
    let check = json!({"TTL": "1h", "Status": "passing"});
    let body = json!({"Name": "web", "ID": "w", "Tags": ["a"], "Meta": {"k": "v"}, "Check": check});
    put(&agent, "/v1/agent/service/register", &body).await;
    put(&agent, "/v1/agent/check/warn/service:w?note=hot", &json!(null)).await;
    put(&agent, "/v1/agent/check/register", &json!({"Name": "disk", "TTL": "1h"})).await;
    put(&agent, "/v1/kv/app/x?flags=7", &json!("value")).await;
    file.holds("app/x").await;
    agent.stop().await;

    let agent = start(Agent::builder().state_file(&file.0)).await;
    assert_eq!(get(&agent, "/v1/agent/services").await["w"]["Meta"], json!({"k": "v"}));
    let checks = get(&agent, "/v1/agent/checks").await;
    assert_eq!(checks["service:w"]["Status"], "warning");
    assert_eq!(checks["service:w"]["Output"], "hot");
    assert_eq!(checks["disk"]["Status"], "critical");
    assert_eq!(get(&agent, "/v1/kv/app/x").await[0]["Flags"], 7);

    agent.restart_empty().await.unwrap();
    assert_eq!(get(&agent, "/v1/agent/services").await, json!({}));
    agent.stop().await;
    let agent = start(Agent::builder().state_file(&file.0)).await;
    assert_eq!(get(&agent, "/v1/kv/?keys").await, json!([]), "and stays forgotten");
}

#[tokio::test]
async fn a_broken_file_is_refused_and_named() {
    let file = File::new("broken");
    for broken in ["{", "{}", r#"{"version":9,"services":[],"checks":[],"statuses":{},"keys":[]}"#]
    {
        std::fs::write(&file.0, broken).unwrap();
        let refused = Agent::builder().state_file(&file.0).bind(([127, 0, 0, 1], 0).into()).await;
        let error = refused.unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::InvalidData, "{broken}");
        assert!(error.to_string().contains("broken.json"), "{error}");
    }
}
