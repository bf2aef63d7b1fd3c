//! Against real agents, oldest and newest: only when `OUTRIGGER_E2E=1`.

use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use outrigger_consul::{AgentAddress, Consul, ConsulConfig, SessionConfig, Token, TokenSource};
use outrigger_core::{
    Dialect, Freshness, Language, RegistrationState, ServiceName, Snapshot, Status,
};
use outrigger_discovery::{
    Query, Registrar, Registration, RegistryError, Resolver, SnapshotStream,
};

/// May do everything.
const ROOT: &str = "9f1c6f6e-6c0b-4a3e-8f57-0d2f0b7f1a11";

struct Agent {
    child: Child,
    ports: [u16; 4],
    binary: PathBuf,
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[expect(clippy::print_stdout, reason = "a skip is told loudly")]
fn binary(version: &str) -> Option<PathBuf> {
    if std::env::var("OUTRIGGER_E2E").as_deref() != Ok("1") {
        println!("skipped: set OUTRIGGER_E2E=1 to run against consul {version}");
        return None;
    }
    let tools = std::env::var_os("OUTRIGGER_TOOLS").map(PathBuf::from).or_else(|| {
        Some(PathBuf::from(std::env::var_os("HOME")?).join(".cache/outrigger-tools"))
    })?;
    let path = tools.join(format!("consul-{version}/consul"));
    assert!(path.exists(), "{} is missing: run .ci/install", path.display());
    Some(path)
}

fn free_ports() -> [u16; 4] {
    let listeners = [0; 4].map(|_| TcpListener::bind(("127.0.0.1", 0)).expect("a port"));
    listeners.map(|listener| listener.local_addr().expect("an address").port())
}

impl Agent {
    fn start(binary: PathBuf) -> Self {
        Self::start_at(binary, free_ports())
    }

    fn start_at(binary: PathBuf, ports: [u16; 4]) -> Self {
        Self::start_with(binary, ports, &[])
    }

    fn start_with(binary: PathBuf, ports: [u16; 4], further: &[&str]) -> Self {
        let mut command = Command::new(&binary);
        command.args(["agent", "-dev", "-bind", "127.0.0.1", "-client", "127.0.0.1"]);
        let names = ["-http-port", "-server-port", "-serf-lan-port", "-serf-wan-port"];
        for (name, port) in names.iter().zip(ports) {
            command.arg(name).arg(port.to_string());
        }
        command.args(["-grpc-port", "-1", "-dns-port", "-1"]).args(further);
        if !binary.to_string_lossy().contains("1.8.") {
            command.args(["-grpc-tls-port", "-1"]);
        }
        let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("started");
        Self { child, ports, binary }
    }

    fn consul(&self) -> Consul {
        let address: AgentAddress =
            format!("127.0.0.1:{}", self.ports[0]).parse().expect("an address");
        Consul::new(ConsulConfig::new(address)).expect("valid")
    }

    /// Starts one that denies everything by default; `root` may do all.
    fn start_with_acls(binary: PathBuf) -> Self {
        let old = binary.to_string_lossy().contains("1.8.");
        let root = if old { "master" } else { "initial_management" };
        let acl = format!(
            r#"acl {{ enabled = true default_policy = "deny" tokens {{ {root} = "{ROOT}" agent = "{ROOT}" }} }}"#
        );
        Self::start_with(binary, free_ports(), &["-hcl", &acl])
    }

    /// Asks with a token of its own.
    async fn ask(&self, method: &str, path: &str, body: &str) -> (u16, String) {
        use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
        let mut stream =
            tokio::net::TcpStream::connect(("127.0.0.1", self.ports[0])).await.expect("there");
        let length = body.len();
        let text = format!(
            "{method} {path} HTTP/1.0\r\nX-Consul-Token: {ROOT}\r\nContent-Length: {length}\r\n\r\n{body}"
        );
        stream.write_all(text.as_bytes()).await.expect("asked");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.expect("answered");
        let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
        let status = head.split(' ').nth(1).expect("a status").parse().expect("a number");
        (status, body.to_owned())
    }

    async fn ready(&self) {
        within(20, "a leader", async {
            loop {
                let up = tokio::net::TcpStream::connect(("127.0.0.1", self.ports[0])).await.is_ok();
                if up && self.ask("GET", "/v1/kv/x?consistent", "").await.0 == 404 {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        })
        .await;
    }

    /// Makes a token that may do what some rules say; its accessor and its secret.
    async fn token(&self, name: &str, rules: &str) -> (String, String) {
        let policy = serde_json::json!({"Name": name, "Rules": rules}).to_string();
        let made = self.ask("PUT", "/v1/acl/policy", &policy).await;
        assert_eq!(made.0, 200, "{}", made.1);
        let token = format!(r#"{{"Policies":[{{"Name":"{name}"}}]}}"#);
        let (status, body) = self.ask("PUT", "/v1/acl/token", &token).await;
        assert_eq!(status, 200, "{body}");
        let made: serde_json::Value = serde_json::from_str(&body).expect("JSON");
        let text = |key: &str| made[key].as_str().expect("a text").to_owned();
        (text("AccessorID"), text("SecretID"))
    }

    fn consul_with(&self, token: TokenSource) -> Consul {
        let address: AgentAddress =
            format!("127.0.0.1:{}", self.ports[0]).parse().expect("an address");
        Consul::new(ConsulConfig::new(address).with_token(token)).expect("valid")
    }

    /// Kills it, and starts another without any memory on the same ports.
    fn restart(mut self) -> Self {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let (binary, ports) = (self.binary.clone(), self.ports);
        std::mem::forget(self);
        Self::start_at(binary, ports)
    }
}

fn name(text: &str) -> ServiceName {
    text.parse().expect("a name")
}

async fn within<T>(secs: u64, what: &str, wait: impl Future<Output = T>) -> T {
    let waited = tokio::time::timeout(Duration::from_secs(secs), wait).await;
    waited.unwrap_or_else(|_| panic!("{what} did not happen within {secs} s"))
}

async fn until(
    stream: &mut SnapshotStream,
    what: &str,
    fits: impl Fn(&Snapshot) -> bool,
) -> std::sync::Arc<Snapshot> {
    within(40, what, async {
        loop {
            let snapshot = stream.next().await.expect("a stream does not end");
            if fits(&snapshot) {
                return snapshot;
            }
        }
    })
    .await
}

async fn register_watch_and_take_back(version: &str) {
    let Some(binary) = binary(version) else { return };
    let agent = Agent::start(binary);
    let consul = agent.consul();
    let mut watch = consul.watch(&Query::new(name("stock")));

    // The agent is not up yet: both wait for it by themselves.
    let registration = Registration::new(name("stock"), 9101)
        .with_address([127, 0, 0, 1].into())
        .with_version("1.2.3")
        .with_zone("eu-1")
        .with_tag("blue");
    let handle = consul.register(registration.clone()).await.expect("valid");
    within(20, "registration", handle.settled()).await;
    assert_eq!(handle.state(), RegistrationState::Registered);

    let snapshot = until(&mut watch, "one passing instance", |s| {
        s.instances.iter().any(|i| i.status == Status::Passing)
    })
    .await;
    let [instance] = &*snapshot.instances else { panic!("{snapshot:?}") };
    assert_eq!(&instance.id, handle.id());
    assert_eq!(instance.dialect, Dialect::Outrigger);
    assert_eq!(instance.language, Some(Language::Rust));
    assert_eq!(instance.version.as_deref(), Some("1.2.3"));
    assert_eq!(instance.zone.as_deref(), Some("eu-1"));

    handle.report(Status::Warning, "slow disk").await.expect("told");
    until(&mut watch, "warning", |s| s.instances[0].status == Status::Warning).await;
    handle.report(Status::Passing, "").await.expect("told");
    until(&mut watch, "passing", |s| s.instances[0].status == Status::Passing).await;
    handle.maintenance(true, "new disk").await.expect("told");
    until(&mut watch, "maintenance", |s| s.instances[0].status == Status::Critical).await;
    assert_eq!(handle.state(), RegistrationState::Maintenance);
    handle.maintenance(false, "").await.expect("told");
    until(&mut watch, "no maintenance", |s| s.instances[0].status == Status::Passing).await;

    let second = registration.with_id("stock-second".parse().expect("an id"));
    let second = consul.register(second).await.expect("valid");
    until(&mut watch, "two", |s| s.instances.len() == 2).await;
    second.drain(Duration::from_millis(10)).await.expect("taken back");
    until(&mut watch, "one again", |s| s.instances.len() == 1).await;

    // The agent loses its memory.
    let agent = agent.restart();
    let restored = async {
        while handle.state() != RegistrationState::Restored {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    within(11, "registration after a restart", restored).await;
    let third = consul.watch(&Query::new(name("other")));
    until(&mut { third }, "an empty service", |s| s.is_empty()).await;

    drop(handle);
    let other = agent.consul();
    let gone = async {
        loop {
            let seen = other.watch(&Query::new(name("stock"))).next().await;
            if seen.is_some_and(|s| s.is_empty()) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    within(10, "a dropped handle takes its instance back", gone).await;
}

async fn keys_and_sessions(version: &str) {
    let Some(binary) = binary(version) else { return };
    let agent = Agent::start(binary);
    let consul = agent.consul();
    let kv = consul.kv();
    let mut watch = kv.watch("outrigger/policy/stock").expect("a key");
    // Until the agent is up, what is told is that nothing is known.
    let missing = async {
        loop {
            let state = watch.next().await.expect("a state");
            assert_eq!(state.entry, None);
            if state.freshness == Freshness::Live {
                return;
            }
        }
    };
    within(20, "a missing key", missing).await;
    assert!(kv.put_if("outrigger/policy/stock", "one", 0).await.expect("written"));
    let state = within(5, "the key", watch.next()).await.expect("a state");
    assert_eq!(state.value().map(|v| &**v), Some(&b"one"[..]));
    let index = state.entry.as_ref().expect("an entry").modify_index;
    assert!(!kv.put_if("outrigger/policy/stock", "two", index + 1).await.expect("asked"));
    assert!(kv.put_if("outrigger/policy/stock", "two", index).await.expect("written"));
    kv.put("outrigger/policy/odd%2fé", "odd").await.expect("written");
    let keys = kv.keys("outrigger/policy/").await.expect("listed");
    assert_eq!(keys, ["outrigger/policy/odd%2fé", "outrigger/policy/stock"]);
    let odd = kv.get("outrigger/policy/odd%2fé").await.expect("read").expect("there");
    assert_eq!(&*odd.value, b"odd");

    let session = consul.session(&SessionConfig::default()).await.expect("a session");
    let other = consul.session(&SessionConfig::default()).await.expect("a session");
    assert!(kv.acquire("outrigger/lock", "me", session.id()).await.expect("asked"));
    assert!(!kv.acquire("outrigger/lock", "you", other.id()).await.expect("asked"));
    assert!(kv.release("outrigger/lock", "", session.id()).await.expect("asked"));
    session.destroy().await.expect("destroyed");

    kv.delete("outrigger/policy/stock").await.expect("deleted");
    let gone = async { while watch.next().await.expect("a state").entry.is_some() {} };
    within(5, "the deletion", gone).await;
    assert_eq!(kv.get("outrigger/policy/stock").await.expect("read"), None);

    let mut catalogue = consul.catalogue(None);
    let list = within(5, "the catalogue", catalogue.next()).await.expect("a list");
    assert!(list.services.contains_key("consul"));
}

/// The rules that suffice for a service, as documented, each with what fails without it.
const RULES: [&str; 4] = [
    r#"service "stock" { policy = "write" }"#,
    r#"service_prefix "" { policy = "read" }"#,
    r#"node_prefix "" { policy = "read" }"#,
    r#"key_prefix "outrigger/" { policy = "read" }"#,
];

fn denied<T: std::fmt::Debug>(result: Result<T, RegistryError>) -> String {
    match result {
        Err(error @ RegistryError::Denied { .. }) => error.to_string(),
        other => panic!("denied was expected: {other:?}"),
    }
}

async fn the_documented_rights_suffice(version: &str) {
    let Some(binary) = binary(version) else { return };
    let agent = Agent::start_with_acls(binary);
    agent.ready().await;
    let with = async |name: &str, rules: &[&str]| {
        let (_, secret) = agent.token(name, &rules.join("\n")).await;
        agent.consul_with(TokenSource::Fixed(Token::new(&secret).expect("a token")))
    };
    let stock = || Registration::new(name("stock"), 80).with_address([127, 0, 0, 1].into());

    let consul = with("enough", &RULES).await;
    let handle = consul.register(stock()).await.expect("valid");
    within(10, "registration", handle.settled()).await;
    let mut watch = consul.watch(&Query::new(name("stock")));
    until(&mut watch, "one", |s| s.instances.len() == 1).await;
    handle.maintenance(true, "disk").await.expect("allowed");
    handle.maintenance(false, "").await.expect("allowed");
    assert_eq!(consul.kv().get("outrigger/policy/stock").await.expect("allowed"), None);
    let mut catalogue = consul.catalogue(None);
    within(10, "the catalogue", async {
        while !catalogue.next().await.expect("a list").services.contains_key("stock") {}
    })
    .await;

    // Each rule in turn.
    let without = with("no-write", &RULES[1..]).await;
    let other = without.register(stock().with_id("stock-2".parse().expect("an id")));
    let other = other.await.expect("valid");
    let message = denied(other.report(Status::Passing, "").await);
    assert!(message.contains(r#"service "stock" write"#), "{message}");
    let message = denied(without.kv().put("outrigger/policy/stock", "x").await);
    assert!(message.contains(r#"key "outrigger/policy/stock" write"#), "{message}");
    let without = with("no-key", &RULES[..3]).await;
    let message = denied(without.kv().get("outrigger/policy/stock").await);
    assert!(message.contains(r#"key "outrigger/policy/stock" read"#), "{message}");
    // Without the right to read services or nodes the agent answers with nothing, not with an
    // error: a set that worked is held, one that never did is empty.
    for (label, rules) in [("no-service", [RULES[0], RULES[2]]), ("no-node", [RULES[0], RULES[1]])]
    {
        let without = with(label, &rules).await;
        let first = within(10, label, async {
            let query = Query::new(name(if label == "no-node" { "stock" } else { "consul" }));
            without.watch(&query).next().await.expect("a snapshot")
        });
        assert!(first.await.is_empty(), "{label}");
    }
    drop(other);
    handle.deregister().await.expect("allowed");
}

async fn a_token_is_replaced(version: &str) {
    let Some(binary) = binary(version) else { return };
    let agent = Agent::start_with_acls(binary);
    agent.ready().await;
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("token");
    let (accessor, secret) = agent.token("first", &RULES.join("\n")).await;
    std::fs::write(&path, &secret).expect("written");
    let consul = agent.consul_with(TokenSource::File(path.clone()));
    let registration = Registration::new(name("stock"), 80).with_address([127, 0, 0, 1].into());
    let handle = consul.register(registration).await.expect("valid");
    let mut watch = consul.watch(&Query::new(name("stock")));
    until(&mut watch, "one", |s| s.instances.len() == 1).await;

    let gone = agent.ask("DELETE", &format!("/v1/acl/token/{accessor}"), "").await;
    assert_eq!(gone.0, 200, "{}", gone.1);
    // Every change wakes the watch, and the next question is denied.
    let denied = async {
        while handle.report(Status::Passing, "").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    within(10, "a denial", denied).await;
    let (_, secret) = agent.token("second", &RULES.join("\n")).await;
    std::fs::write(&path, &secret).expect("written");
    let allowed = async {
        while handle.report(Status::Warning, "").await.is_err() {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        loop {
            let snapshot = watch.next().await.expect("a snapshot");
            assert_eq!(snapshot.instances.len(), 1, "nothing was lost");
            if snapshot.freshness == Freshness::Live
                && snapshot.instances[0].status == Status::Warning
            {
                return;
            }
        }
    };
    within(5, "the new token's answer", allowed).await;
    handle.deregister().await.expect("allowed");
}

async fn five_instances_are_restored(version: &str) {
    let Some(binary) = binary(version) else { return };
    let agent = Agent::start(binary);
    let consul = agent.consul();
    let mut handles = Vec::new();
    for port in 1..=5 {
        let registration =
            Registration::new(name("stock"), port).with_address([127, 0, 0, 1].into());
        handles.push(consul.register(registration).await.expect("valid"));
    }
    let mut watch = consul.watch(&Query::new(name("stock")));
    let all = |s: &Snapshot| {
        s.instances.len() == 5 && s.instances.iter().all(|i| i.status == Status::Passing)
    };
    until(&mut watch, "five", all).await;
    let agent = agent.restart();
    let restored = async {
        loop {
            let states: Vec<_> =
                handles.iter().map(outrigger_discovery::Registered::state).collect();
            if states.iter().all(|state| *state == RegistrationState::Restored) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    // TTL/2 + 3 s, from the start of the new agent.
    within(10, "five registrations again", restored).await;
    let fresh = agent.consul();
    let mut look = fresh.watch(&Query::new(name("stock")));
    let snapshot = within(5, "what the agent knows", look.next()).await.expect("a snapshot");
    assert!(all(&snapshot), "{snapshot:?}");
    // Whoever watched lost nobody in between, and is fresh again.
    until(&mut watch, "fresh", |s| {
        assert_eq!(s.instances.len(), 5, "nothing was lost");
        s.freshness == Freshness::Live
    })
    .await;
}

async fn a_stop_and_a_death_lose_nobody(version: &str) {
    let Some(binary) = binary(version) else { return };
    let mut agent = Agent::start(binary);
    let consul = agent.consul();
    let registration =
        |port| Registration::new(name("stock"), port).with_address([127, 0, 0, 1].into());
    let _first = consul.register(registration(1)).await.expect("valid");
    let mut watch = consul.watch(&Query::new(name("stock")));
    until(&mut watch, "one", |s| s.instances.len() == 1).await;
    let signal = |agent: &Agent, signal: &str| {
        let id = agent.child.id().to_string();
        let sent = Command::new("kill").args([signal, &id]).status().expect("sent");
        assert!(sent.success());
    };
    signal(&agent, "-STOP");
    let _second = consul.register(registration(2)).await.expect("valid");
    tokio::time::sleep(Duration::from_secs(12)).await;
    assert!(!consul.is_reachable(), "the heartbeats found out");
    assert_eq!(consul.watched()[0].instances.len(), 1, "nothing was lost");
    signal(&agent, "-CONT");
    within(5, "the second instance", async {
        while watch.next().await.expect("a snapshot").instances.len() != 2 {}
    })
    .await;

    agent.child.kill().expect("killed");
    agent.child.wait().expect("ended");
    until(&mut watch, "stale", |s| {
        assert_eq!(s.instances.len(), 2, "nothing was lost");
        s.freshness == Freshness::Stale
    })
    .await;
    tokio::time::sleep(Duration::from_secs(5)).await;
    let agent = agent.restart();
    within(10, "both again, passing", async {
        let fresh = agent.consul();
        let mut look = fresh.watch(&Query::new(name("stock")));
        while look
            .next()
            .await
            .is_none_or(|s| s.instances.iter().filter(|i| i.status == Status::Passing).count() != 2)
        {
        }
    })
    .await;
    within(10, "fresh", async {
        loop {
            let snapshot = watch.next().await.expect("a snapshot");
            assert_eq!(snapshot.instances.len(), 2, "nothing was lost");
            if snapshot.freshness == Freshness::Live {
                return;
            }
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_newest_agent_registers_tells_and_takes_back() {
    register_watch_and_take_back("1.22.7").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_oldest_agent_registers_tells_and_takes_back() {
    register_watch_and_take_back("1.8.7").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_newest_agent_keeps_keys_and_sessions() {
    keys_and_sessions("1.22.7").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_oldest_agent_keeps_keys_and_sessions() {
    keys_and_sessions("1.8.7").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_newest_agent_restores_five_instances_after_a_loss_of_memory() {
    five_instances_are_restored("1.22.7").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_oldest_agent_restores_five_instances_after_a_loss_of_memory() {
    five_instances_are_restored("1.8.7").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_newest_agent_needs_no_more_than_the_documented_rights() {
    the_documented_rights_suffice("1.22.7").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_oldest_agent_needs_no_more_than_the_documented_rights() {
    the_documented_rights_suffice("1.8.7").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_newest_agent_takes_a_new_token() {
    a_token_is_replaced("1.22.7").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_oldest_agent_takes_a_new_token() {
    a_token_is_replaced("1.8.7").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_newest_agent_loses_nobody_by_a_stop_or_a_death() {
    a_stop_and_a_death_lose_nobody("1.22.7").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_oldest_agent_loses_nobody_by_a_stop_or_a_death() {
    a_stop_and_a_death_lose_nobody("1.8.7").await;
}
