//! One service that is called: its endpoints, its rules, and the stack that every call walks.

mod names;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use outrigger_balance::{EndpointSet, Members};
use outrigger_core::{Address, Clock, Endpoint, ServiceName, Snapshot};
use outrigger_discovery::SnapshotStream;
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval};

use crate::stack::{Built, Circuit, Stack};
use names::Names;

/// How often a DNS name among the addresses is asked for again.
const RESOLVE_EVERY: Duration = Duration::from_secs(30);

/// Closes connections to endpoints that are not to be kept.
pub(crate) type Forget = Box<dyn Fn(&dyn Fn(&Endpoint) -> bool) + Send + Sync>;

/// One service that is called.
#[derive(Debug)]
pub(crate) struct Callee {
    pub(crate) service: ServiceName,
    pub(crate) set: EndpointSet,
    pub(crate) circuit: Option<Circuit>,
    pub(crate) stack: Stack,
    pub(crate) known: watch::Receiver<bool>,
    pub(crate) timeout: Option<Duration>,
    task: tokio::task::AbortHandle,
}

impl Callee {
    /// Starts to keep the set of a service up to date.
    pub(crate) fn start(
        service: ServiceName,
        set: EndpointSet,
        Built { stack, circuit, forget, timeout }: Built,
        streams: Vec<SnapshotStream>,
        clock: Arc<dyn Clock>,
        runtime: &tokio::runtime::Handle,
    ) -> Self {
        let (sender, known) = watch::channel(false);
        let names = Names::system();
        let keeper = Keeper { set: set.clone(), forget, clock, known: sender, names };
        let task = runtime.spawn(keeper.run(streams)).abort_handle();
        Self { service, set, circuit, stack, known, timeout, task }
    }

    /// Whether the registry has said something about the service yet.
    pub(crate) fn is_known(&self) -> bool {
        *self.known.borrow()
    }
}

impl Drop for Callee {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Puts each snapshot into use, sees to what is due, and forgets connections to who has left.
struct Keeper {
    set: EndpointSet,
    forget: Forget,
    clock: Arc<dyn Clock>,
    known: watch::Sender<bool>,
    names: Names,
}

impl Keeper {
    async fn run(mut self, mut streams: Vec<SnapshotStream>) {
        let mut newest: Vec<Option<Arc<Snapshot>>> = vec![None; streams.len()];
        let mut second = interval(Duration::from_secs(1));
        second.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut renew_at = None;
        let mut version = 0;
        loop {
            tokio::select! {
                (at, snapshot) = next(&mut streams) => {
                    let Some(snapshot) = snapshot else {
                        // The resolver has ended; what is in use stays in use.
                        streams.remove(at);
                        newest.remove(at);
                        if streams.is_empty() {
                            return;
                        }
                        continue;
                    };
                    newest[at] = Some(snapshot);
                    self.names.want(newest.iter().flatten().map(|snapshot| &**snapshot));
                }
                // Beside the snapshots: a slow DNS holds back none of them.
                () = self.names.changed() => {}
                now = second.tick() => {
                    self.set.tick(self.clock.now());
                    if *renew_at.get_or_insert(now + RESOLVE_EVERY) <= now {
                        renew_at = Some(now + RESOLVE_EVERY);
                        self.names.renew();
                    }
                    continue;
                }
            }
            version += 1;
            self.put(&newest, version);
        }
    }

    /// Puts the snapshots of all datacenters into use as one set.
    fn put(&self, newest: &[Option<Arc<Snapshot>>], version: u64) {
        let mut endpoints = Vec::new();
        let mut awaited = false;
        let mut freshness = None;
        for snapshot in newest.iter().flatten() {
            // The set is as fresh as the caller's own datacenter, which comes first.
            freshness.get_or_insert(snapshot.freshness);
            for instance in snapshot.instances.iter() {
                let endpoint = |address| Endpoint::new(Arc::clone(instance), address);
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
        // The first callers wait for the names rather than hear that there is nobody.
        let is_known = !awaited || !endpoints.is_empty();
        let mut members = Members::new(version, endpoints);
        members.freshness = freshness;
        let kept: std::collections::HashSet<Endpoint> = members.endpoints.iter().cloned().collect();
        self.set.update(members, self.clock.now());
        (self.forget)(&|endpoint| kept.contains(endpoint));
        if is_known {
            self.known.send_replace(true);
        }
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
