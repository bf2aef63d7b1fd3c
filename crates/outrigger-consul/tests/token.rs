//! A token that is replaced in its file, on virtual time against a scripted agent.

#[path = "support/fake.rs"]
#[expect(dead_code, reason = "each suite uses a part of it")]
mod fake;
#[path = "support/stock.rs"]
mod stock;

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use fake::{Act, Fake, Question, answer, instances, ok};
use outrigger_consul::{Consul, TokenSource};
use outrigger_core::{Freshness, Status};
use outrigger_discovery::{Registrar, Registration, Resolver};
use stock::{HEALTH, aside, name, secs, stock, until};

/// A file with a token, and the directory that holds it.
fn token_file(token: &str) -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("token");
    std::fs::write(&path, token).expect("written");
    (dir, path)
}

#[tokio::test(start_paused = true)]
async fn a_new_token_in_the_file_is_used_within_five_seconds_and_nothing_is_lost() {
    let (_dir, path) = token_file("canary-old\n");
    let valid = Arc::new(Mutex::new("canary-old".to_owned()));
    let good = Arc::clone(&valid);
    let fake = Fake::start(move |question: &Question| {
        if question.header("x-consul-token") != Some(&*good.lock().expect("not poisoned")) {
            return Act::Answer(answer("403 Forbidden", &[], b"ACL not found"));
        }
        aside(question).unwrap_or_else(|| match question.index() {
            0 => Act::Answer(ok(10, &instances([80]))),
            // A watch under the old token ends in a refusal.
            _ => Act::Later(secs(7), answer("403 Forbidden", &[], b"ACL not found")),
        })
    })
    .await;
    let config = fake.config().with_token(TokenSource::File(path.clone()));
    let consul = Consul::new(config).expect("valid");
    let mut watch = consul.watch(&stock());
    until(&mut watch, secs(5), "the first", |s| s.instances.len() == 1).await;
    *valid.lock().expect("not poisoned") = "canary-new".into();
    let stale = until(&mut watch, secs(20), "denied", |s| s.freshness == Freshness::Stale).await;
    assert_eq!(stale.instances.len(), 1);
    tokio::time::sleep(secs(60)).await;
    std::fs::write(&path, "canary-new\n").expect("written");
    until(&mut watch, secs(5), "fresh again", |s| s.freshness == Freshness::Live).await;
    assert!(!format!("{consul:?} {watch:?}").contains("canary"));
}

/// An agent that denies everybody but whoever has the valid token.
async fn jealous(
    valid: &Arc<Mutex<String>>,
    denied: impl Fn(&Question) + Send + Sync + 'static,
) -> Fake {
    let good = Arc::clone(valid);
    Fake::start(move |question: &Question| {
        if question.header("x-consul-token") != Some(&*good.lock().expect("not poisoned")) {
            denied(question);
            return Act::Answer(answer("403 Forbidden", &[], b"ACL not found"));
        }
        aside(question).unwrap_or_else(|| match question.index() {
            0 if question.target.starts_with(HEALTH) => Act::Answer(ok(10, &instances([80]))),
            0 => Act::Answer(answer("200 OK", &[], b"")),
            _ => Act::Later(secs(300), ok(10, &instances([80]))),
        })
    })
    .await
}

#[tokio::test(start_paused = true)]
async fn a_token_that_comes_with_the_denial_is_used_at_once() {
    let (_dir, path) = token_file("old");
    let valid = Arc::new(Mutex::new("other".to_owned()));
    let denials = AtomicU64::new(0);
    let (file, good) = (path.clone(), Arc::clone(&valid));
    let denied_at = Arc::new(Mutex::new(None));
    let at = Arc::clone(&denied_at);
    let fake = jealous(&valid, move |question| {
        // By the eighth the pauses are long; the file changes between the question and the answer.
        if question.target.starts_with(HEALTH) && denials.fetch_add(1, Ordering::SeqCst) == 8 {
            "new".clone_into(&mut good.lock().expect("not poisoned"));
            std::fs::write(&file, "new").expect("written");
            *at.lock().expect("not poisoned") = Some(question.at);
        }
    })
    .await;
    let config = fake.config().with_token(TokenSource::File(path));
    let consul = Consul::new(config).expect("valid");
    let mut watch = consul.watch(&stock());
    until(&mut watch, secs(120), "the first", |s| s.instances.len() == 1).await;
    let denied_at = denied_at.lock().expect("not poisoned").expect("denied eight times");
    assert!(denied_at.elapsed() < secs(1), "{:?}", denied_at.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_report_under_a_new_token_is_told_once_the_agent_can_pass_it_on() {
    let (_dir, path) = token_file("old");
    let valid = Arc::new(Mutex::new("old".to_owned()));
    let fake = jealous(&valid, |_| {}).await;
    let config = fake.config().with_token(TokenSource::File(path.clone()));
    let consul = Consul::new(config).expect("valid");
    let handle = consul.register(Registration::new(name("stock"), 80)).await.expect("valid");
    handle.settled().await;
    "new".clone_into(&mut valid.lock().expect("not poisoned"));
    std::fs::write(&path, "new").expect("written");

    handle.report(Status::Warning, "slow disk").await.expect("told");

    let taken = |q: &&Question| q.header("x-consul-token") == Some("new");
    let asked: Vec<_> = fake.questions().iter().filter(taken).cloned().collect();
    let registered = asked.iter().rposition(|q| q.target.contains("/service/register"));
    let registered = registered.expect("registered under the new token before it is told");
    let body: serde_json::Value = serde_json::from_slice(&asked[registered].body).expect("JSON");
    assert_eq!(
        body["Checks"][0]["Notes"], "under token 2",
        "the same words would not be passed on"
    );
    let beats = &asked[registered..];
    assert!(beats.iter().any(|q| q.target.contains("/check/update/")), "{beats:?}");
}

#[tokio::test(start_paused = true)]
async fn who_leaves_under_a_new_token_stands_under_it_first() {
    let (_dir, path) = token_file("old");
    let valid = Arc::new(Mutex::new("old".to_owned()));
    let fake = jealous(&valid, |_| {}).await;
    let config = fake.config().with_token(TokenSource::File(path.clone()));
    let consul = Consul::new(config).expect("valid");
    let handle = consul.register(Registration::new(name("stock"), 80)).await.expect("valid");
    handle.settled().await;
    "new".clone_into(&mut valid.lock().expect("not poisoned"));
    std::fs::write(&path, "new").expect("written");

    handle.deregister().await.expect("taken back");

    let taken = |q: &&Question| q.header("x-consul-token") == Some("new");
    let targets: Vec<_> = fake.questions().iter().filter(taken).map(|q| q.target.clone()).collect();
    let of = |what: &str| targets.iter().position(|target| target.contains(what));
    assert!(of("/service/register").is_some(), "{targets:?}");
    assert!(of("/service/register") < of("/service/deregister"), "{targets:?}");
}
