//! Against real agents, oldest and newest: only when `OUTRIGGER_E2E=1`.

use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use outrigger_consul::{AgentAddress, Consul, ConsulConfig, SessionConfig};
use outrigger_core::{Dialect, Language, RegistrationState, ServiceName, Snapshot, Status};
use outrigger_discovery::{Query, Registrar, Registration, Resolver, SnapshotStream};

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
        let mut command = Command::new(&binary);
        command.args(["agent", "-dev", "-bind", "127.0.0.1", "-client", "127.0.0.1"]);
        let names = ["-http-port", "-server-port", "-serf-lan-port", "-serf-wan-port"];
        for (name, port) in names.iter().zip(ports) {
            command.arg(name).arg(port.to_string());
        }
        command.args(["-grpc-port", "-1", "-dns-port", "-1"]);
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
    let first = within(20, "a missing key", watch.next()).await.expect("a state");
    assert_eq!(first.entry, None);
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
