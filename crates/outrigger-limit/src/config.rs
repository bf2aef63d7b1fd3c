//! What may be set.

use std::num::NonZeroU32;
use std::time::Duration;

use outrigger_core::{Rate, Ratio};

/// How much is let through in how long.
///
/// The bucket holds `burst` tokens and gains `rate`; a request takes one.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(deny_unknown_fields))]
#[non_exhaustive]
pub struct RateLimitConfig {
    /// Tokens per time; the bucket gains them continuously, not all at once. At most 10⁹ a second.
    pub rate: Rate,
    /// Most tokens in the bucket, so most requests at once. Default: the count of `rate`.
    #[cfg_attr(feature = "serde", serde(default))]
    pub burst: Option<NonZeroU32>,
    /// Whether the verdict is obeyed. Default [`Mode::Enforce`].
    #[cfg_attr(feature = "serde", serde(default))]
    pub mode: Mode,
    /// Buckets kept at once, 1 to 16,777,216, by a limit per key; 24 to 55 bytes each. Default
    /// 65,536.
    #[cfg_attr(feature = "serde", serde(default = "max_keys"))]
    pub max_keys: NonZeroU32,
    /// What becomes of a key when that many others are in use. Default [`WhenFull::Share`].
    #[cfg_attr(feature = "serde", serde(default))]
    pub when_full: WhenFull,
}

const fn max_keys() -> NonZeroU32 {
    at_least_one(65_536)
}

const fn at_least_one(number: u32) -> NonZeroU32 {
    match NonZeroU32::new(number) {
        Some(number) => number,
        None => NonZeroU32::MIN,
    }
}

/// Whether a limit's verdict is obeyed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum Mode {
    /// Over the limit means limited.
    #[default]
    Enforce,
    /// Counts, and admits all the same.
    Observe,
}

/// What becomes of a key that finds no room, since all buckets it could have are in use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum WhenFull {
    /// All such keys share one bucket.
    #[default]
    Share,
    /// It is limited.
    Refuse,
}

impl RateLimitConfig {
    /// Most buckets.
    pub const MAX_KEYS: u32 = 1 << 24;

    /// A limit of `rate`, with its count as burst.
    #[must_use]
    pub const fn new(rate: Rate) -> Self {
        Self {
            rate,
            burst: None,
            mode: Mode::Enforce,
            max_keys: max_keys(),
            when_full: WhenFull::Share,
        }
    }

    /// The same with another burst.
    #[must_use]
    pub const fn with_burst(mut self, burst: NonZeroU32) -> Self {
        self.burst = Some(burst);
        self
    }

    /// The same with another mode.
    #[must_use]
    pub const fn with_mode(mut self, mode: Mode) -> Self {
        self.mode = mode;
        self
    }

    /// Most tokens in the bucket.
    #[must_use]
    pub fn burst(&self) -> NonZeroU32 {
        self.burst.unwrap_or_else(|| self.rate.count())
    }

    /// Nanoseconds per token, rounded up: never more than the rate.
    pub(crate) fn interval(&self) -> u64 {
        let per = self.rate.per().as_nanos();
        let interval = per.div_ceil(u128::from(self.rate.count().get()));
        // At most a day.
        u64::try_from(interval).unwrap_or(u64::MAX)
    }

    /// Checks every value against its range.
    ///
    /// # Errors
    /// [`ConfigError`] names the first key that is out of range and what is allowed.
    pub fn validate(&self) -> Result<(), ConfigError> {
        // A bucket's state is an instant of 60 bits; half of it is left for the process's age.
        const LONGEST: u128 = 1 << 59;
        let fill = u128::from(self.interval()) * u128::from(self.burst().get());
        if fill >= LONGEST {
            return Err(ConfigError {
                key: "rate_limits.burst",
                value: self.burst().to_string(),
                allowed: "what the rate refills within 18 years",
            });
        }
        if self.rate.per().as_nanos() < u128::from(self.rate.count().get()) {
            return Err(ConfigError {
                key: "rate_limits.rate",
                value: self.rate.to_string(),
                allowed: "up to 1000000000/s",
            });
        }
        if self.max_keys.get() > Self::MAX_KEYS {
            return Err(ConfigError {
                key: "rate_limits.max_keys",
                value: self.max_keys.to_string(),
                allowed: "1 to 16777216",
            });
        }
        Ok(())
    }
}

/// A concurrency limit that finds itself from latencies: Gradient2.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(default, deny_unknown_fields))]
#[non_exhaustive]
pub struct Gradient2Config {
    /// Limit at the start, `min` to `max`. Default 20.
    pub initial: NonZeroU32,
    /// Smallest limit. Default 4.
    pub min: NonZeroU32,
    /// Largest limit, up to 1,000,000. Default 1,024.
    pub max: NonZeroU32,
    /// How much of each step is taken, above 0. Default 0.2.
    pub smoothing: Ratio,
    /// Steps over which the long-term latency is averaged, 10 to 100,000. Default 600.
    pub long_window: NonZeroU32,
    /// Times the long-term latency that is taken for noise and not for a queue, in tenths, 10 to
    /// 100: 15 is 1.5 times. Default 15.
    pub tolerance_tenths: NonZeroU32,
    /// Requests that may queue in the service while the limit still grows, up to 1,000. Default 4.
    pub queue: u32,
    /// Shortest time of a step, 1 ms to 1 min; its samples are averaged. Default 100 ms.
    #[cfg_attr(feature = "serde", serde(with = "humantime_serde"))]
    pub step: Duration,
    /// Fewest samples of a step, 1 to 10,000. Default 10.
    pub min_samples: NonZeroU32,
}

impl Default for Gradient2Config {
    fn default() -> Self {
        Self {
            initial: at_least_one(20),
            min: at_least_one(4),
            max: at_least_one(1_024),
            smoothing: Ratio::from_percent(20),
            long_window: at_least_one(600),
            tolerance_tenths: at_least_one(15),
            queue: 4,
            step: Duration::from_millis(100),
            min_samples: at_least_one(10),
        }
    }
}

impl Gradient2Config {
    /// The same with another largest limit; the others are brought below it.
    #[must_use]
    pub fn with_max(mut self, max: NonZeroU32) -> Self {
        self.max = max;
        self.min = self.min.min(max);
        self.initial = self.initial.min(max);
        self
    }

    /// Checks every value against its range.
    ///
    /// # Errors
    /// [`ConfigError`] names the first key that is out of range and what is allowed.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let number = |key, value: u32, min: u32, max: u32, allowed| {
            let holds = (min..=max).contains(&value);
            holds.then_some(()).ok_or_else(|| ConfigError {
                key,
                value: value.to_string(),
                allowed,
            })
        };
        let (min, max) = (self.min.get(), self.max.get());
        number("adaptive.max", max, 1, 1_000_000, "1 to 1000000")?;
        number("adaptive.min", min, 1, max, "1 to max")?;
        number("adaptive.initial", self.initial.get(), min, max, "min to max")?;
        number("adaptive.long_window", self.long_window.get(), 10, 100_000, "10 to 100000")?;
        number("adaptive.tolerance_tenths", self.tolerance_tenths.get(), 10, 100, "10 to 100")?;
        number("adaptive.queue", self.queue, 0, 1_000, "0 to 1000")?;
        number("adaptive.min_samples", self.min_samples.get(), 1, 10_000, "1 to 10000")?;
        if self.smoothing == Ratio::ZERO {
            let value = self.smoothing.to_string();
            return Err(ConfigError {
                key: "adaptive.smoothing",
                value,
                allowed: "above 0, up to 1",
            });
        }
        if !(Duration::from_millis(1)..=Duration::from_secs(60)).contains(&self.step) {
            let value = format!("{:?}", self.step);
            return Err(ConfigError { key: "adaptive.step", value, allowed: "1ms to 1m" });
        }
        Ok(())
    }
}

/// A value that is out of its range.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{key} = {value} is out of range; allowed is {allowed}")]
#[non_exhaustive]
pub struct ConfigError {
    /// The key, with dots.
    pub key: &'static str,
    /// The value that was given.
    pub value: String,
    /// What is allowed.
    pub allowed: &'static str,
}
