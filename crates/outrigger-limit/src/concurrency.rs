//! Requests in flight.

use crate::sync::{Arc, AtomicU32, Ordering};

/// A bound on requests in flight; a clone is another handle to the same one.
///
/// Nobody waits in it: what is over the bound is refused at once. Cost: one compare-and-swap.
#[derive(Clone, Debug)]
pub struct ConcurrencyLimit {
    shared: Arc<InFlight>,
}

#[derive(Debug)]
struct InFlight {
    limit: AtomicU32,
    count: AtomicU32,
}

/// As many requests are in flight as may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{limit} requests are in flight, as many as may be")]
#[non_exhaustive]
pub struct Full {
    /// The bound.
    pub limit: u32,
}

/// The right to run one request; given back by `Drop`.
#[derive(Debug)]
#[must_use = "a permit that is dropped is given back at once"]
pub struct Permit {
    shared: Arc<InFlight>,
}

impl ConcurrencyLimit {
    /// A bound of `limit`; 0 lets nothing through.
    #[must_use]
    pub fn new(limit: u32) -> Self {
        let (limit, count) = (AtomicU32::new(limit), AtomicU32::new(0));
        Self { shared: Arc::new(InFlight { limit, count }) }
    }

    /// Admits a request; never waits.
    ///
    /// # Errors
    /// [`Full`] when as many are in flight as may be.
    #[inline]
    pub fn try_acquire(&self) -> Result<Permit, Full> {
        let limit = self.limit();
        let count = &self.shared.count;
        let mut seen = count.load(Ordering::Relaxed);
        loop {
            if seen >= limit {
                return Err(Full { limit });
            }
            // Acquire and release pair up: what the last holder did is seen by the next.
            let next =
                count.compare_exchange_weak(seen, seen + 1, Ordering::Acquire, Ordering::Relaxed);
            match next {
                Ok(_) => return Ok(Permit { shared: Arc::clone(&self.shared) }),
                Err(present) => seen = present,
            }
        }
    }

    /// Requests in flight; may lie above a bound that was just lowered.
    #[must_use]
    pub fn in_flight(&self) -> u32 {
        self.shared.count.load(Ordering::Relaxed)
    }

    /// The bound.
    #[must_use]
    pub fn limit(&self) -> u32 {
        self.shared.limit.load(Ordering::Relaxed)
    }

    /// Sets another bound. What is in flight above it stays and ends.
    pub fn set_limit(&self, limit: u32) {
        self.shared.limit.store(limit, Ordering::Relaxed);
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let before = self.shared.count.fetch_sub(1, Ordering::Release);
        debug_assert!(before > 0, "each permit was counted once");
    }
}
