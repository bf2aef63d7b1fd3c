//! A concurrency limit that finds itself.

use std::time::{Duration, Instant};

use crate::config::{ConfigError, Gradient2Config};

/// Finds how many requests a service can have in flight, from how long they take.
///
/// While the latency of now is that of long, the limit grows by a small queue; when it rises, the
/// limit falls by the ratio of the two. There is no phase of probing, which would let the limit
/// collapse at regular times.
///
/// Pure: fed with samples, it answers a limit. A rejected request is no sample: it has no latency.
/// Source: Netflix concurrency-limits, `Gradient2Limit`:
/// `gradient = clamp(tolerance · long / short, 0.5, 1)`,
/// `limit = limit · (1 − s) + s · (limit · gradient + queue)`; beside it, one tenth less after a
/// step in which requests were dropped.
#[derive(Clone, Debug)]
pub struct Gradient2 {
    config: Gradient2Config,
    limit: f64,
    long: LongTerm,
    step: Option<Step>,
}

/// What was seen in the current step.
#[derive(Clone, Copy, Debug)]
struct Step {
    since: Instant,
    samples: u32,
    sum: Duration,
    in_flight: u32,
    dropped: bool,
}

impl Gradient2 {
    /// A limit at its initial value.
    ///
    /// # Errors
    /// [`ConfigError`] names the value that is out of range.
    pub fn new(config: Gradient2Config) -> Result<Self, ConfigError> {
        config.validate()?;
        let limit = f64::from(config.initial.get());
        let long = LongTerm::new(config.long_window.get());
        Ok(Self { config, limit, long, step: None })
    }

    /// The limit, `min` to `max`.
    #[must_use]
    pub fn limit(&self) -> u32 {
        // Within 1..=1,000,000 by construction.
        self.limit as u32
    }

    /// The configuration in use.
    #[must_use]
    pub const fn config(&self) -> &Gradient2Config {
        &self.config
    }

    /// Takes another configuration over; what was learned stays, within the new bounds.
    ///
    /// # Errors
    /// [`ConfigError`] names the value that is out of range; nothing changes then.
    pub fn reconfigure(&mut self, config: Gradient2Config) -> Result<(), ConfigError> {
        config.validate()?;
        self.limit = self.limit.clamp(f64::from(config.min.get()), f64::from(config.max.get()));
        self.long.window = config.long_window.get();
        self.config = config;
        Ok(())
    }

    /// Takes one request that ended at `now` and took `rtt`; `in_flight` counts it too, as it was
    /// when it began. `dropped` says that the service gave up on it, by a timeout or an answer
    /// that it is overloaded: its latency says nothing then.
    ///
    /// Answers the new limit at the end of a step.
    pub fn on_sample(
        &mut self,
        rtt: Duration,
        in_flight: u32,
        dropped: bool,
        now: Instant,
    ) -> Option<u32> {
        let step = self.step.get_or_insert(Step {
            since: now,
            samples: 0,
            sum: Duration::ZERO,
            in_flight: 0,
            dropped: false,
        });
        step.in_flight = step.in_flight.max(in_flight);
        if dropped {
            step.dropped = true;
        } else {
            step.samples += 1;
            step.sum = step.sum.saturating_add(rtt);
        }
        let over = now.saturating_duration_since(step.since) >= self.config.step;
        if !over || (step.samples < self.config.min_samples.get() && !step.dropped) {
            return None;
        }
        let step = *step;
        self.step = None;
        self.advance(&step);
        Some(self.limit())
    }

    fn advance(&mut self, step: &Step) {
        let next = if step.dropped {
            // The latencies of a service that gives up are those of giving up.
            self.limit * BACKOFF
        } else {
            let short = (step.sum / step.samples.max(1)).as_secs_f64().max(SHORTEST);
            let long = self.long.add(short);
            if long / short > 2.0 {
                // Far below the long term, as after an overload: it comes down faster than by
                // averaging alone.
                self.long.scale(DRIFT);
            }
            // Not used to half, the limit says nothing about the service.
            if f64::from(step.in_flight) < self.limit / 2.0 {
                return;
            }
            let tolerance = f64::from(self.config.tolerance_tenths.get()) / 10.0;
            let gradient = (tolerance * long / short).clamp(0.5, 1.0);
            let target = self.limit * gradient + f64::from(self.config.queue);
            let smoothing = self.config.smoothing.get();
            self.limit * (1.0 - smoothing) + target * smoothing
        };
        self.limit = next.clamp(f64::from(self.config.min.get()), f64::from(self.config.max.get()));
    }
}

/// What is left of the limit after a step with a drop.
const BACKOFF: f64 = 0.9;
/// What is left of a long-term latency that is out of date.
const DRIFT: f64 = 0.95;
/// Seconds; no step divides by zero.
const SHORTEST: f64 = 1e-9;

/// An exponential average that begins as a plain one.
#[derive(Clone, Debug)]
struct LongTerm {
    window: u32,
    count: u32,
    value: f64,
}

impl LongTerm {
    const WARM_UP: u32 = 10;

    const fn new(window: u32) -> Self {
        Self { window, count: 0, value: 0.0 }
    }

    fn add(&mut self, sample: f64) -> f64 {
        if self.count < Self::WARM_UP {
            self.count += 1;
            self.value += (sample - self.value) / f64::from(self.count);
        } else {
            let factor = 2.0 / f64::from(self.window + 1);
            self.value += (sample - self.value) * factor;
        }
        self.value
    }

    fn scale(&mut self, by: f64) {
        self.value *= by;
    }
}

#[cfg(test)]
mod tests;
