//! One service that is called: its endpoints, its rules, and the stack that every call walks.

mod names;
mod roots;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use outrigger_balance::{EndpointSet, Members};
use outrigger_core::{Address, Clock, Endpoint, Instance, Protocol, ServiceName, Snapshot};
use outrigger_discovery::SnapshotStream;
use outrigger_policy::PolicyProtocol;
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval};

use crate::fleet::{Inner, Never};
use crate::policy::{Followed, InForce};
use crate::table::{Shared, Spec, Table};
use names::Names;
use roots::Roots;

/// How often a DNS name among the addresses is asked for again.
const RESOLVE_EVERY: Duration = Duration::from_secs(30);

/// One service that is called.
#[derive(Debug)]
pub(crate) struct Callee {
    pub(crate) service: ServiceName,
    /// Where it is called, when not here.
    pub(crate) datacenter: Option<Arc<str>>,
    pub(crate) set: EndpointSet,
    pub(crate) table: Arc<ArcSwap<Table>>,
    pub(crate) policy: Followed,
    /// Whether registry and policy have said their first word.
    pub(crate) known: watch::Receiver<bool>,
    task: tokio::task::AbortHandle,
}

/// Where a service is called, and by whom.
pub(crate) struct Place {
    pub(crate) service: ServiceName,
    pub(crate) datacenter: Option<String>,
    pub(crate) inner: Arc<Inner>,
}

impl Callee {
    /// Starts to keep the set and the rules of a service up to date.
    pub(crate) fn start(
        place: Place,
        shared: Shared,
        table: Table,
        policy: Followed,
        failover: Vec<Arc<str>>,
    ) -> Self {
        let (sender, known) = watch::channel(false);
        let service = place.service.clone();
        let datacenter = place.datacenter.as_deref().map(Into::into);
        let set = shared.set().clone();
        let table = Arc::new(ArcSwap::from_pointee(table));
        let streams = place.watch(&failover);
        let runtime = place.inner.parts.runtime.clone();
        let keeper = Keeper {
            clock: Arc::clone(&place.inner.parts.clock),
            set: set.clone(),
            newest: vec![None; streams.len()],
            streams,
            failover,
            version: 0,
            place,
            shared,
            table: Arc::clone(&table),
            policy: policy.changes(),
            is_decided: policy.now().is_decided,
            is_found: false,
            known: sender,
            names: Names::system(),
            roots: Roots::default(),
        };
        let task = runtime.spawn(keeper.run()).abort_handle();
        Self { service, datacenter, set, table, policy, known, task }
    }

    /// Whether registry and policy have said something about the service yet.
    pub(crate) fn is_known(&self) -> bool {
        *self.known.borrow()
    }
}

impl Drop for Callee {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Place {
    fn watch(&self, failover: &[Arc<str>]) -> Vec<SnapshotStream> {
        let registries = &self.inner.parts.registries;
        registries.watch(&self.service, self.datacenter.as_deref(), failover)
    }

    /// What the process was told otherwise, where no policy speaks.
    fn settings(&self) -> Spec {
        Spec::of_settings(self.inner.parts.rules_of(&self.service))
    }
}

/// Puts each snapshot and each policy into use, sees to what is due, and forgets connections to
/// who has left.
struct Keeper {
    place: Place,
    clock: Arc<dyn Clock>,
    set: EndpointSet,
    streams: Vec<SnapshotStream>,
    /// What each of the streams said last.
    newest: Vec<Option<Arc<Snapshot>>>,
    failover: Vec<Arc<str>>,
    version: u64,
    shared: Shared,
    table: Arc<ArcSwap<Table>>,
    policy: watch::Receiver<InForce>,
    is_decided: bool,
    is_found: bool,
    known: watch::Sender<bool>,
    names: Names,
    roots: Roots,
}

impl Keeper {
    async fn run(mut self) {
        let mut second = interval(Duration::from_secs(1));
        second.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut renew_at = None;
        // What came between the table's making and now.
        self.policy.mark_changed();
        loop {
            tokio::select! {
                (at, snapshot) = next(&mut self.streams) => {
                    let Some(snapshot) = snapshot else {
                        // The resolver has ended; what is in use stays in use.
                        drop(self.streams.remove(at));
                        self.newest.remove(at);
                        continue;
                    };
                    self.newest[at] = Some(snapshot);
                    self.names.want(self.newest.iter().flatten().map(|snapshot| &**snapshot));
                }
                // Beside the snapshots: a slow DNS holds back none of them.
                () = self.names.changed() => {}
                Ok(()) = self.policy.changed() => {
                    self.obey();
                    self.follow_roots();
                    continue;
                }
                pem = self.roots.changed() => {
                    self.renew_roots(&pem);
                    continue;
                }
                now = second.tick() => {
                    self.set.tick(self.clock.now());
                    if let Err(error) = self.shared.tidy(self.clock.now()) {
                        tracing::warn!(service = %self.place.service, %error, "subsets not tidied");
                    }
                    if *renew_at.get_or_insert(now + RESOLVE_EVERY) <= now {
                        renew_at = Some(now + RESOLVE_EVERY);
                        self.names.renew();
                    }
                    continue;
                }
            }
            self.version += 1;
            self.put(self.version);
        }
    }

    /// Puts the policy of now into force.
    fn obey(&mut self) {
        let now = self.policy.borrow_and_update().clone();
        self.is_decided = now.is_decided;
        let is_same = match (&now.loaded, self.table.load().loaded()) {
            (Some(new), Some(old)) => new == old,
            (new, old) => new.is_none() && old.is_none(),
        };
        if !is_same {
            let spec = match &now.loaded {
                Some(loaded) => Spec::of_policy(loaded),
                None => self.place.settings(),
            };
            match self.shared.reload(&spec, self.clock.now()) {
                Ok(table) => {
                    let was_grpc = self.is_grpc();
                    self.table.store(Arc::new(table));
                    if was_grpc != self.is_grpc() {
                        // What is spoken to the endpoints that are there has changed.
                        self.version += 1;
                        self.put(self.version);
                    }
                    if now.loaded.as_ref().is_some_and(|loaded| loaded.plan.mesh.is_some()) {
                        tracing::warn!(
                            service = %self.place.service,
                            version = %now.version(),
                            "`mesh` of the policy is not obeyed yet: instances are called"
                        );
                    }
                    let failover = &spec.last().rules.balance.failover;
                    if self.failover != *failover {
                        self.failover.clone_from(failover);
                        self.streams = self.place.watch(failover);
                        // What was known of the other datacenters is known until they speak.
                        self.newest.resize(self.streams.len(), None);
                    }
                }
                Err(error) => tracing::error!(
                    service = %self.place.service,
                    version = %now.version(),
                    error = &*error as &dyn std::error::Error,
                    "policy not put into force"
                ),
            }
        }
        self.tell_known();
    }

    /// Follows the file of roots that the policy in force names.
    fn follow_roots(&mut self) {
        let table = self.table.load();
        let path = table.loaded().and_then(|loaded| loaded.roots.as_deref());
        self.roots.follow(path, &self.clock);
    }

    fn renew_roots(&self, pem: &[u8]) {
        let service = &self.place.service;
        let table = self.table.load();
        let Some(loaded) = table.loaded() else { return };
        match loaded.tls_by(pem) {
            Ok(tls) => {
                self.shared.renew_tls(&tls);
                tracing::debug!(%service, "roots read");
            }
            Err(why) => tracing::warn!(%service, why, "roots not used: those of before stay"),
        }
    }

    fn tell_known(&self) {
        if self.is_decided && self.is_found && !*self.known.borrow() {
            self.known.send_replace(true);
        }
    }

    /// Whether the policy in force says that gRPC is spoken.
    fn is_grpc(&self) -> bool {
        let table = self.table.load();
        table.loaded().is_some_and(|loaded| loaded.plan.protocol == PolicyProtocol::Grpc)
    }

    /// Puts the snapshots of all datacenters into use as one set.
    fn put(&mut self, version: u64) {
        let mut endpoints = Vec::new();
        let mut awaited = false;
        let mut freshness = None;
        let is_grpc = self.is_grpc();
        for snapshot in self.newest.iter().flatten() {
            // The set is as fresh as the caller's own datacenter, which comes first.
            freshness.get_or_insert(snapshot.freshness);
            for instance in snapshot.instances.iter() {
                let spoken = if is_grpc { over_http2(instance) } else { Arc::clone(instance) };
                let endpoint = |address| Endpoint::new(Arc::clone(&spoken), address);
                match (&instance.address, self.names.of(&instance.address)) {
                    (Address::Socket(address), _) => endpoints.push(endpoint(*address)),
                    (_, Some(found @ [_, ..])) => {
                        endpoints.extend(found.iter().copied().map(endpoint));
                    }
                    (_, found) => {
                        awaited |= found.is_none();
                        endpoints.extend(self.last_known(&instance.id).into_iter().map(endpoint));
                    }
                }
            }
        }
        let Some(freshness) = freshness else { return };
        if let Some(Never(is_never)) = &self.place.inner.parts.never {
            endpoints.retain(|endpoint| !is_never(endpoint.address()));
        }
        // The first callers wait for the names rather than hear that there is nobody.
        let is_known = !awaited || !endpoints.is_empty();
        let mut members = Members::new(version, endpoints);
        members.freshness = freshness;
        let kept: std::collections::HashSet<Endpoint> = members.endpoints.iter().cloned().collect();
        self.set.update(members, self.clock.now());
        self.shared.pools().retain(&|endpoint| kept.contains(endpoint));
        self.is_found |= is_known;
        self.tell_known();
    }

    /// What a name stood for before, while it cannot be resolved.
    fn last_known(&self, id: &outrigger_core::InstanceId) -> Vec<SocketAddr> {
        self.set
            .view(self.clock.now())
            .endpoints
            .iter()
            .filter(|view| view.endpoint.instance().id == *id)
            .map(|view| view.endpoint.address())
            .collect()
    }
}

/// The instance as gRPC's callers speak to it, whatever it says that it speaks.
fn over_http2(instance: &Arc<Instance>) -> Arc<Instance> {
    let protocol = match instance.protocol {
        Protocol::Http => Protocol::Grpc,
        Protocol::Https => Protocol::Grpcs,
        _ => return Arc::clone(instance),
    };
    let mut instance = Instance::clone(instance);
    instance.protocol = protocol;
    Arc::new(instance)
}

/// The next snapshot of any of the streams, and of which.
async fn next(streams: &mut [SnapshotStream]) -> (usize, Option<Arc<Snapshot>>) {
    use std::future::poll_fn;
    use std::pin::Pin;
    use std::task::Poll;

    use futures_core::Stream;

    poll_fn(|cx| {
        for (at, stream) in streams.iter_mut().enumerate() {
            if let Poll::Ready(snapshot) = Pin::new(stream).poll_next(cx) {
                return Poll::Ready((at, snapshot));
            }
        }
        Poll::Pending
    })
    .await
}
