//! What connections, clocks and probes of one running agent share.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::watch;
use tokio::time::Instant;

use crate::state::{Identity, State};

/// One life of an agent: a restart makes a new one.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) state: Mutex<State>,
    pub(crate) identity: Identity,
    pub(crate) started: Instant,
    changes: watch::Sender<()>,
}

impl Shared {
    pub(crate) fn new(state: State, started: Instant) -> Arc<Self> {
        let identity = state.identity.clone();
        Arc::new(Self {
            state: Mutex::new(state),
            identity,
            started,
            changes: watch::Sender::new(()),
        })
    }

    /// Wakes everybody who waits for a change. Whether it concerns them they see by their index.
    pub(crate) fn changed(&self) {
        self.changes.send_replace(());
    }

    pub(crate) fn changes(&self) -> watch::Receiver<()> {
        self.changes.subscribe()
    }

    pub(crate) fn with<T>(&self, look: impl FnOnce(&mut State) -> T) -> T {
        look(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
