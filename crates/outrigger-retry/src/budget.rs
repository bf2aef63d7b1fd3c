//! How many retries a destination bears.

mod counters;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use outrigger_core::{Ratio, ServiceName};

use crate::ConfigError;
use counters::{Counters, Source};

/// How many retries a destination bears; the `budget` table of `retry`.
///
/// Both bounds must allow a retry: the retries running at once, and a bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(default, deny_unknown_fields))]
#[non_exhaustive]
pub struct BudgetConfig {
    /// Retries per request: of those in flight at once, and of those begun. Default 0.2.
    pub ratio: Ratio,
    /// Retries that may run at once however few requests are in flight, at most 10,000. Default 3.
    pub min_concurrent: u32,
    /// Retries a second however few requests there are, at most 100,000. Default 10.
    pub min_per_second: u32,
}

impl Default for BudgetConfig {
    fn default() -> Self {
        Self { ratio: Ratio::from_percent(20), min_concurrent: 3, min_per_second: 10 }
    }
}

impl BudgetConfig {
    /// Checks the ranges.
    ///
    /// # Errors
    /// [`ConfigError`] names key, value and what is allowed.
    pub fn validate(&self) -> Result<(), ConfigError> {
        if self.min_concurrent > 10_000 {
            let value = self.min_concurrent;
            return Err(ConfigError::new("retry.budget.min_concurrent", value, "0 to 10000"));
        }
        if self.min_per_second > 100_000 {
            let value = self.min_per_second;
            return Err(ConfigError::new("retry.budget.min_per_second", value, "0 to 100000"));
        }
        Ok(())
    }
}

/// How many retries one destination bears, shared by everything in a process that calls it.
///
/// Two bounds, and both must allow:
/// - *running at once*: at most `max(min_concurrent, ratio × requests in flight)`, counted from the
///   start of the other try to its end;
/// - *a bucket*: each request puts `ratio` of a token in, time puts `min_per_second` in, each retry
///   takes one. The bucket holds at most [`Budget::HOARD`] tokens from requests and a second's
///   worth from time, so that quiet hours do not pay for a storm.
///
/// So in any span `t` retries are at most `ratio × requests + min_per_second × (t + 1 s)` plus the
/// hoard; from the start of the process `ratio × requests + min_per_second × max(t, 1 s)`.
///
/// Cost: a request costs two atomic operations, and one more while the hoard is not full; nothing
/// here takes a lock or allocates.
#[derive(Debug)]
pub struct Budget {
    origin: Instant,
    counters: Counters,
}

impl Budget {
    /// Most tokens kept of what requests have put in.
    pub const HOARD: u32 = 100;

    /// A budget that starts with one second's worth of `min_per_second`.
    ///
    /// Shape: a `config` out of range is brought to its upper bound; [`BudgetConfig::validate`]
    /// is what tells the user.
    #[must_use]
    pub fn new(config: &BudgetConfig, now: Instant) -> Arc<Self> {
        Arc::new(Self { origin: now, counters: Counters::new(config) })
    }

    /// Puts other bounds in force; what is counted stays counted.
    pub fn reconfigure(&self, config: &BudgetConfig) {
        self.counters.configure(config);
    }

    /// Counts a request in flight, from here until the guard is dropped with its response's body.
    pub fn begin_request(self: &Arc<Self>) -> InFlight {
        self.counters.begin_request();
        InFlight(Arc::clone(self))
    }

    /// Takes a token for a retry that will start later, after its backoff.
    ///
    /// `None` when the bucket is empty. Dropped before it is started, the token goes back.
    #[must_use]
    pub fn reserve(self: &Arc<Self>, now: Instant) -> Option<Reservation> {
        let elapsed = now.saturating_duration_since(self.origin);
        let source = self.counters.take(nanos(elapsed))?;
        Some(Reservation { budget: Arc::clone(self), source: Some(source) })
    }

    /// Takes a token and starts at once; `None` when either bound forbids it.
    #[must_use]
    pub fn try_retry(self: &Arc<Self>, now: Instant) -> Option<RetryPermit> {
        self.reserve(now)?.start()
    }

    /// Requests in flight.
    #[must_use]
    pub fn in_flight(&self) -> u32 {
        self.counters.in_flight()
    }

    /// Retries running.
    #[must_use]
    pub fn running(&self) -> u32 {
        self.counters.running()
    }

    /// Whole tokens in the bucket.
    #[must_use]
    pub fn tokens(&self, now: Instant) -> u32 {
        self.counters.tokens(nanos(now.saturating_duration_since(self.origin)))
    }
}

/// One request in flight; given back by dropping it.
#[derive(Debug)]
#[must_use = "dropping it ends the request"]
pub struct InFlight(Arc<Budget>);

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.counters.end_request();
    }
}

/// A token taken for a retry that has not started; given back by dropping it.
#[derive(Debug)]
#[must_use = "dropping it gives the token back"]
pub struct Reservation {
    budget: Arc<Budget>,
    source: Option<Source>,
}

impl Reservation {
    /// Starts the retry; `None` when too many run, and then the token is back in the bucket.
    #[must_use]
    pub fn start(mut self) -> Option<RetryPermit> {
        if !self.budget.counters.try_run() {
            return None;
        }
        self.source = None;
        Some(RetryPermit(Arc::clone(&self.budget)))
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        if let Some(source) = self.source.take() {
            self.budget.counters.give_back(source);
        }
    }
}

/// The right to run one retry; given back by dropping it when its try has ended.
#[derive(Debug)]
#[must_use = "dropping it ends the retry"]
pub struct RetryPermit(Arc<Budget>);

impl Drop for RetryPermit {
    fn drop(&mut self) {
        self.0.counters.end_run();
    }
}

/// The budgets of a process, one per destination.
///
/// Stacked layers and rebuilt stacks that ask for the same destination share one budget. Cost: a
/// lock, taken when a stack is built and never for a request.
#[derive(Debug, Default)]
pub struct Budgets(Mutex<HashMap<ServiceName, Arc<Budget>>>);

impl Budgets {
    /// None yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The budget of `destination`, made at the first call, with `config` in force from now on.
    #[must_use]
    pub fn of(
        &self,
        destination: &ServiceName,
        config: &BudgetConfig,
        now: Instant,
    ) -> Arc<Budget> {
        // A poisoned map is whole: each change of it is one insertion.
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(present) = all.get(destination) {
            present.reconfigure(config);
            return Arc::clone(present);
        }
        let budget = Budget::new(config, now);
        all.insert(destination.clone(), Arc::clone(&budget));
        budget
    }
}

fn nanos(span: Duration) -> u64 {
    u64::try_from(span.as_nanos()).unwrap_or(u64::MAX)
}
