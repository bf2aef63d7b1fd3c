//! Waking those who wait, in the order in which they began to.
//!
//! `tokio::sync::watch` wakes in an order that it draws: in a simulated network that would make two
//! runs of the same seed differ.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use tokio::sync::Notify;

/// Says that something has changed.
#[derive(Debug, Default)]
pub(crate) struct Signal(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    version: AtomicU64,
    notify: Notify,
}

impl Signal {
    pub(crate) fn raise(&self) {
        self.0.version.fetch_add(1, Ordering::AcqRel);
        self.0.notify.notify_waiters();
    }

    /// Hears of whatever comes from now on.
    pub(crate) fn listen(&self) -> Listener {
        let seen = self.0.version.load(Ordering::Acquire);
        Listener { signal: Arc::clone(&self.0), seen }
    }
}

/// Hears of changes, several at once as one.
#[derive(Clone, Debug)]
pub(crate) struct Listener {
    signal: Arc<Inner>,
    seen: u64,
}

impl Listener {
    /// Whatever has come up to now is known.
    pub(crate) fn catch_up(&mut self) {
        self.seen = self.signal.version.load(Ordering::Acquire);
    }

    /// Waits for something that is not known yet.
    pub(crate) async fn changed(&mut self) {
        loop {
            // Made before the look: what is raised in between wakes it.
            let raised = self.signal.notify.notified();
            let now = self.signal.version.load(Ordering::Acquire);
            if now != self.seen {
                self.seen = now;
                return;
            }
            raised.await;
        }
    }
}

/// Holds everybody back while the agent is paused; clones are the same gate.
#[derive(Clone, Debug, Default)]
pub(crate) struct Gate(Arc<Turnstile>);

#[derive(Debug, Default)]
struct Turnstile {
    is_paused: AtomicBool,
    turned: Notify,
}

impl Gate {
    pub(crate) fn set_paused(&self, is_paused: bool) {
        self.0.is_paused.store(is_paused, Ordering::Release);
        self.0.turned.notify_waiters();
    }

    /// Waits until the agent runs.
    pub(crate) async fn pass(&self) {
        self.wait_for(false).await;
    }

    /// Waits until it is paused.
    pub(crate) async fn paused(&self) {
        self.wait_for(true).await;
    }

    async fn wait_for(&self, is_paused: bool) {
        loop {
            let turned = self.0.turned.notified();
            if self.0.is_paused.load(Ordering::Acquire) == is_paused {
                return;
            }
            turned.await;
        }
    }
}
