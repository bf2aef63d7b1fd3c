//! Saving in the background.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use outrigger_core::{Clock, ServiceName, Snapshot};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use crate::SnapshotStore;

/// Saves snapshots in the background: the newest of each service, each at most once a second.
///
/// An error is logged, and tried again with the next snapshot. Dropped, it stops without a last
/// save; see [`flush`](Self::flush).
#[derive(Debug)]
pub struct SnapshotKeeper {
    waiting: Arc<Mutex<BTreeMap<ServiceName, Snapshot>>>,
    wake: mpsc::Sender<Wake>,
    task: JoinHandle<()>,
}

#[derive(Debug)]
enum Wake {
    Changed,
    Flush(oneshot::Sender<()>),
}

impl SnapshotKeeper {
    /// Starts on the present runtime.
    #[must_use]
    pub fn start(store: SnapshotStore, clock: Arc<dyn Clock>) -> Self {
        let waiting = Arc::default();
        let (wake, woken) = mpsc::channel(1);
        let task = tokio::spawn(run(store, clock, Arc::clone(&waiting), woken));
        Self { waiting, wake, task }
    }

    /// Has a snapshot saved soon, unless a newer one of its service comes before.
    ///
    /// Cost: one short lock; never waits.
    pub fn keep(&self, snapshot: Snapshot) {
        lock(&self.waiting).insert(snapshot.service.clone(), snapshot);
        // A full channel means that it is about to look anyway.
        let _ = self.wake.try_send(Wake::Changed);
    }

    /// Saves what waits, and returns when it is on the disk.
    ///
    /// # Cancel safety
    /// Cancel safe: saving goes on in the background.
    pub async fn flush(&self) {
        let (tell, told) = oneshot::channel();
        if self.wake.send(Wake::Flush(tell)).await.is_ok() {
            // An error means that the runtime is being shut down.
            let _ = told.await;
        }
    }
}

impl Drop for SnapshotKeeper {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

const PAUSE: Duration = Duration::from_secs(1);

async fn run(
    store: SnapshotStore,
    clock: Arc<dyn Clock>,
    waiting: Arc<Mutex<BTreeMap<ServiceName, Snapshot>>>,
    mut woken: mpsc::Receiver<Wake>,
) {
    let mut ready_again = tokio::time::interval(PAUSE);
    ready_again.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    while let Some(wake) = woken.recv().await {
        let mut flush = match wake {
            Wake::Flush(tell) => Some(tell),
            Wake::Changed => None,
        };
        if flush.is_none() {
            // Snapshots come in bursts; whoever flushes does not wait for the burst to end.
            tokio::select! {
                _ = ready_again.tick() => {}
                Some(wake) = woken.recv() => {
                    if let Wake::Flush(tell) = wake {
                        flush = Some(tell);
                    } else {
                        ready_again.tick().await;
                    }
                }
            }
        }
        let snapshots = std::mem::take(&mut *lock(&waiting));
        let (store, now) = (store.clone(), clock.wall());
        let saving = tokio::task::spawn_blocking(move || {
            for (service, snapshot) in snapshots {
                if let Err(error) = store.save(&snapshot, now) {
                    tracing::warn!(
                        %service,
                        class = error.class(),
                        error = &error as &dyn std::error::Error,
                        "snapshot not saved"
                    );
                }
            }
        });
        // An error means that the runtime is being shut down.
        let _ = saving.await;
        if let Some(tell) = flush {
            let _ = tell.send(());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Instant, SystemTime};

    use outrigger_core::Instance;

    use super::*;

    #[derive(Debug)]
    struct Still;

    impl Clock for Still {
        fn now(&self) -> Instant {
            unreachable!("only the wall labels files")
        }

        fn wall(&self) -> SystemTime {
            SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000)
        }
    }

    fn snapshot(service: &str, version: u64) -> Snapshot {
        let service: ServiceName = service.parse().expect("valid name");
        let address = std::net::SocketAddr::from(([10, 0, 0, 1], 80));
        let id = format!("{service}-{version}").parse().expect("valid id");
        let instance = Instance::new(id, service.clone(), address);
        Snapshot::new(service, version, vec![Arc::new(instance)], Still.wall())
    }

    #[tokio::test]
    async fn a_flush_has_the_newest_of_each_on_the_disk() {
        let dir = tempfile::tempdir().expect("a directory");
        let store = SnapshotStore::new(dir.path());
        let keeper = SnapshotKeeper::start(store.clone(), Arc::new(Still));
        for version in 1..=100 {
            keeper.keep(snapshot("stock", version));
            keeper.keep(snapshot("orders", version));
        }
        keeper.flush().await;
        let (snapshots, refused) = store.load_all(Still.wall());
        assert!(refused.is_empty());
        let ids: Vec<_> = snapshots.iter().map(|s| s.instances[0].id.to_string()).collect();
        assert_eq!(ids, ["orders-100", "stock-100"]);
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_kept_is_saved_without_a_flush() {
        let dir = tempfile::tempdir().expect("a directory");
        let store = SnapshotStore::new(dir.path());
        let keeper = SnapshotKeeper::start(store.clone(), Arc::new(Still));
        keeper.keep(snapshot("stock", 1));
        for _ in 0..1_000 {
            tokio::time::sleep(Duration::from_millis(100)).await;
            if store.load_all(Still.wall()).0.len() == 1 {
                return;
            }
        }
        panic!("never saved");
    }
}
