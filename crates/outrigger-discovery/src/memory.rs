//! A registry in memory.

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, SystemTime};

use outrigger_core::{
    Clock, Dialect, Freshness, Instance, InstanceId, RegistrationState, ServiceName, Snapshot,
    Status,
};

use crate::{
    Announcement, BoxFuture, Catalogue, CatalogueStream, Feed, KeyState, KeyStream, KeyWatcher,
    Query, Registered, Registrar, Registration, RegistryError, Resolver, SnapshotStream,
};

/// A registry in memory: all ports, no I/O, no timer; for tests and single-process demos.
///
/// Shape: clones share the registry. Checks are not run: an instance has the status that was last
/// reported. [`InMemoryRegistry::set`] and [`InMemoryRegistry::forget_all`] play the registry's
/// part by hand. Datacenters are not told apart.
#[derive(Clone, Default)]
pub struct InMemoryRegistry {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    clock: Option<Arc<dyn Clock>>,
    state: Mutex<State>,
    catalogue: Feed<Catalogue>,
}

#[derive(Default)]
struct State {
    services: BTreeMap<ServiceName, Service>,
    keys: BTreeMap<Box<str>, Feed<KeyState>>,
    catalogue_version: u64,
}

#[derive(Default)]
struct Service {
    instances: BTreeMap<InstanceId, Arc<Instance>>,
    freshness: Option<Freshness>,
    version: u64,
    feed: Feed<Snapshot>,
}

impl InMemoryRegistry {
    /// An empty registry whose snapshots were all confirmed at the epoch.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// An empty registry that labels its snapshots with the time of day of a clock.
    #[must_use]
    pub fn with_clock(clock: Arc<dyn Clock>) -> Self {
        Self { shared: Arc::new(Shared { clock: Some(clock), ..Shared::default() }) }
    }

    /// Replaces the whole set of a service.
    pub fn set(&self, service: &ServiceName, instances: impl IntoIterator<Item = Instance>) {
        self.change(service, |entry| {
            let instances = instances.into_iter().map(|i| (i.id.clone(), Arc::new(i)));
            entry.instances = instances.collect();
        });
    }

    /// Adds or replaces one instance.
    pub fn put(&self, instance: Instance) {
        let service = instance.service.clone();
        self.change(&service, |entry| {
            entry.instances.insert(instance.id.clone(), Arc::new(instance));
        });
    }

    /// Removes one instance; whether it was there.
    pub fn remove(&self, service: &ServiceName, id: &InstanceId) -> bool {
        self.change(service, |entry| entry.instances.remove(id).is_some())
    }

    /// Sets the registry's verdict on an instance; whether it is there.
    pub fn set_status(&self, service: &ServiceName, id: &InstanceId, status: Status) -> bool {
        self.change(service, |entry| {
            let Some(instance) = entry.instances.get_mut(id) else { return false };
            Arc::make_mut(instance).status = status;
            true
        })
    }

    /// Labels what is published of a service from now on, as an adapter in trouble would.
    pub fn set_freshness(&self, service: &ServiceName, freshness: Freshness) {
        self.change(service, |entry| entry.freshness = Some(freshness));
    }

    /// Loses its memory: every service is published empty at once.
    pub fn forget_all(&self) {
        let names: Vec<_> = self.shared.lock().services.keys().cloned().collect();
        for name in &names {
            self.set(name, []);
        }
    }

    /// Writes a key.
    pub fn set_key(&self, key: &str, value: impl Into<Arc<[u8]>>) {
        self.publish_key(key, KeyState::present(value.into()));
    }

    /// Removes a key.
    pub fn remove_key(&self, key: &str) {
        self.publish_key(key, KeyState::absent());
    }

    /// Cannot be asked about a key from now on, until it is written or removed.
    pub fn deny_key(&self, key: &str, class: &'static str) {
        let last = self.shared.lock().key(key).latest();
        let last = last.map(|last| KeyState::clone(&last)).unwrap_or_default();
        self.publish_key(key, last.with_trouble(class));
    }

    fn publish_key(&self, key: &str, state: KeyState) {
        self.shared.lock().key(key).publish(Arc::new(state));
    }

    /// The instances of a service now.
    #[must_use]
    pub fn instances(&self, service: &ServiceName) -> Vec<Arc<Instance>> {
        let state = self.shared.lock();
        let service = state.services.get(service);
        service.map(|entry| entry.instances.values().cloned().collect()).unwrap_or_default()
    }

    fn change<T>(&self, service: &ServiceName, edit: impl FnOnce(&mut Service) -> T) -> T {
        self.shared.change(service, edit)
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change<T>(&self, service: &ServiceName, edit: impl FnOnce(&mut Service) -> T) -> T {
        let mut state = self.lock();
        let entry = state.services.entry(service.clone()).or_default();
        let result = edit(entry);
        entry.version += 1;
        let confirmed = self.clock.as_ref().map_or(SystemTime::UNIX_EPOCH, |clock| clock.wall());
        let instances = entry.instances.values().cloned().collect();
        let snapshot = Snapshot::new(service.clone(), entry.version, instances, confirmed)
            .with_freshness(entry.freshness.unwrap_or(Freshness::Live));
        // Published under the lock, so that two changes cannot overtake each other.
        entry.feed.publish(Arc::new(snapshot));
        self.publish_catalogue(&mut state);
        result
    }

    fn publish_catalogue(&self, state: &mut State) {
        let known = state.services.iter().filter(|(_, entry)| !entry.instances.is_empty());
        let services: BTreeMap<_, _> = known
            .map(|(name, entry)| {
                let mut tags: Vec<_> =
                    entry.instances.values().flat_map(|i| i.tags.iter().cloned()).collect();
                tags.sort();
                tags.dedup();
                (name.clone(), tags)
            })
            .collect();
        if self.catalogue.latest().is_some_and(|last| last.services == services) {
            return;
        }
        state.catalogue_version += 1;
        self.catalogue.publish(Arc::new(Catalogue::new(state.catalogue_version, services)));
    }
}

impl State {
    fn key(&mut self, key: &str) -> &Feed<KeyState> {
        self.keys.entry(key.into()).or_default()
    }
}

impl KeyWatcher for InMemoryRegistry {
    fn watch_key(&self, key: &str) -> Result<KeyStream, RegistryError> {
        let mut state = self.shared.lock();
        let feed = state.key(key);
        if feed.latest().is_none() {
            feed.publish(Arc::new(KeyState::absent()));
        }
        Ok(KeyStream::new(feed.subscribe()))
    }
}

impl Resolver for InMemoryRegistry {
    fn watch(&self, query: &Query) -> SnapshotStream {
        let known = self.shared.lock().services.get(&query.service).map(|e| e.feed.subscribe());
        let subscription =
            known.unwrap_or_else(|| self.change(&query.service, |entry| entry.feed.subscribe()));
        SnapshotStream::new(subscription).filtered(query.filter.clone())
    }

    fn catalogue(&self, _datacenter: Option<&str>) -> CatalogueStream {
        let mut state = self.shared.lock();
        self.shared.publish_catalogue(&mut state);
        drop(state);
        CatalogueStream::new(self.shared.catalogue.subscribe())
    }
}

impl Registrar for InMemoryRegistry {
    fn register(
        &self,
        registration: Registration,
    ) -> BoxFuture<'_, Result<Registered, RegistryError>> {
        Box::pin(async move {
            registration.validate()?;
            let instance = instance_of(&registration);
            let announced = Announced {
                registry: Arc::downgrade(&self.shared),
                id: instance.id.clone(),
                service: instance.service.clone(),
                state: Mutex::new((RegistrationState::Registered, Status::Passing)),
            };
            self.put(instance);
            Ok(Registered::new(Arc::new(announced)))
        })
    }
}

fn instance_of(registration: &Registration) -> Instance {
    let address = registration.address.unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST));
    let address = SocketAddr::new(address, registration.port);
    let service = registration.service.clone();
    let id = registration.id.clone().unwrap_or_else(|| {
        let id = InstanceId::new(&format!("{service}-{address}"));
        id.expect("a name and an address hold no control character and fit")
    });
    let mut instance = Instance::new(id, service, address);
    instance.weights = registration.weights;
    instance.protocol = registration.protocol;
    instance.language = Some(registration.language.clone());
    instance.version.clone_from(&registration.version);
    instance.zone.clone_from(&registration.zone);
    instance.dialect = Dialect::Outrigger;
    instance.tags = vec![registration.language.as_str().into()];
    instance.tags.extend(registration.tags.iter().cloned());
    instance.meta.clone_from(&registration.meta);
    instance
}

#[derive(Debug)]
struct Announced {
    // Weak: a handle that outlives the registry keeps nothing alive.
    registry: Weak<Shared>,
    id: InstanceId,
    service: ServiceName,
    state: Mutex<(RegistrationState, Status)>,
}

impl Announced {
    fn apply(
        &self,
        edit: impl FnOnce(&mut (RegistrationState, Status)),
    ) -> Result<(), RegistryError> {
        let registry = self.registry.upgrade().ok_or(RegistryError::Ended)?;
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.0 == RegistrationState::Deregistered {
            return Err(RegistryError::Ended);
        }
        edit(&mut state);
        let now = *state;
        drop(state);
        registry.change(&self.service, |entry| match now.0 {
            RegistrationState::Deregistered => {
                entry.instances.remove(&self.id);
            }
            _ => {
                if let Some(instance) = entry.instances.get_mut(&self.id) {
                    let maintenance = now.0 == RegistrationState::Maintenance;
                    Arc::make_mut(instance).status =
                        if maintenance { Status::Critical } else { now.1 };
                }
            }
        });
        Ok(())
    }

    fn take_back(&self) -> Result<(), RegistryError> {
        self.apply(|state| state.0 = RegistrationState::Deregistered)
    }
}

impl Announcement for Announced {
    fn id(&self) -> &InstanceId {
        &self.id
    }

    fn state(&self) -> RegistrationState {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).0
    }

    fn settled(&self) -> BoxFuture<'_, ()> {
        Box::pin(std::future::ready(()))
    }

    fn report(&self, status: Status, _note: &str) -> BoxFuture<'_, Result<(), RegistryError>> {
        Box::pin(std::future::ready(self.apply(|state| state.1 = status)))
    }

    fn maintenance(&self, on: bool, _reason: &str) -> BoxFuture<'_, Result<(), RegistryError>> {
        use RegistrationState::{Maintenance, Registered};
        let wanted = if on { Maintenance } else { Registered };
        Box::pin(std::future::ready(self.apply(|state| state.0 = wanted)))
    }

    fn deregister(&self) -> BoxFuture<'_, Result<(), RegistryError>> {
        Box::pin(std::future::ready(self.take_back()))
    }

    // Readers of this registry hear of it at once: there is nothing to wait for.
    fn drain(&self, _notice: Duration) -> BoxFuture<'_, Result<(), RegistryError>> {
        Box::pin(std::future::ready(self.take_back()))
    }

    fn abandon(&self) {
        let _ = self.take_back();
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Shared")
    }
}

impl fmt::Debug for InMemoryRegistry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.shared.lock();
        let counts = state.services.iter().map(|(name, entry)| (name, entry.instances.len()));
        f.debug_map().entries(counts).finish()
    }
}

#[cfg(test)]
mod tests;
