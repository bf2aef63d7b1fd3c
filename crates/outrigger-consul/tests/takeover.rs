//! Two starts of one service under one id at one address, on virtual time against a scripted agent.

#[path = "support/fake.rs"]
#[expect(dead_code, reason = "each suite uses a part of it")]
mod fake;
#[path = "support/stock.rs"]
#[expect(dead_code, reason = "each suite uses a part of it")]
mod stock;

use std::sync::{Arc, Mutex};

use fake::{Act, Fake, Question, answer};
use outrigger_consul::Consul;
use outrigger_discovery::{Registered, Registrar, Registration};
use serde_json::{Value, json};
use stock::{name, secs};

/// What the agent knows of the id.
#[derive(Default)]
struct Known {
    standing: Option<Value>,
    critical: bool,
    registrations: u32,
    heartbeats: u32,
}

/// An agent that knows one id.
async fn agent(known: &Arc<Mutex<Known>>) -> (Fake, Consul) {
    let known = Arc::clone(known);
    let fake = Fake::start(move |question: &Question| {
        let mut known = known.lock().expect("not poisoned");
        let text = if question.target.starts_with("/v1/agent/service/register") {
            let mut body: Value = serde_json::from_slice(&question.body).expect("JSON");
            body["Service"] = body["Name"].clone();
            known.standing = Some(body);
            known.critical = false;
            known.registrations += 1;
            String::new()
        } else if question.target.starts_with("/v1/agent/check/update/") {
            known.heartbeats += 1;
            String::new()
        } else if question.target.starts_with("/v1/agent/checks") {
            let status = if known.critical { "critical" } else { "passing" };
            let id = known.standing.as_ref().map_or(Value::Null, |now| now["ID"].clone());
            json!({"service:1": {"ServiceID": id, "Status": status}}).to_string()
        } else if question.target.starts_with("/v1/agent/service/") {
            match &known.standing {
                Some(standing) => standing.to_string(),
                None => return Act::Answer(answer("404 Not Found", &[], b"unknown service ID")),
            }
        } else {
            "\"127.0.0.1:8300\"".to_owned()
        };
        Act::Answer(answer("200 OK", &[], text.as_bytes()))
    })
    .await;
    let consul = Consul::new(fake.config()).expect("valid");
    (fake, consul)
}

async fn registered(consul: &Consul) -> Registered {
    let registration = Registration::new(name("stock"), 80).with_address([10, 0, 0, 1].into());
    let handle = consul.register(registration).await.expect("valid");
    handle.settled().await;
    handle
}

/// What stands, as another start of the same service would have written it.
fn written_by(known: &Mutex<Known>, boot: &str) -> Value {
    let mut standing = known.lock().expect("not poisoned").standing.clone().expect("registered");
    standing["Meta"]["outrigger-boot"] = boot.into();
    standing
}

fn boot(known: &Mutex<Known>) -> String {
    let known = known.lock().expect("not poisoned");
    let standing = known.standing.as_ref().expect("registered");
    standing["Meta"]["outrigger-boot"].as_str().expect("a text").to_owned()
}

#[tokio::test(start_paused = true)]
async fn an_agent_that_comes_back_with_an_earlier_start_is_told_of_the_present_one() {
    let known = Arc::new(Mutex::new(Known::default()));
    let (_fake, consul) = agent(&known).await;
    drop(registered(&consul).await.deregister().await);
    let earlier = written_by(&known, "earlier");
    known.lock().expect("not poisoned").standing = Some(earlier.clone());

    let _handle = registered(&consul).await;
    let present = boot(&known);
    assert_ne!(present, "earlier");
    // The agent was restarted and has lost its last minute.
    known.lock().expect("not poisoned").standing = Some(earlier);
    tokio::time::sleep(secs(65)).await;

    assert_eq!(boot(&known), present, "written again over what had come back");
    let beats = known.lock().expect("not poisoned").heartbeats;
    tokio::time::sleep(secs(30)).await;
    assert!(known.lock().expect("not poisoned").heartbeats > beats, "and kept alive");
}

#[tokio::test(start_paused = true)]
async fn who_took_our_place_keeps_it_while_it_lives_and_gives_it_back_when_it_is_gone() {
    let known = Arc::new(Mutex::new(Known::default()));
    let (_fake, consul) = agent(&known).await;
    let _handle = registered(&consul).await;
    let ours = boot(&known);
    let later = written_by(&known, "later");
    known.lock().expect("not poisoned").standing = Some(later);
    tokio::time::sleep(secs(120)).await;
    assert_eq!(boot(&known), "later", "it serves there now");
    let (beats, registrations) = {
        let known = known.lock().expect("not poisoned");
        (known.heartbeats, known.registrations)
    };
    tokio::time::sleep(secs(60)).await;
    {
        let mut known = known.lock().expect("not poisoned");
        assert_eq!((known.heartbeats, known.registrations), (beats, registrations), "left alone");
        known.critical = true;
    }
    tokio::time::sleep(secs(15)).await;
    assert_eq!(boot(&known), ours, "nobody else keeps it alive");
}
