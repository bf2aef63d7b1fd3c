//! Where earlier tries of a request went.

use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};

/// The endpoints that tries of one request went to, so that the next goes elsewhere.
///
/// Shared by the tries of a request, which for hedges run at the same time. Cost: made for a
/// second try or a request that may be hedged, never for one that is answered at once.
#[derive(Debug, Default)]
pub struct Tried(Mutex<Vec<SocketAddr>>);

impl Tried {
    /// Nowhere yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds one.
    pub fn push(&self, endpoint: SocketAddr) {
        // A poisoned list is whole: each change is one push.
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(endpoint);
    }

    /// Looks at them, in the order they were tried.
    pub fn with<T>(&self, look: impl FnOnce(&[SocketAddr]) -> T) -> T {
        look(&self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
