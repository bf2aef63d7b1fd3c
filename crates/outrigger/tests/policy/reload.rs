//! A change is obeyed within a second, and a bad one is seen and not obeyed.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use outrigger::PolicySource;
use outrigger::core::{Language, Reason};
use outrigger::discovery::{InMemoryRegistry, KeyWatcher, Resolver};
use outrigger::tower::clock;

use crate::fleet::{Caller, Registry, name, policy, text};

/// What a change may take until it is obeyed.
const SOON: Duration = Duration::from_secs(1);

async fn echo(registry: &Registry) -> crate::fleet::Endpoint {
    registry.endpoint(Language::Rust, |_| async { text(200, "") }).await
}

/// Each of these policies aborts every request with a status of its own, so that each answer tells
/// under which it was given.
fn aborts(status: u16) -> String {
    policy(&format!(
        "routes: [ {{ name: all, match: {{ path_prefix: / }}, fault: {{ abort: {{ ratio: 1, status: {status} }} }} }} ]"
    ))
}

async fn status(caller: &Caller) -> u16 {
    match caller.get("/").await {
        Ok(response) => response.status().as_u16(),
        Err(error) => error.status().expect("a refusal"),
    }
}

#[tokio::test]
async fn a_file_is_obeyed_within_a_second_and_a_broken_one_changes_nothing() {
    let registry = Registry::default();
    let _endpoint = echo(&registry).await;
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("stock.yaml");
    std::fs::write(&file, aborts(418)).expect("written");
    registry.push(&aborts(599));
    let caller = registry.builder().policy(folder.path()).join().await.expect("valid settings");
    let caller = Caller(caller);
    assert_eq!(status(&caller).await, 418, "the first call already obeys, and the file wins");
    assert_eq!(caller.view().source, PolicySource::File);

    // As editors do it: beside, and renamed over.
    let started = clock::now();
    std::fs::write(folder.path().join("new"), aborts(451)).expect("written");
    std::fs::rename(folder.path().join("new"), &file).expect("renamed");
    caller.obeys(&aborts(451)).await;
    assert!(started.elapsed() < SOON, "{:?}", started.elapsed());
    assert_eq!(status(&caller).await, 451);

    std::fs::write(&file, "version: 1\nservice: stock\ntiemout: 1s\n").expect("written");
    let view = caller.sees(|view| view.error.is_some()).await;
    let error = view.error.expect("seen");
    for part in [file.to_str().expect("a path"), ":3:1", "tiemout", "timeout"] {
        assert!(error.contains(part), "{error} has no {part}");
    }
    assert_eq!(status(&caller).await, 451, "the last good one");
    let mut page = String::new();
    caller.0.telemetry().metrics().encode(&mut page);
    for line in [
        "outrigger_policy_held{outrigger_service=\"stock\"} 1",
        "outrigger_policy_troubles_total{outrigger_service=\"stock\",outrigger_class=\"invalid\"} 1",
        "outrigger_policy_changes_total{outrigger_service=\"stock\",outrigger_source=\"file\"} 2",
    ] {
        assert!(page.contains(line), "no {line} in\n{page}");
    }

    std::fs::write(&file, aborts(418)).expect("written");
    caller.sees(|view| view.error.is_none()).await;
    assert_eq!(status(&caller).await, 418);
}

#[tokio::test]
async fn a_key_is_obeyed_within_a_second_and_only_a_tombstone_removes_it() {
    let registry = Registry::default();
    let _endpoint = echo(&registry).await;
    let caller = registry.caller().await;
    assert_eq!(status(&caller).await, 200);
    assert_eq!(caller.view().source, PolicySource::Settings);
    assert_eq!(caller.view().version, "default");

    let started = clock::now();
    registry.push(&aborts(418));
    let view = caller.obeys(&aborts(418)).await;
    assert!(started.elapsed() < SOON, "{:?}", started.elapsed());
    assert_eq!((view.source, status(&caller).await), (PolicySource::Kv, 418));

    for (trouble, does) in [
        (
            "denied",
            Box::new(|r: &Registry| r.0.deny_key("outrigger/policy/stock", "denied"))
                as Box<dyn Fn(&Registry)>,
        ),
        ("empty", Box::new(|r: &Registry| r.push(""))),
        ("bytes", Box::new(|r: &Registry| r.push(&"#".repeat(600 << 10)))),
        ("not there", Box::new(|r: &Registry| r.0.remove_key("outrigger/policy/stock"))),
    ] {
        does(&registry);
        caller.sees(|view| view.error.as_deref().is_some_and(|e| e.contains(trouble))).await;
        assert_eq!(status(&caller).await, 418, "{trouble}: the last good one stays");
    }
    registry.push(outrigger_policy::TOMBSTONE);
    let view = caller.sees(|view| view.source == PolicySource::Settings).await;
    assert_eq!((view.error, status(&caller).await), (None, 200));
}

#[tokio::test]
async fn a_default_holds_for_services_without_their_own_and_settings_where_nobody_speaks() {
    let registry = Registry::default();
    let _endpoint = echo(&registry).await;
    let default = "version: 1\nroutes: [ { name: all, match: { path_prefix: / }, \
                   fault: { abort: { ratio: 1, status: 418 } } } ]\n";
    registry.0.set_key("outrigger/policy/_default", default.as_bytes().to_vec());
    let caller = registry.caller().await;
    assert_eq!(status(&caller).await, 418);
    assert_eq!(caller.view().source, PolicySource::DefaultKv);
    registry.push(&policy("timeout: 1s"));
    caller.sees(|view| view.source == PolicySource::Kv).await;
    assert_eq!(status(&caller).await, 200, "whole, and not merged");
}

#[tokio::test]
async fn a_cold_start_without_the_registry_has_rules_as_well_as_endpoints() {
    let registry = Registry::default();
    let _endpoint = echo(&registry).await;
    let saved = tempfile::tempdir().expect("a folder");
    registry.push(&aborts(418));
    let before = registry.builder().snapshots(saved.path()).join().await.expect("valid settings");
    let before = Caller(before);
    assert_eq!(status(&before).await, 418);
    before.0.shutdown(Duration::from_secs(5)).await;
    while !saved.path().join("stock.policy").exists() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }

    let away = Arc::new(Away);
    let after = outrigger::builder("orders")
        .registry(Arc::clone(&away) as Arc<dyn Resolver>, None)
        .keys(away as Arc<dyn KeyWatcher>)
        .snapshots(saved.path())
        .join()
        .await
        .expect("valid settings");
    let after = Caller(after);
    assert_eq!(status(&after).await, 418);
    let view = after.view();
    assert_eq!(view.source, PolicySource::Snapshot);
    assert!(view.error.is_some(), "it is told that nobody confirms it");
    let view = &after.0.services()[0];
    assert_eq!(view.endpoints.len(), 1, "endpoints from the same folder");

    // What was changed on the disk is not believed.
    let path = saved.path().join("stock.policy");
    let whole = std::fs::read(&path).expect("there");
    std::fs::write(&path, &whole[..whole.len() - 3]).expect("written");
    let away = Arc::new(Away);
    let corrupt = outrigger::builder("orders")
        .registry(Arc::clone(&away) as Arc<dyn Resolver>, None)
        .keys(away as Arc<dyn KeyWatcher>)
        .snapshots(saved.path())
        .join()
        .await
        .expect("valid settings");
    let corrupt = Caller(corrupt);
    assert_eq!(status(&corrupt).await, 200, "the settings");
    assert_eq!(corrupt.view().source, PolicySource::Settings);
}

/// A registry that never says a word.
#[derive(Debug)]
struct Away;

impl Resolver for Away {
    fn watch(&self, _: &outrigger::discovery::Query) -> outrigger::discovery::SnapshotStream {
        outrigger::discovery::SnapshotStream::new(Silent::<outrigger::core::Snapshot>::default())
    }

    fn catalogue(&self, datacenter: Option<&str>) -> outrigger::discovery::CatalogueStream {
        InMemoryRegistry::new().catalogue(datacenter)
    }
}

impl KeyWatcher for Away {
    fn watch_key(
        &self,
        _: &str,
    ) -> Result<outrigger::discovery::KeyStream, outrigger::discovery::RegistryError> {
        Ok(outrigger::discovery::KeyStream::new(Silent::default()))
    }
}

struct Silent<T>(std::marker::PhantomData<fn() -> T>);

impl<T> Default for Silent<T> {
    fn default() -> Self {
        Self(std::marker::PhantomData)
    }
}

impl<T> futures_core::Stream for Silent<T> {
    type Item = Arc<T>;

    fn poll_next(
        self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Self::Item>> {
        std::task::Poll::Pending
    }
}

#[tokio::test]
async fn what_did_not_change_keeps_its_state() {
    let registry = Registry::default();
    let failing = Arc::new(AtomicU32::new(1));
    let fails = Arc::clone(&failing);
    let _endpoint = registry
        .endpoint(Language::Rust, move |_| {
            let status = if fails.load(Ordering::Relaxed) == 1 { 500 } else { 200 };
            async move { text(status, "") }
        })
        .await;
    let rules = |timeout: &str| {
        policy(&format!(
            "timeout: {timeout}\neject: none\nretry: {{ attempts: 0 }}\n\
             breaker: {{ min_calls: 5, open_for: 60s }}\nrate_limits: [ {{ rate: 1/h, burst: 8 }} ]"
        ))
    };
    registry.push(&rules("1s"));
    let caller = registry.caller().await;
    for _ in 0..5 {
        assert_eq!(status(&caller).await, 500);
    }
    let reason = async || caller.get("/").await.expect_err("refused").reason();
    assert_eq!(reason().await, Some(Reason::CircuitOpen));
    failing.store(0, Ordering::Relaxed);

    registry.push(&rules("2s"));
    caller.obeys(&rules("2s")).await;
    assert_eq!(reason().await, Some(Reason::CircuitOpen), "the circuit is still open");
    assert_eq!(reason().await, Some(Reason::CircuitOpen), "the eighth token");
    assert_eq!(reason().await, Some(Reason::RateLimited), "the bucket was not filled anew");

    // A limit that is changed takes its state with it: what was empty is not full.
    let wider = rules("2s").replace("burst: 8", "burst: 9");
    registry.push(&wider);
    caller.obeys(&wider).await;
    let mut admitted = 0;
    while reason().await == Some(Reason::CircuitOpen) {
        admitted += 1;
    }
    assert!(admitted <= 1, "{admitted} of a bucket of 9 that was empty");
}

#[tokio::test]
async fn connections_are_kept_over_a_reload() {
    let registry = Registry::default();
    let peers = Arc::new(std::sync::Mutex::new(std::collections::HashSet::new()));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let seen = Arc::clone(&peers);
    tokio::spawn(async move {
        loop {
            let (stream, peer) = listener.accept().await.expect("accepted");
            seen.lock().expect("whole").insert(peer);
            tokio::spawn(async move {
                let service = hyper::service::service_fn(|_| async {
                    Ok::<_, std::convert::Infallible>(text(200, ""))
                });
                let io = hyper_util::rt::TokioIo::new(stream);
                let http = hyper::server::conn::http1::Builder::new();
                let _ = http.serve_connection(io, service).await;
            });
        }
    });
    let id = "stock-1".parse().expect("an id");
    registry.0.put(outrigger::core::Instance::new(id, name("stock"), address));
    let caller = registry.caller().await;
    for timeout in ["1s", "2s", "3s"] {
        registry.push(&policy(&format!("timeout: {timeout}")));
        caller.text("/").await;
        caller.obeys(&policy(&format!("timeout: {timeout}"))).await;
        caller.text("/").await;
    }
    assert_eq!(peers.lock().expect("whole").len(), 1, "one connection for all versions");
}

#[tokio::test]
async fn a_directory_that_is_not_there_yet_is_looked_for() {
    let registry = Registry::default();
    let _endpoint = echo(&registry).await;
    let folder = tempfile::tempdir().expect("a folder");
    let later: &Path = &folder.path().join("policies");
    let caller = registry.builder().policy(later).join().await.expect("a start all the same");
    let caller = Caller(caller);
    assert_eq!(status(&caller).await, 200);
    std::fs::create_dir(later).expect("made");
    std::fs::write(later.join("stock.yaml"), aborts(418)).expect("written");
    caller.obeys(&aborts(418)).await;
    assert_eq!(status(&caller).await, 418);
}
