//! Registration and discovery through the bridge: against the dev agent always, against real
//! agents, oldest and newest, when `OUTRIGGER_E2E=1`. One script for all of them.

use std::sync::Arc;
use std::time::Duration;

use consulrs::client::{ConsulClient, ConsulClientSettingsBuilder};
use outrigger_consulrs::{Consulrs, ConsulrsConfig};
use outrigger_core::{Dialect, Language, RegistrationState, ServiceName, Snapshot, Status};
use outrigger_dev::Agent;
use outrigger_discovery::{
    Check, Query, Registered, Registrar, Registration, RegistryError, Resolver, SnapshotStream,
};
use outrigger_e2e::consul::{MANAGEMENT_TOKEN, RealConsul, Version};

/// An agent under test.
enum Target {
    Dev(Box<Agent>),
    Real(Box<RealConsul>),
}

impl Target {
    async fn dev() -> Self {
        let agent = Agent::builder().bind(([127, 0, 0, 1], 0).into()).await;
        Self::Dev(Box::new(agent.expect("the dev agent starts")))
    }

    fn real(version: Version) -> Option<Self> {
        let agent = RealConsul::builder(version)?.start().expect("the real agent starts");
        Some(Self::Real(Box::new(agent)))
    }

    fn url(&self) -> String {
        match self {
            Self::Dev(agent) => agent.url(),
            Self::Real(agent) => agent.url(),
        }
    }

    fn bridge(&self) -> Consulrs {
        Consulrs::new(client(&self.url(), "")).expect("a client that may be used")
    }

    async fn restart(&mut self) {
        match self {
            Self::Dev(agent) => agent.restart_empty().await.expect("restarted"),
            Self::Real(agent) => agent.restart().expect("restarted"),
        }
    }

    fn pause(&self) {
        match self {
            Self::Dev(agent) => agent.pause(),
            Self::Real(agent) => agent.pause(),
        }
    }

    fn resume(&self) {
        match self {
            Self::Dev(agent) => agent.resume(),
            Self::Real(agent) => agent.resume(),
        }
    }
}

fn client(url: &str, token: &str) -> ConsulClient {
    let settings = ConsulClientSettingsBuilder::default().address(url).token(token).build();
    ConsulClient::new(settings.expect("settings")).expect("a client")
}

fn name(text: &str) -> ServiceName {
    text.parse().expect("a name")
}

fn stock() -> Registration {
    Registration::new(name("stock"), 9101)
        .with_address([127, 0, 0, 1].into())
        .with_version("1.2.3")
        .with_zone("eu-1")
        .with_tag("blue")
        .with_checks([Check::Ttl { ttl: Duration::from_secs(6) }])
}

async fn within<T>(secs: u64, what: &str, wait: impl Future<Output = T>) -> T {
    let waited = tokio::time::timeout(Duration::from_secs(secs), wait).await;
    waited.unwrap_or_else(|_| panic!("{what} did not happen within {secs} s"))
}

async fn until(
    stream: &mut SnapshotStream,
    what: &str,
    fits: impl Fn(&Snapshot) -> bool,
) -> Arc<Snapshot> {
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

async fn becomes(handle: &Registered, secs: u64, wanted: RegistrationState) {
    within(secs, wanted.as_str(), async {
        while handle.state() != wanted {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
}

/// What every registrar and resolver promises, told, changed, lost and taken back.
async fn conforms(mut target: Target) {
    let bridge = target.bridge();
    let mut watch = bridge.watch(&Query::new(name("stock")));
    until(&mut watch, "an unknown service", |s| s.is_empty()).await;

    let handle = bridge.register(stock()).await.expect("valid");
    within(20, "registration", handle.settled()).await;
    assert_eq!(handle.state(), RegistrationState::Registered);

    let passing = |s: &Snapshot| s.instances.iter().any(|i| i.status == Status::Passing);
    let snapshot = until(&mut watch, "one passing instance", passing).await;
    let [instance] = &*snapshot.instances else { panic!("{snapshot:?}") };
    assert_eq!(&instance.id, handle.id());
    assert_eq!(instance.dialect, Dialect::Outrigger);
    assert_eq!(instance.language, Some(Language::Rust));
    assert_eq!(instance.version.as_deref(), Some("1.2.3"));
    assert_eq!(instance.zone.as_deref(), Some("eu-1"));
    assert!(instance.tags.iter().any(|tag| &**tag == "blue"), "{instance:?}");

    handle.report(Status::Warning, "slow disk").await.expect("told");
    until(&mut watch, "warning", |s| s.instances[0].status == Status::Warning).await;
    handle.report(Status::Passing, "").await.expect("told");
    until(&mut watch, "passing", |s| s.instances[0].status == Status::Passing).await;
    handle.maintenance(true, "new disk & fan").await.expect("told");
    until(&mut watch, "maintenance", |s| s.instances[0].status == Status::Critical).await;
    assert_eq!(handle.state(), RegistrationState::Maintenance);
    handle.maintenance(false, "").await.expect("told");
    until(&mut watch, "no maintenance", |s| s.instances[0].status == Status::Passing).await;

    let second = stock().with_id("stock-second".parse().expect("an id"));
    let second = bridge.register(second).await.expect("valid");
    until(&mut watch, "two", |s| s.instances.len() == 2).await;
    let mut catalogue = bridge.catalogue(None);
    within(10, "the catalogue lists the service", async {
        while !catalogue.next().await.expect("no end").services.contains_key("stock") {}
    })
    .await;
    second.drain(Duration::from_millis(10)).await.expect("taken back");
    until(&mut watch, "one again", |s| s.instances.len() == 1).await;

    // The agent hangs: reports end in time; when it goes on, so do we.
    target.pause();
    let told = within(12, "a report that ends", handle.report(Status::Warning, "")).await;
    assert!(matches!(told, Err(RegistryError::Timeout { .. })), "{told:?}");
    assert_eq!(handle.state(), RegistrationState::HeartbeatMissed);
    target.resume();
    becomes(&handle, 12, RegistrationState::Registered).await;
    handle.report(Status::Passing, "").await.expect("told");

    // The agent loses its memory: the next heartbeat is of an unknown check.
    target.restart().await;
    becomes(&handle, 15, RegistrationState::Restored).await;
    let mut fresh = target.bridge().watch(&Query::new(name("stock")));
    until(&mut fresh, "registered again", passing).await;

    drop(handle);
    within(20, "a dropped handle takes its instance back", async {
        let other = target.bridge();
        loop {
            let seen = other.watch(&Query::new(name("stock"))).next().await;
            if seen.is_some_and(|s| s.is_empty()) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_dev_agent_registers_tells_loses_and_takes_back() {
    conforms(Target::dev().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_newest_agent_registers_tells_loses_and_takes_back() {
    let Some(target) = Target::real(Version::New) else { return };
    conforms(target).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_oldest_agent_registers_tells_loses_and_takes_back() {
    let Some(target) = Target::real(Version::Old) else { return };
    conforms(target).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registration_starts_before_its_agent_does() {
    let agent = Agent::builder().bind(([127, 0, 0, 1], 0).into()).await.expect("started");
    agent.stop().await;
    let bridge = Consulrs::new(client(&agent.url(), "")).expect("valid");
    let handle = bridge.register(stock()).await.expect("valid at once");
    assert_eq!(handle.state(), RegistrationState::Pending);
    agent.restart_empty().await.expect("back");
    within(10, "registration", handle.settled()).await;
    handle.deregister().await.expect("taken back");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_without_rights_is_denied_and_the_rule_is_named() {
    let builder = Agent::builder().acl(MANAGEMENT_TOKEN);
    let agent = builder.bind(([127, 0, 0, 1], 0).into()).await.expect("started");
    let bridge = Consulrs::new(client(&agent.url(), "")).expect("valid");
    let handle = bridge.register(stock()).await.expect("valid");
    let denied = handle.report(Status::Passing, "").await.expect_err("no rights");
    assert!(denied.to_string().contains("service \"stock\" write"), "{denied}");
    drop(handle);

    let bridge = Consulrs::new(client(&agent.url(), MANAGEMENT_TOKEN)).expect("valid");
    assert!(!format!("{bridge:?}").contains(MANAGEMENT_TOKEN), "{bridge:?}");
    let handle = bridge.register(stock()).await.expect("valid");
    handle.report(Status::Passing, "").await.expect("allowed");
    assert!(!format!("{handle:?}").contains(MANAGEMENT_TOKEN), "{handle:?}");
    handle.deregister().await.expect("taken back");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_waits_and_hears_of_a_change_at_once() {
    let agent = Agent::builder().bind(([127, 0, 0, 1], 0).into()).await.expect("started");
    let config = ConsulrsConfig::default().with_wait(Duration::from_secs(60));
    let bridge = Consulrs::with_config(client(&agent.url(), ""), config).expect("valid");
    let mut watch = bridge.watch(&Query::new(name("stock")));
    until(&mut watch, "empty", |s| s.is_empty()).await;
    // Long enough for the second question to be waiting.
    tokio::time::sleep(Duration::from_millis(300)).await;
    let handle = bridge.register(stock()).await.expect("valid");
    let heard = within(3, "the change", watch.next()).await.expect("a snapshot");
    assert_eq!(heard.instances.len(), 1);
    handle.deregister().await.expect("taken back");
}

#[tokio::test]
async fn clients_that_make_consulrs_panic_and_ids_that_break_paths_are_refused() {
    for (url, token) in [
        ("localhost:8500", ""),
        ("http://127.0.0.1:8500/prefix", ""),
        ("http://127.0.0.1:8500", "canary\r\n"),
    ] {
        let error = Consulrs::new(client(url, token)).expect_err("refused");
        assert!(!format!("{error} {error:?}").contains("canary"), "{error}");
    }
    let bridge = Consulrs::new(client("http://127.0.0.1:1", "")).expect("valid");
    let odd = stock().with_id("stock 1".parse().expect("an id"));
    let refused = bridge.register(odd).await.expect_err("refused");
    assert!(matches!(refused, RegistryError::Invalid(_)), "{refused}");
}
