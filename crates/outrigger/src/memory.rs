//! The last good sets on disk: what a cold start lives on while the registry is away.

use std::fmt;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_core::Stream;
use outrigger_core::{Clock, ServiceName, Snapshot};
use outrigger_discovery::SnapshotStream;
use outrigger_host::{SnapshotKeeper, SnapshotStore};
use tokio::time::Sleep;

/// How long the registry has the first word. A set from a file may name instances that are gone,
/// so a registry that answers at all is waited for.
const FIRST_WORD: Duration = Duration::from_millis(300);

/// Saves what the registry says, and knows what it said last time.
pub(crate) struct Memory {
    store: SnapshotStore,
    keeper: Arc<SnapshotKeeper>,
    clock: Arc<dyn Clock>,
}

impl Memory {
    /// Keeps the sets in this directory; needs a runtime.
    pub(crate) fn open(directory: PathBuf, clock: Arc<dyn Clock>) -> Self {
        let store = SnapshotStore::new(directory);
        let keeper = Arc::new(SnapshotKeeper::start(store.clone(), Arc::clone(&clock)));
        Self { store, keeper, clock }
    }

    /// The same stream, saved as it goes, and begun by the file when the registry is silent.
    pub(crate) fn remember(&self, service: &ServiceName, live: SnapshotStream) -> SnapshotStream {
        let saved = match self.store.load(service, self.clock.wall()) {
            Ok(saved) => saved,
            Err(error) => {
                tracing::warn!(
                    %service,
                    error = &error as &dyn std::error::Error,
                    "saved snapshot not used"
                );
                None
            }
        };
        SnapshotStream::new(Remembered {
            live,
            saved: saved.map(|saved| (Arc::new(saved), Box::pin(tokio::time::sleep(FIRST_WORD)))),
            keeper: Arc::clone(&self.keeper),
        })
    }

    /// Whether something was saved of a service. Reads the disk.
    pub(crate) fn has(&self, service: &ServiceName) -> bool {
        matches!(self.store.load(service, self.clock.wall()), Ok(Some(_)))
    }

    /// Waits until everything is on the disk.
    pub(crate) async fn flush(&self) {
        self.keeper.flush().await;
    }
}

impl fmt::Debug for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Memory").field("store", &self.store).finish_non_exhaustive()
    }
}

struct Remembered {
    live: SnapshotStream,
    saved: Option<(Arc<Snapshot>, Pin<Box<Sleep>>)>,
    keeper: Arc<SnapshotKeeper>,
}

impl Stream for Remembered {
    type Item = Arc<Snapshot>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if let Poll::Ready(live) = Pin::new(&mut self.live).poll_next(cx) {
            // Whatever the file says is over once the registry has spoken.
            self.saved = None;
            if let Some(live) = &live {
                self.keeper.keep(Snapshot::clone(live));
            }
            return Poll::Ready(live);
        }
        if let Some((_, silence)) = &mut self.saved
            && silence.as_mut().poll(cx).is_ready()
            && let Some((saved, _)) = self.saved.take()
        {
            tracing::warn!(service = %saved.service, "registry silent: set taken from the file");
            return Poll::Ready(Some(saved));
        }
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;
    use std::time::SystemTime;

    use outrigger_core::{Freshness, Instance, InstanceId};
    use outrigger_discovery::{InMemoryRegistry, Query, Resolver};
    use outrigger_tower::TokioClock;

    use super::*;

    fn service() -> ServiceName {
        ServiceName::new("stock").expect("valid")
    }

    fn snapshot() -> Snapshot {
        let address = SocketAddr::from(([127, 0, 0, 1], 9101));
        let id = InstanceId::new("stock-1").expect("valid");
        let instance = Arc::new(Instance::new(id, service(), address));
        Snapshot::new(service(), 1, vec![instance], TokioClock::new().wall())
    }

    fn silent() -> SnapshotStream {
        struct Silent;
        impl Stream for Silent {
            type Item = Arc<Snapshot>;
            fn poll_next(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Self::Item>> {
                Poll::Pending
            }
        }
        SnapshotStream::new(Silent)
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_registry_is_replaced_by_what_it_said_last_time() {
        let folder = tempfile::tempdir().expect("a folder");
        let memory = Memory::open(folder.path().to_owned(), Arc::new(TokioClock::new()));
        memory.store.save(&snapshot(), SystemTime::now_by_test()).expect("saved");

        let taken = memory.remember(&service(), silent()).next().await.expect("the file's set");
        assert_eq!(taken.freshness, Freshness::File);
        assert_eq!(taken.instances.len(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_registry_that_speaks_is_believed_over_the_file() {
        let folder = tempfile::tempdir().expect("a folder");
        let memory = Memory::open(folder.path().to_owned(), Arc::new(TokioClock::new()));
        memory.store.save(&snapshot(), SystemTime::now_by_test()).expect("saved");

        let registry = InMemoryRegistry::new();
        let live = registry.watch(&Query::new(service()));
        let first = memory.remember(&service(), live).next().await.expect("the registry's set");
        assert_ne!(first.freshness, Freshness::File);
    }

    trait NowByTest {
        fn now_by_test() -> Self;
    }

    impl NowByTest for SystemTime {
        fn now_by_test() -> Self {
            TokioClock::new().wall()
        }
    }
}
