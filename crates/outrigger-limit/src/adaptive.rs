//! A bound on requests in flight that finds itself.

use std::sync::PoisonError;
use std::time::Instant;

use crate::concurrency::{ConcurrencyLimit, Full, Permit};
use crate::config::{ConfigError, Gradient2Config};
use crate::gradient::Gradient2;
use crate::sync::{Arc, Mutex, MutexGuard};

/// A [`ConcurrencyLimit`] that [`Gradient2`] moves; a clone is another handle to the same one.
#[derive(Clone, Debug)]
pub struct AdaptiveLimit {
    limit: ConcurrencyLimit,
    gradient: Arc<Mutex<Gradient2>>,
}

/// The right to run one request under an [`AdaptiveLimit`]; given back by `Drop`.
///
/// Dropped without [`complete`](Self::complete) it is no sample: the request was cancelled.
#[derive(Debug)]
#[must_use = "a permit that is dropped is given back at once"]
pub struct AdaptivePermit {
    adaptive: AdaptiveLimit,
    permit: Permit,
    started: Instant,
    in_flight: u32,
}

impl AdaptiveLimit {
    /// A limit at its initial value.
    ///
    /// # Errors
    /// [`ConfigError`] names the value that is out of range.
    pub fn new(config: Gradient2Config) -> Result<Self, ConfigError> {
        let gradient = Gradient2::new(config)?;
        let limit = ConcurrencyLimit::new(gradient.limit());
        Ok(Self { limit, gradient: Arc::new(Mutex::new(gradient)) })
    }

    /// Admits a request; never waits.
    ///
    /// # Errors
    /// [`Full`] when as many are in flight as may be.
    pub fn try_acquire(&self, now: Instant) -> Result<AdaptivePermit, Full> {
        let permit = self.limit.try_acquire()?;
        let in_flight = self.limit.in_flight();
        Ok(AdaptivePermit { adaptive: self.clone(), permit, started: now, in_flight })
    }

    /// Requests in flight.
    #[must_use]
    pub fn in_flight(&self) -> u32 {
        self.limit.in_flight()
    }

    /// The limit of now.
    #[must_use]
    pub fn limit(&self) -> u32 {
        self.limit.limit()
    }

    /// Takes another configuration over; what was learned stays, within the new bounds.
    ///
    /// # Errors
    /// [`ConfigError`] names the value that is out of range; nothing changes then.
    pub fn reconfigure(&self, config: Gradient2Config) -> Result<(), ConfigError> {
        let mut gradient = self.gradient();
        gradient.reconfigure(config)?;
        self.limit.set_limit(gradient.limit());
        Ok(())
    }

    fn gradient(&self) -> MutexGuard<'_, Gradient2> {
        // Plain numbers: whole whatever happened to the holder.
        self.gradient.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl AdaptivePermit {
    /// The request ended at `now`; `dropped` says that the service gave up on it, by a timeout or
    /// an answer that it is overloaded.
    pub fn complete(self, dropped: bool, now: Instant) {
        let Self { adaptive, permit, started, in_flight } = self;
        drop(permit);
        let rtt = now.saturating_duration_since(started);
        // Set under the lock: of two steps the later one's limit stays.
        let mut gradient = adaptive.gradient();
        if let Some(limit) = gradient.on_sample(rtt, in_flight, dropped, now) {
            adaptive.limit.set_limit(limit);
        }
    }
}

#[cfg(test)]
mod tests;
