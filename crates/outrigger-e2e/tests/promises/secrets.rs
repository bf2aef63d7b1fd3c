//! What is secret is told to nobody.

use std::io::{self, Write};
use std::sync::{Arc, Mutex};

use outrigger::consul::{Consul, ConsulConfig};
use outrigger_dev::Agent;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tracing_subscriber::fmt::MakeWriter;

use crate::stage::{Serving, free_address, ms, text, turn};

/// The agent's own management token, so that it is really used.
const TOKEN: &str = "c0ffee00-aaaa-bbbb-cccc-canary000001";
const PASSWORD: &str = "canary-password-0002";
/// In a policy that is refused for something else.
const HEADER: &str = "canary-header-0004";
/// One that the agent does not know.
const WRONG_TOKEN: &str = "c0ffee00-aaaa-bbbb-cccc-canary000003";

/// Everything that was logged.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().expect("no panic").extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Log {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

fn config(address: std::net::SocketAddr, token: &'static str) -> ConsulConfig {
    ConsulConfig::from_lookup(|variable| match variable {
        "CONSUL_HTTP_ADDR" => Some(address.to_string()),
        "CONSUL_HTTP_AUTH" => Some(format!("admin:{PASSWORD}")),
        "CONSUL_HTTP_TOKEN" => Some(token.to_owned()),
        _ => None,
    })
    .expect("a configuration")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tokens_and_passwords_are_in_no_log_debug_metric_or_admin_answer() {
    let _turn = turn().await;
    let log = Log::default();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_ansi(false)
        .with_writer(log.clone())
        .finish();
    // For the whole process: tasks of other threads are to be heard too.
    tracing::subscriber::set_global_default(subscriber).expect("the only one in this process");

    let address = free_address().await;
    let agent = Agent::builder().acl(TOKEN).bind(address).await.expect("an agent");
    let mut told = String::new();
    let mut tell = |what: &dyn std::fmt::Debug| told.push_str(&format!("{what:?} {what:#?}\n"));

    for token in [TOKEN, WRONG_TOKEN] {
        let config = config(address, token);
        tell(&config);
        let consul = Arc::new(Consul::new(config).expect("a client"));
        tell(&consul);
        let builder = outrigger::builder("stock")
            .registry(Arc::clone(&consul) as _, Some(Arc::clone(&consul) as _))
            .keys(Arc::clone(&consul) as _)
            .admin(std::net::SocketAddr::from(([127, 0, 0, 1], 0)))
            .notice(ms(10));
        tell(&builder);
        let stock = Serving::start(builder, |_, _| async { text("42") }).await;
        if token == TOKEN {
            tokio::time::timeout(ms(10_000), stock.fleet.registered()).await.expect("registered");
            let answer = stock.fleet.get("http://stock/").await.expect("an answer");
            assert_eq!(answer.status(), 200, "the token is what opens the registry");
            tell(&answer);
        }
        // An error at the registry, with its chain, is as silent.
        let kv = consul.kv();
        match kv.get("outrigger/x").await {
            Ok(entry) => tell(&entry),
            Err(error) => {
                tell(&error);
                tell(&chain_of(&error));
            }
        }
        tell(&stock.fleet);
        tell(&stock.fleet.client());
        tell(&stock.fleet.telemetry());
        tell(&stock.fleet.services());
        let admin = stock.fleet.admin_address().expect("a surface");
        // What is refused of a policy is shown with its place, and not with what stands there.
        let policy = format!(
            "version: 1\nservice: stock\nroutes:\n  - name: all\n    headers: {{ request: {{ set: \
             {{ authorization: Bearer {HEADER} }} }} }}\n    timeuot: 5s\n"
        );
        if token == TOKEN {
            consul.kv().put("outrigger/policy/stock", policy.into_bytes()).await.expect("written");
            let refused = async {
                while !answer(admin, "/api/v1/state").await.contains("timeuot") {
                    tokio::time::sleep(ms(20)).await;
                }
            };
            tokio::time::timeout(ms(10_000), refused).await.expect("the policy is refused");
        }
        for path in ["/", "/page.js", "/healthz", "/readyz", "/metrics", "/api/v1/state"] {
            tell(&answer(admin, path).await);
        }
        tell(&events(admin).await);
        stock.end().await;
    }
    // What is refused is quoted, and may hold a secret in the wrong place.
    for (wrong, value) in [
        ("CONSUL_HTTP_ADDR", format!("http://admin:{PASSWORD}@127.0.0.1:8500")),
        ("CONSUL_HTTP_TOKEN", format!("{TOKEN}\n{TOKEN}")),
        ("CONSUL_HTTP_AUTH", PASSWORD.to_owned()),
    ] {
        let bad = ConsulConfig::from_lookup(|variable| (variable == wrong).then(|| value.clone()));
        let error = bad.expect_err("that is refused");
        tell(&error);
        tell(&chain_of(&error));
    }
    let url = format!("http://admin:{PASSWORD}@127.0.0.1:8500");
    let error = outrigger::builder("stock").consul(url).join().await.expect_err("refused");
    tell(&error);
    tell(&chain_of(&error));
    // The agent goes: what is logged about that is heard too.
    agent.stop().await;
    tokio::time::sleep(ms(300)).await;

    let log = String::from_utf8_lossy(&log.0.lock().expect("no panic")).into_owned();
    let basic = base64_of(&format!("admin:{PASSWORD}"));
    let mut hits = Vec::new();
    for (what, secret) in [
        ("token", TOKEN),
        ("password", PASSWORD),
        ("wrong token", WRONG_TOKEN),
        ("basic", &basic),
        ("header", HEADER),
    ] {
        for (place, text) in [("log", &log), ("debug", &told)] {
            for line in text.lines().filter(|line| line.contains(secret)) {
                hits.push(format!("{what} in {place}: {line}"));
            }
        }
    }
    println!(
        "secrets: {} lines of log at TRACE, {} bytes of Debug and metrics, {} hits",
        log.lines().count(),
        told.len(),
        hits.len()
    );
    assert!(log.contains("TRACE") || log.contains("DEBUG"), "the log is heard:\n{log}");
    assert!(hits.is_empty(), "{}", hits.join("\n"));
}

/// A whole answer of the admin surface.
async fn answer(admin: std::net::SocketAddr, path: &str) -> String {
    let mut stream = ask(admin, path).await;
    let mut text = String::new();
    stream.read_to_string(&mut text).await.expect("text");
    text
}

/// The events so far: the stream goes on, so it is read until it is silent for a moment.
async fn events(admin: std::net::SocketAddr) -> String {
    let mut stream = ask(admin, "/api/v1/events").await;
    let mut text = Vec::new();
    while tokio::time::timeout(ms(200), stream.read_buf(&mut text)).await.is_ok() {}
    let text = String::from_utf8(text).expect("text");
    assert!(text.contains("event-stream") && text.contains("\ndata: {"), "{text}");
    text
}

async fn ask(admin: std::net::SocketAddr, path: &str) -> TcpStream {
    let mut stream = TcpStream::connect(admin).await.expect("it listens");
    let head = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
    stream.write_all(head.as_bytes()).await.expect("sent");
    stream
}

/// Every message of an error's chain.
fn chain_of(error: &dyn std::error::Error) -> String {
    let chain = std::iter::successors(Some(error), |error| error.source());
    chain.map(|error| error.to_string()).collect::<Vec<_>>().join(": ")
}

/// As a header of basic authentication holds it.
fn base64_of(text: &str) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::new();
    for three in text.as_bytes().chunks(3) {
        let bits = three.iter().fold(0_u32, |bits, byte| bits << 8 | u32::from(*byte));
        let bits = bits << (8 * (3 - three.len()));
        for place in 0..4 {
            let six = (bits >> (18 - 6 * place)) & 63;
            let known = place <= three.len();
            out.push(if known { char::from(ALPHABET[six as usize]) } else { '=' });
        }
    }
    out
}
