//! A bound on requests in flight of either kind, over reloads.

use std::num::NonZeroU32;

use crate::adaptive::AdaptiveLimit;
use crate::concurrency::ConcurrencyLimit;
use crate::config::{ConfigError, Gradient2Config};

/// How many requests may be in flight; `capacity` and `concurrency` of a policy.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct BoundConfig {
    /// 1 to `u32::MAX`, which is no bound. Default no bound.
    pub max_in_flight: u32,
    /// A limit that follows the answer times, at most `max_in_flight`. Default off.
    pub adaptive: Option<Gradient2Config>,
}

impl Default for BoundConfig {
    fn default() -> Self {
        Self { max_in_flight: u32::MAX, adaptive: None }
    }
}

impl BoundConfig {
    /// A fixed bound.
    #[must_use]
    pub const fn new(max_in_flight: u32) -> Self {
        Self { max_in_flight, adaptive: None }
    }

    /// The same, below which the limit finds itself.
    #[must_use]
    pub fn with_adaptive(mut self, adaptive: Option<Gradient2Config>) -> Self {
        self.adaptive = adaptive;
        self
    }

    /// Checks every value against its range.
    ///
    /// # Errors
    /// [`ConfigError`] names the first key that is out of range and what is allowed.
    pub fn validate(&self) -> Result<(), ConfigError> {
        if self.max_in_flight == 0 {
            return Err(ConfigError {
                key: "max_in_flight",
                value: "0".to_owned(),
                allowed: "1 or more",
            });
        }
        self.adaptive.as_ref().map_or(Ok(()), Gradient2Config::validate)?;
        self.below().map_or(Ok(()), |adaptive| adaptive.validate())
    }

    /// The adaptive limit under the fixed one: it neither starts nor grows above that.
    fn below(&self) -> Option<Gradient2Config> {
        let mut adaptive = self.adaptive.clone()?;
        let most = NonZeroU32::new(self.max_in_flight).unwrap_or(NonZeroU32::MIN);
        adaptive.max = adaptive.max.min(most);
        adaptive.initial = adaptive.initial.min(adaptive.max);
        Some(adaptive)
    }
}

/// A bound on requests in flight, fixed or one that finds itself; a clone is another handle to it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Bound {
    /// Fixed, or none.
    Fixed(ConcurrencyLimit),
    /// One that finds itself.
    Adaptive(AdaptiveLimit),
}

impl Bound {
    /// A bound of nothing in flight.
    ///
    /// # Errors
    /// [`ConfigError`] names the value that is out of range.
    pub fn new(config: &BoundConfig) -> Result<Self, ConfigError> {
        config.validate()?;
        Ok(match config.below() {
            None => Self::Fixed(ConcurrencyLimit::new(config.max_in_flight)),
            Some(adaptive) => Self::Adaptive(AdaptiveLimit::new(adaptive)?),
        })
    }

    /// The bound that follows this one: what is in flight stays counted, and what was learned
    /// stays where both are adaptive.
    ///
    /// # Errors
    /// [`ConfigError`] names the value that is out of range; nothing changes then.
    pub fn reload(&self, config: &BoundConfig) -> Result<Self, ConfigError> {
        config.validate()?;
        let most = config.max_in_flight;
        Ok(match (self, config.below()) {
            (Self::Fixed(limit), None) => {
                limit.set_limit(most);
                Self::Fixed(limit.clone())
            }
            (Self::Fixed(limit), Some(adaptive)) => {
                Self::Adaptive(AdaptiveLimit::over(limit.clone(), adaptive)?)
            }
            (Self::Adaptive(limit), None) => Self::Fixed(limit.fix(most)),
            (Self::Adaptive(limit), Some(adaptive)) => {
                limit.reconfigure(adaptive)?;
                Self::Adaptive(limit.clone())
            }
        })
    }

    /// Requests in flight.
    #[must_use]
    pub fn in_flight(&self) -> u32 {
        match self {
            Self::Fixed(limit) => limit.in_flight(),
            Self::Adaptive(limit) => limit.in_flight(),
        }
    }

    /// The limit of now.
    #[must_use]
    pub fn limit(&self) -> u32 {
        match self {
            Self::Fixed(limit) => limit.limit(),
            Self::Adaptive(limit) => limit.limit(),
        }
    }
}

#[cfg(test)]
mod tests;
