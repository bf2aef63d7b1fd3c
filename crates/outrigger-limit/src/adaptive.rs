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
    gradient: Arc<Mutex<Steering>>,
}

/// What moves the limit, until another rule takes it over.
#[derive(Debug)]
struct Steering {
    gradient: Gradient2,
    is_over: bool,
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
        Self::over(ConcurrencyLimit::new(0), config)
    }

    /// The same over what a fixed bound has counted; from now on this one sets its limit.
    pub(crate) fn over(
        limit: ConcurrencyLimit,
        config: Gradient2Config,
    ) -> Result<Self, ConfigError> {
        let gradient = Gradient2::new(config)?;
        limit.set_limit(gradient.limit());
        let steering = Steering { gradient, is_over: false };
        Ok(Self { limit, gradient: Arc::new(Mutex::new(steering)) })
    }

    /// Makes a fixed bound of it. Requests that are in flight count on, and move nothing any more.
    pub(crate) fn fix(&self, limit: u32) -> ConcurrencyLimit {
        let mut steering = self.steering();
        steering.is_over = true;
        self.limit.set_limit(limit);
        self.limit.clone()
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
        let mut steering = self.steering();
        steering.gradient.reconfigure(config)?;
        if !steering.is_over {
            self.limit.set_limit(steering.gradient.limit());
        }
        Ok(())
    }

    fn steering(&self) -> MutexGuard<'_, Steering> {
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
        let mut steering = adaptive.steering();
        if let Some(limit) = steering.gradient.on_sample(rtt, in_flight, dropped, now)
            && !steering.is_over
        {
            adaptive.limit.set_limit(limit);
        }
    }
}

#[cfg(test)]
mod tests;
