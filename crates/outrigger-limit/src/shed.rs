//! How many requests a machine without CPU to spare still takes.

use std::sync::PoisonError;

use outrigger_core::Ratio;

use crate::config::{ConfigError, Mode};
use crate::sync::{Arc, AtomicU64, Mutex, Ordering};

/// When load is shed; the `shed` table of a policy's inbound half.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(default, deny_unknown_fields))]
#[non_exhaustive]
pub struct ShedConfig {
    /// Share of the CPU that the process may use above which requests are turned away, above 0, up to 1;
    /// 1 never sheds. Default 0.9.
    pub cpu_above: Ratio,
    /// Whether the verdict is obeyed. Default [`Mode::Enforce`].
    pub mode: Mode,
}

impl Default for ShedConfig {
    fn default() -> Self {
        Self { cpu_above: Ratio::from_percent(90), mode: Mode::Enforce }
    }
}

impl ShedConfig {
    /// Checks every value against its range.
    ///
    /// # Errors
    /// [`ConfigError`] names the key, the value and what is allowed.
    pub fn validate(&self) -> Result<(), ConfigError> {
        if self.cpu_above.get() <= 0.0 {
            return Err(ConfigError {
                key: "shed.cpu_above",
                value: self.cpu_above.to_string(),
                allowed: "above 0, up to 1",
            });
        }
        Ok(())
    }
}

/// Shedding begins or ends.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct ShedChange {
    /// Whether it begins.
    pub begins: bool,
    /// The share of requests that is admitted from now on.
    pub admits: Ratio,
}

/// Decides, sample by sample, which share of the requests is admitted.
///
/// Pure: fed with the share of the CPU that was used, a few times a second. Above the threshold
/// the admitted share falls, the faster the less CPU is left, to no less than
/// [`FLOOR`](Self::FLOOR); below nine tenths of the threshold it rises again, and in between it
/// stays. So the share is moved in small steps to where the machine is just busy: a switch between
/// all and nothing would make callers come back in waves.
#[derive(Clone, Debug)]
pub struct Shedder {
    config: ShedConfig,
    used: Option<f64>,
    admits: f64,
}

impl Shedder {
    /// The share of requests that is always admitted, by lot: who is never let in can never show
    /// that the storm is over, nor can a health check that has to pass.
    pub const FLOOR: f64 = 0.1;

    /// Everything is admitted.
    ///
    /// # Errors
    /// [`ConfigError`] names the value that is out of range.
    pub fn new(config: ShedConfig) -> Result<Self, ConfigError> {
        config.validate()?;
        Ok(Self { config, used: None, admits: 1.0 })
    }

    /// The share that is admitted, `FLOOR` to 1.
    #[must_use]
    pub const fn admits(&self) -> f64 {
        self.admits
    }

    /// The configuration in use.
    #[must_use]
    pub const fn config(&self) -> ShedConfig {
        self.config
    }

    /// Takes another configuration over; what is measured and the share stay.
    ///
    /// # Errors
    /// [`ConfigError`] names the value that is out of range; nothing changes then.
    pub fn reconfigure(&mut self, config: ShedConfig) -> Result<(), ConfigError> {
        config.validate()?;
        self.config = config;
        Ok(())
    }

    /// Takes the share of the CPU that was used since the sample before, 0 to 1; about 4 a second
    /// are right. What is no number is no sample.
    pub fn on_sample(&mut self, used: f64) -> Option<ShedChange> {
        if !used.is_finite() {
            return None;
        }
        let sample = used.clamp(0.0, 1.0);
        // One busy quarter of a second, a collection of garbage say, is no storm.
        let used = self.used.map_or(sample, |before| before + (sample - before) * WEIGHT);
        self.used = Some(used);
        let (above, before) = (self.config.cpu_above.get(), self.admits);
        if used > above {
            let excess = (used - above) / (1.0 - above);
            self.admits = (before * (1.0 - MOST_CUT * excess)).max(Self::FLOOR);
        } else if used < above * RELEASE {
            self.admits = (before * GROWTH + STEP).min(1.0);
        }
        let (was, is) = (before < 1.0, self.admits < 1.0);
        let admits = Ratio::new(self.admits).unwrap_or(Ratio::ONE);
        (was != is).then_some(ShedChange { begins: is, admits })
    }
}

/// Weight of a new sample in the average.
const WEIGHT: f64 = 0.4;
/// What is cut from the share by a sample of a machine that has nothing left.
const MOST_CUT: f64 = 0.3;
/// Below this part of the threshold more is admitted again.
const RELEASE: f64 = 0.9;
/// From the floor back to everything in about 15 samples.
const GROWTH: f64 = 1.1;
const STEP: f64 = 0.02;

/// A [`Shedder`] that is asked by many and fed by one; a clone is another handle to the same one.
///
/// Cost: to ask is to read one word.
#[derive(Clone, Debug)]
pub struct CpuShed {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    /// The admitted share, scaled to all numbers; `u64::MAX` is everything.
    admits: AtomicU64,
    /// 1 while the verdict is not obeyed.
    observes: AtomicU64,
    shedder: Mutex<Shedder>,
}

/// What a [`CpuShed`] says of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ShedVerdict {
    /// It goes on.
    Admitted,
    /// It is turned away.
    Shed,
    /// It goes on, and would have been turned away were the rule not only observed.
    Spared,
}

impl CpuShed {
    /// Everything is admitted until samples say otherwise.
    ///
    /// # Errors
    /// [`ConfigError`] names the value that is out of range.
    pub fn new(config: ShedConfig) -> Result<Self, ConfigError> {
        let shedder = Mutex::new(Shedder::new(config)?);
        let observes = AtomicU64::new(u64::from(config.mode == Mode::Observe));
        let admits = AtomicU64::new(u64::MAX);
        Ok(Self { shared: Arc::new(Shared { admits, observes, shedder }) })
    }

    /// Feeds a sample; see [`Shedder::on_sample`].
    pub fn on_sample(&self, used: f64) -> Option<ShedChange> {
        let mut shedder = self.shedder();
        let change = shedder.on_sample(used);
        let admits = shedder.admits();
        // Saturates at the largest number, which admits every draw but that one.
        let scaled = (admits * u64::MAX as f64) as u64;
        self.shared.admits.store(if admits < 1.0 { scaled } else { u64::MAX }, Ordering::Relaxed);
        change
    }

    /// What becomes of a request with this draw, uniform over all numbers.
    #[inline]
    #[must_use]
    pub fn verdict(&self, draw: u64) -> ShedVerdict {
        let admits = self.shared.admits.load(Ordering::Relaxed);
        if admits == u64::MAX || draw < admits {
            ShedVerdict::Admitted
        } else if self.shared.observes.load(Ordering::Relaxed) == 1 {
            ShedVerdict::Spared
        } else {
            ShedVerdict::Shed
        }
    }

    /// Whether a part of the requests is turned away, so that a draw is needed.
    #[inline]
    #[must_use]
    pub fn is_shedding(&self) -> bool {
        self.shared.admits.load(Ordering::Relaxed) != u64::MAX
    }

    /// The share that is admitted.
    #[must_use]
    pub fn admits(&self) -> f64 {
        self.shedder().admits()
    }

    /// The configuration in use.
    #[must_use]
    pub fn config(&self) -> ShedConfig {
        self.shedder().config()
    }

    /// Takes another configuration over; what is measured and the admitted share stay.
    ///
    /// # Errors
    /// [`ConfigError`] names the value that is out of range; nothing changes then.
    pub fn reconfigure(&self, config: ShedConfig) -> Result<(), ConfigError> {
        self.shedder().reconfigure(config)?;
        self.shared.observes.store(u64::from(config.mode == Mode::Observe), Ordering::Relaxed);
        Ok(())
    }

    fn shedder(&self) -> crate::sync::MutexGuard<'_, Shedder> {
        // Plain numbers: whole whatever happened to the holder.
        self.shared.shedder.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
