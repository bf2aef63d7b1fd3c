//! No secret comes out: neither in logs at their most talkative, nor in errors, nor in `Debug`.

#[path = "support/fake.rs"]
#[expect(dead_code, reason = "each suite uses a part of it")]
mod fake;

use std::io::Write;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use fake::{Act, Fake, Question, answer, instances, ok};
use outrigger_consul::{BasicAuth, Consul, Token, TokenSource};
use outrigger_discovery::{Query, Registrar, Registration, Resolver};
use tracing_subscriber::filter::LevelFilter;

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().expect("not poisoned").write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn no_token_and_no_password_comes_out_anywhere() {
    let log = Log::default();
    let writer = log.clone();
    tracing_subscriber::fmt()
        .with_max_level(LevelFilter::TRACE)
        .with_writer(move || writer.clone())
        .init();
    let fake = Fake::start(|question: &Question| {
        assert_eq!(question.header("x-consul-token"), Some("canary-token"));
        assert!(question.header("authorization").is_some_and(|v| v.starts_with("Basic ")));
        if question.target.starts_with("/v1/health/service/stock") && question.index() == 0 {
            return Act::Answer(ok(5, &instances([80])));
        }
        if question.target.starts_with("/v1/kv") {
            return Act::Reset;
        }
        Act::Answer(answer("403 Forbidden", &[], b"ACL not found"))
    })
    .await;
    let mut config = fake.config();
    config.token = TokenSource::Fixed(Token::new("canary-token").expect("a token"));
    config.basic_auth = Some(BasicAuth::new("me:canary-password").expect("a pair"));
    let shown = format!("{config:?}");
    let consul = Consul::new(config).expect("valid");
    let mut watch = consul.watch(&Query::new("stock".parse().expect("a name")));
    watch.next().await.expect("a snapshot");
    let handle = consul.register(Registration::new("stock".parse().expect("a name"), 80)).await;
    let handle = handle.expect("valid");
    let denied = handle.report(outrigger_core::Status::Passing, "").await.expect_err("denied");
    let reset = consul.kv().get("outrigger/policy/stock").await.expect_err("reset");
    tokio::time::sleep(Duration::from_millis(500)).await;
    let all =
        format!("{shown} {consul:?} {handle:?} {watch:?} {denied} {denied:?} {reset} {reset:?}");
    drop(handle);
    let logged = String::from_utf8_lossy(&log.0.lock().expect("not poisoned")).into_owned();
    assert!(logged.contains("denied"), "the log is being written: {logged}");
    // `canary-password` and `me:canary-password` in base64.
    for secret in ["canary", "Y2FuYXJ5", "bWU6Y2FuYXJ5"] {
        assert!(!logged.contains(secret), "{secret} in the log");
        assert!(!all.contains(secret), "{secret} in {all}");
    }
}
