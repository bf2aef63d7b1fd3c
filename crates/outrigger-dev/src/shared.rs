//! What connections, clocks and probes of one running agent share.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::time::Instant;

use crate::signal::{Listener, Signal};
use crate::state::{Identity, State};

/// One life of an agent: a restart makes a new one.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) state: Mutex<State>,
    pub(crate) identity: Identity,
    pub(crate) started: Instant,
    changes: Signal,
}

impl Shared {
    pub(crate) fn new(state: State, started: Instant) -> Arc<Self> {
        let identity = state.identity.clone();
        Arc::new(Self { state: Mutex::new(state), identity, started, changes: Signal::default() })
    }

    /// Wakes everybody who waits for a change. Whether it concerns them they see by their index.
    pub(crate) fn changed(&self) {
        self.changes.raise();
    }

    pub(crate) fn changes(&self) -> Listener {
        self.changes.listen()
    }

    pub(crate) fn with<T>(&self, look: impl FnOnce(&mut State) -> T) -> T {
        look(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
