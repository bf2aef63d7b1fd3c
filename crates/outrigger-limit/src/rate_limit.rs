//! One bucket.

use std::fmt;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use governor::middleware::{StateInformationMiddleware, StateSnapshot};
use governor::nanos::Nanos;
use governor::state::StateStore;
use governor::{NotUntil, Quota, RateLimiter};

use crate::clock::CallClock;
use crate::config::{ConfigError, Mode, RateLimitConfig};
use crate::scale::{Scale, UNUSED};
use crate::sync::{Arc, AtomicU64, Ordering};
use crate::table::SingleStore;

/// A request was admitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Admitted {
    /// Most tokens in the bucket.
    pub limit: u32,
    /// Tokens left in it.
    pub remaining: u32,
    /// Whether the request was over the limit and would have been limited, were the limit not in
    /// [`Mode::Observe`].
    pub is_spared: bool,
}

/// A request was over the limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("over the limit, which has a burst of {limit}")]
#[non_exhaustive]
pub struct Limited {
    /// When a token will be there, if nobody else takes it; never zero.
    pub retry_after: Duration,
    /// Most tokens in the bucket.
    pub limit: u32,
    /// Tokens left in it: none.
    pub remaining: u32,
}

/// A limit with one bucket for all.
///
/// Never admits more than rate × time + burst, whatever threads read of their clocks: a `now` that
/// lies before another thread's is only ever admitted less.
///
/// Cost: no lock and no allocation; one compare-and-swap.
pub struct RateLimit {
    plan: ArcSwap<Plan<SingleStore, AtomicU64>>,
    origin: Instant,
}

impl fmt::Debug for RateLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RateLimit").field("config", &self.plan.load().config).finish()
    }
}

impl RateLimit {
    /// A full bucket.
    ///
    /// # Errors
    /// [`ConfigError`] names the value that is out of range.
    pub fn new(config: RateLimitConfig, now: Instant) -> Result<Self, ConfigError> {
        config.validate()?;
        let scale = Scale::new(config.interval(), config.burst().get());
        let bucket = Arc::new(AtomicU64::new(UNUSED));
        let plan = Self::plan(config, scale, bucket);
        Ok(Self { plan: ArcSwap::from_pointee(plan), origin: now })
    }

    /// Takes a token; never waits.
    ///
    /// # Errors
    /// [`Limited`] when there is none. Another request makes sense after `retry_after`.
    #[inline]
    pub fn try_acquire(&self, now: Instant) -> Result<Admitted, Limited> {
        let plan = self.plan.load();
        CallClock::set(since(self.origin, now));
        plan.verdict(plan.limiter.check())
    }

    /// Looks whether a token is there, and takes none.
    ///
    /// `remaining` counts the token that a request would take. What is seen may be gone when it is
    /// asked for.
    ///
    /// # Errors
    /// [`Limited`] when there is none.
    pub fn peek(&self, now: Instant) -> Result<Admitted, Limited> {
        let plan = self.plan.load();
        let state = plan.state.load(Ordering::SeqCst);
        plan.look(plan.scale.full_at(state), since(self.origin, now))
    }

    /// The configuration in use.
    #[must_use]
    pub fn config(&self) -> RateLimitConfig {
        self.plan.load().config.clone()
    }

    /// Takes another configuration over. The tokens that are left stay, as far as the new burst
    /// holds them, and none are added.
    ///
    /// # Errors
    /// [`ConfigError`] names the value that is out of range; nothing changes then.
    pub fn reconfigure(&self, config: RateLimitConfig, now: Instant) -> Result<(), ConfigError> {
        config.validate()?;
        self.plan.rcu(|plan| {
            let scale = plan.next_scale(&config, since(self.origin, now));
            Self::plan(config.clone(), scale, Arc::clone(&plan.state))
        });
        Ok(())
    }

    fn plan(
        config: RateLimitConfig,
        scale: Scale,
        bucket: Arc<AtomicU64>,
    ) -> Plan<SingleStore, AtomicU64> {
        let store = SingleStore { bucket: Arc::clone(&bucket), scale: scale.clone() };
        Plan::new(config, scale, store, bucket)
    }
}

/// A limiter of governor's under one configuration; a reload replaces it and keeps the state.
pub(crate) struct Plan<S: StateStore, H> {
    pub(crate) limiter: Governor<S>,
    pub(crate) config: RateLimitConfig,
    pub(crate) state: Arc<H>,
    pub(crate) scale: Scale,
    burst: u32,
    observe: bool,
}

type Governor<S> = RateLimiter<<S as StateStore>::Key, S, CallClock, StateInformationMiddleware>;

impl<S: StateStore, H> Plan<S, H> {
    pub(crate) fn new(config: RateLimitConfig, scale: Scale, store: S, state: Arc<H>) -> Self {
        // governor counts from the moment at which it was made; so does the state.
        CallClock::set(0);
        let limiter = RateLimiter::new(quota(&config), store, CallClock);
        let (burst, observe) = (config.burst().get(), config.mode == Mode::Observe);
        Self { limiter, config, state, scale, burst, observe }
    }

    pub(crate) fn next_scale(&self, config: &RateLimitConfig, now: u64) -> Scale {
        self.scale.next(config.interval(), config.burst().get(), now)
    }

    /// What governor would say of a bucket that is full again at `full_at`.
    pub(crate) fn look(&self, full_at: u64, now: u64) -> Result<Admitted, Limited> {
        let (limit, interval) = (self.burst, self.config.interval());
        let depth = interval.saturating_mul(u64::from(limit));
        let missing = full_at.saturating_sub(now);
        if missing.saturating_add(interval) <= depth {
            // At most `burst`, which is a u32.
            let remaining = ((depth - missing) / interval) as u32;
            return Ok(Admitted { limit, remaining, is_spared: false });
        }
        if self.observe {
            return Ok(Admitted { limit, remaining: 0, is_spared: true });
        }
        let wait = missing.saturating_add(interval) - depth;
        Err(Limited { retry_after: Duration::from_nanos(wait), limit, remaining: 0 })
    }

    /// Puts governor's verdict into our words.
    #[inline]
    pub(crate) fn verdict(
        &self,
        verdict: Result<StateSnapshot, NotUntil<Nanos>>,
    ) -> Result<Admitted, Limited> {
        let limit = self.burst;
        match verdict {
            Ok(state) => {
                let remaining = state.remaining_burst_capacity();
                Ok(Admitted { limit, remaining, is_spared: false })
            }
            Err(_) if self.observe => Ok(Admitted { limit, remaining: 0, is_spared: true }),
            Err(until) => {
                let wait = until.wait_time_from(CallClock::get().into());
                let retry_after = wait.max(Duration::from_nanos(1));
                Err(Limited { retry_after, limit, remaining: 0 })
            }
        }
    }
}

fn quota(config: &RateLimitConfig) -> Quota {
    // `None` is for a time of zero, which no rate has.
    Quota::with_period(Duration::from_nanos(config.interval()))
        .unwrap_or_else(|| Quota::per_second(config.rate.count()))
        .allow_burst(config.burst())
}

/// Nanoseconds since a limiter was made. A `now` from before that is taken as that moment.
#[inline]
pub(crate) fn since(origin: Instant, now: Instant) -> u64 {
    // 584 years; saturating costs nothing and cannot be reached.
    u64::try_from(now.saturating_duration_since(origin).as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
