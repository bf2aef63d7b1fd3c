//! One bucket per key.

use std::fmt;
use std::time::Instant;

use arc_swap::ArcSwap;

use crate::clock::CallClock;
use crate::config::{ConfigError, RateLimitConfig};
use crate::key::{Key, KeyBuilder};
use crate::rate_limit::{Admitted, Limited, Plan, since};
use crate::scale::Scale;
use crate::sync::Arc;
use crate::table::{KeyedStore, Table};

/// A limit with one bucket per key: per caller, header, path, client address.
///
/// Memory is bounded and taken at once, by `max_keys`. A bucket whose tokens are all back says the
/// same as none, so its place goes to whoever comes next; keys that find no room while others are
/// in use share a bucket or are limited, as configured. Never more than rate × time + burst for a
/// key, as for [`RateLimit`](crate::RateLimit).
///
/// Cost: no lock and no allocation for a key that was seen lately; a short lock for a new one.
pub struct KeyedRateLimit {
    plan: ArcSwap<Plan<KeyedStore, Table>>,
    origin: Instant,
    secret: u128,
}

impl fmt::Debug for KeyedRateLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Neither the secret nor a million places.
        f.debug_struct("KeyedRateLimit").field("config", &self.plan.load().config).finish()
    }
}

impl KeyedRateLimit {
    /// No key yet, so all buckets are full. `secret` keeps callers from choosing their bucket:
    /// random, another in each process.
    ///
    /// # Errors
    /// [`ConfigError`] names the value that is out of range.
    pub fn new(config: RateLimitConfig, secret: u128, now: Instant) -> Result<Self, ConfigError> {
        config.validate()?;
        let scale = Scale::new(config.interval(), config.burst().get());
        let table = Arc::new(Table::new(config.max_keys.get() as usize));
        let plan = ArcSwap::from_pointee(Self::plan(config, scale, table));
        Ok(Self { plan, origin: now, secret })
    }

    /// Starts a key.
    #[inline]
    pub const fn key(&self) -> KeyBuilder {
        KeyBuilder::new(self.secret)
    }

    /// Takes a token from the bucket of `key`; never waits.
    ///
    /// # Errors
    /// [`Limited`] when there is none. Another request makes sense after `retry_after`.
    #[inline]
    pub fn try_acquire(&self, key: Key, now: Instant) -> Result<Admitted, Limited> {
        let plan = self.plan.load();
        CallClock::set(since(self.origin, now));
        plan.verdict(plan.limiter.check_key(&key))
    }

    /// Looks whether a token is there, and takes none; a key that was not seen lately has a full
    /// bucket.
    ///
    /// `remaining` counts the token that a request would take. What is seen may be gone when it is
    /// asked for.
    ///
    /// # Errors
    /// [`Limited`] when there is none.
    pub fn peek(&self, key: Key, now: Instant) -> Result<Admitted, Limited> {
        let plan = self.plan.load();
        let full_at = plan.state.peek(key, &plan.scale).unwrap_or(0);
        plan.look(full_at, since(self.origin, now))
    }

    /// Keys in the table, those with a full bucket included: what a metric shows.
    #[must_use]
    pub fn len(&self) -> usize {
        self.plan.load().state.len()
    }

    /// Whether no key was seen yet.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Keys there is room for: `max_keys` and up to about twice as many.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.plan.load().state.capacity()
    }

    /// The configuration in use.
    #[must_use]
    pub fn config(&self) -> RateLimitConfig {
        self.plan.load().config.clone()
    }

    /// Takes another configuration over. The tokens that are left stay, as far as the new burst
    /// holds them, and none are added. Another `max_keys` moves the buckets to another table; what
    /// others take in that moment, some milliseconds for a million keys, is forgotten.
    ///
    /// # Errors
    /// [`ConfigError`] names the value that is out of range; nothing changes then.
    pub fn reconfigure(&self, config: RateLimitConfig, now: Instant) -> Result<(), ConfigError> {
        config.validate()?;
        let nanos = since(self.origin, now);
        self.plan.rcu(|plan| {
            let table = if plan.config.max_keys == config.max_keys {
                Arc::clone(&plan.state)
            } else {
                let table = Table::new(config.max_keys.get() as usize);
                table.adopt(&plan.state, &plan.scale, nanos);
                Arc::new(table)
            };
            Self::plan(config.clone(), plan.next_scale(&config, nanos), table)
        });
        Ok(())
    }

    fn plan(config: RateLimitConfig, scale: Scale, table: Arc<Table>) -> Plan<KeyedStore, Table> {
        let when_full = config.when_full;
        let store = KeyedStore { table: Arc::clone(&table), scale: scale.clone(), when_full };
        Plan::new(config, scale, store, table)
    }
}

#[cfg(test)]
mod tests;
