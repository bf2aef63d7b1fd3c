//! Whether the agent can be reached at all.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use outrigger_core::{Event, Observers};
use tokio::sync::Notify;

/// Whether the agent can be reached: one opinion for all watches and heartbeats of a client.
///
/// Without it each of them would find out for itself, and sleep through the recovery in its own
/// backoff. So one prober asks at most once a second while the agent is away, and everybody who
/// waits is woken when it is back.
#[derive(Debug)]
pub(crate) struct Gate {
    up: AtomicBool,
    /// How often the agent came back.
    returns: AtomicU64,
    /// Wakes in the order in which they began to wait, which `watch` does not.
    woken: Notify,
    probing: AtomicBool,
    /// The first answer.
    first: OnceLock<Instant>,
    /// Units: milliseconds from the first answer to the last.
    last: AtomicU64,
    observers: Observers,
}

impl Gate {
    pub(crate) fn new(observers: Observers) -> Self {
        Self {
            up: AtomicBool::new(true),
            returns: AtomicU64::new(0),
            woken: Notify::new(),
            probing: AtomicBool::new(false),
            first: OnceLock::new(),
            last: AtomicU64::new(0),
            observers,
        }
    }

    pub(crate) fn is_up(&self) -> bool {
        self.up.load(Ordering::Acquire)
    }

    fn set(&self, up: bool, class: &'static str) {
        let changed = self.up.swap(up, Ordering::AcqRel) != up;
        if changed {
            if up {
                self.returns.fetch_add(1, Ordering::AcqRel);
                self.woken.notify_waiters();
                tracing::info!("registry reached");
            } else {
                tracing::warn!(class, "registry lost");
            }
            self.observers.emit(&Event::Registry { connected: up, class });
        }
    }

    /// Somebody got an answer, whatever it said.
    pub(crate) fn answered(&self, now: Instant) {
        let since = now.saturating_duration_since(*self.first.get_or_init(|| now));
        self.last.fetch_max(u64::try_from(since.as_millis()).unwrap_or(0), Ordering::Relaxed);
        if !self.is_up() {
            self.set(true, "ok");
        }
    }

    /// Time since the last answer; `None` before the first.
    pub(crate) fn age(&self, now: Instant) -> Option<Duration> {
        let last = *self.first.get()? + Duration::from_millis(self.last.load(Ordering::Relaxed));
        Some(now.saturating_duration_since(last))
    }

    /// Somebody could not reach the agent: starts the prober unless it runs already. One broken
    /// connection is not a lost registry, so it is the prober that decides.
    pub(crate) fn suspect<F>(
        self: &Arc<Self>,
        class: &'static str,
        runtime: &tokio::runtime::Handle,
        mut probe: impl FnMut() -> F + Send + 'static,
    ) where
        F: Future<Output = bool> + Send,
    {
        if self.probing.swap(true, Ordering::AcqRel) {
            return;
        }
        let gate = Arc::downgrade(self);
        runtime.spawn(async move {
            loop {
                let reached = probe().await;
                let Some(gate) = gate.upgrade() else { return };
                // Others may have been answered meanwhile.
                gate.set(reached, if reached { "ok" } else { class });
                if reached {
                    gate.probing.store(false, Ordering::Release);
                    return;
                }
                drop(gate);
                let pause = Duration::from_millis(1_000 + fastrand::u64(..1_000));
                tokio::time::sleep(pause).await;
            }
        });
    }

    /// Waits `pause`, or less when the agent comes back meanwhile.
    pub(crate) async fn rest(&self, pause: Duration) {
        tokio::select! {
            biased;
            () = tokio::time::sleep(pause) => {}
            // Only a return wakes: while the agent is there, a pause is for another reason.
            () = self.returned() => {
                // Not everybody in the same instant.
                tokio::time::sleep(Duration::from_millis(fastrand::u64(..250))).await;
            }
        }
    }

    /// Completes at the next return of the agent.
    pub(crate) async fn returned(&self) {
        let seen = self.returns.load(Ordering::Acquire);
        loop {
            // Made before the look: a return in between wakes it.
            let woken = self.woken.notified();
            if self.returns.load(Ordering::Acquire) != seen {
                return;
            }
            woken.await;
        }
    }
}
