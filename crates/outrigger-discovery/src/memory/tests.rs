use std::pin::pin;
use std::task::{Context, Poll, Waker};

use futures_core::Stream;

use super::*;
use crate::{Filter, StaticResolver};

/// Polls a future that must be ready: nothing here waits for anything.
fn now<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => value,
        Poll::Pending => panic!("not ready"),
    }
}

fn newest(stream: &mut SnapshotStream) -> Option<Arc<Snapshot>> {
    match pin!(stream).poll_next(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(snapshot) => snapshot,
        Poll::Pending => None,
    }
}

fn name(text: &str) -> ServiceName {
    text.parse().expect("a name")
}

fn stock() -> Registration {
    Registration::new(name("stock"), 8080).with_tag("blue")
}

#[test]
fn a_registration_is_seen_changed_and_taken_back() {
    let registry = InMemoryRegistry::new();
    let mut watch = registry.watch(&Query::new(name("stock")));
    assert!(newest(&mut watch).expect("known at once").is_empty());
    let handle = now(registry.register(stock())).expect("valid");
    now(handle.settled());
    let snapshot = newest(&mut watch).expect("a change");
    assert_eq!(&snapshot.instances[0].id, handle.id());
    assert!(snapshot.instances[0].has_tag("rust") && snapshot.instances[0].has_tag("blue"));

    let status = |watch: &mut SnapshotStream| newest(watch).expect("a change").instances[0].status;
    now(handle.report(Status::Warning, "")).expect("there");
    assert_eq!(status(&mut watch), Status::Warning);
    now(handle.maintenance(true, "disk")).expect("there");
    assert_eq!(status(&mut watch), Status::Critical);
    assert_eq!(handle.state(), RegistrationState::Maintenance);
    now(handle.maintenance(false, "")).expect("there");
    assert_eq!(status(&mut watch), Status::Warning, "what was reported before");
    now(handle.deregister()).expect("there");
    assert!(newest(&mut watch).expect("a change").is_empty());
}

#[test]
fn a_dropped_handle_takes_its_instance_back() {
    let registry = InMemoryRegistry::new();
    drop(now(registry.register(stock())).expect("valid"));
    assert!(registry.instances(&name("stock")).is_empty());
}

#[test]
fn an_invalid_registration_is_refused() {
    let registry = InMemoryRegistry::new();
    let wrong = Registration { port: 0, ..stock() };
    assert!(matches!(now(registry.register(wrong)), Err(RegistryError::Invalid(_))));
}

#[test]
fn versions_rise_strictly_and_a_late_reader_skips_to_the_newest() {
    let registry = InMemoryRegistry::new();
    let mut watch = registry.watch(&Query::new(name("stock")));
    let first = newest(&mut watch).expect("known at once").version;
    for port in 1..=5 {
        let id = format!("stock-{port}").parse().expect("an id");
        registry.put(Instance::new(id, name("stock"), SocketAddr::from(([127, 0, 0, 1], port))));
    }
    let last = newest(&mut watch).expect("a change");
    assert_eq!((last.version - first, last.instances.len()), (5, 5));
    assert!(newest(&mut watch).is_none(), "each snapshot once");
    registry.forget_all();
    assert!(newest(&mut watch).expect("a change").is_empty());
}

#[test]
fn a_filtered_watch_is_silent_about_others() {
    let registry = InMemoryRegistry::new();
    let filter = Filter::all().with_tag("blue");
    let mut blue = registry.watch(&Query::new(name("stock")).with_filter(filter));
    assert!(newest(&mut blue).expect("known at once").is_empty());
    let other = Instance::new(
        "green".parse().expect("an id"),
        name("stock"),
        SocketAddr::from(([127, 0, 0, 1], 1)),
    );
    registry.put(other);
    assert!(newest(&mut blue).is_none(), "it makes no difference");
    let _handle = now(registry.register(stock())).expect("valid");
    assert_eq!(newest(&mut blue).expect("a change").instances.len(), 1);
    registry.set_freshness(&name("stock"), Freshness::Stale);
    assert_eq!(newest(&mut blue).expect("a change").freshness, Freshness::Stale);
}

#[test]
fn the_catalogue_lists_services_that_have_instances() {
    let registry = InMemoryRegistry::new();
    let mut catalogue = registry.catalogue(None);
    assert!(now(catalogue.next()).expect("at once").services.is_empty());
    let _watch = registry.watch(&Query::new(name("absent")));
    let _handle = now(registry.register(stock())).expect("valid");
    let listed = now(catalogue.next()).expect("a change");
    let tags: Vec<&str> = listed.services[&name("stock")].iter().map(|tag| &**tag).collect();
    assert_eq!((listed.services.len(), tags), (1, vec!["blue", "rust"]));
}

#[test]
fn fixed_instances_are_known_at_once_and_never_end() {
    let address = SocketAddr::from(([127, 0, 0, 1], 9101));
    let fixed = StaticResolver::new().with(name("stock"), [address]);
    let mut watch = fixed.watch(&Query::new(name("stock")));
    let snapshot = newest(&mut watch).expect("at once");
    assert_eq!((snapshot.freshness, snapshot.instances.len()), (Freshness::Static, 1));
    assert!(newest(&mut watch).is_none(), "waits for ever");
    assert!(newest(&mut fixed.watch(&Query::new(name("other")))).expect("at once").is_empty());
}

#[test]
fn a_key_is_known_at_once_and_keeps_its_value_while_it_cannot_be_asked_for() {
    let registry = InMemoryRegistry::new();
    let mut keys = registry.watch_key("outrigger/policy/stock").expect("a key");
    assert_eq!(*now(keys.next()).expect("a state"), KeyState::absent());
    registry.set_key("outrigger/policy/stock", *b"version: 1");
    let written = KeyState::present((*b"version: 1").into());
    assert_eq!(*now(keys.next()).expect("a state"), written);
    registry.deny_key("outrigger/policy/stock", "denied");
    assert_eq!(*now(keys.next()).expect("a state"), written.with_trouble("denied"));
    registry.remove_key("outrigger/policy/stock");
    assert_eq!(*now(keys.next()).expect("a state"), KeyState::absent());
}
