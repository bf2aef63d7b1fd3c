//! How long to wait before another try.

use std::time::Duration;

/// How long to wait before another try; the `backoff` table of `retry`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(default, deny_unknown_fields))]
#[non_exhaustive]
pub struct BackoffConfig {
    /// The first retry waits less than this; each later one up to twice as long. Default 25 ms.
    #[cfg_attr(feature = "serde", serde(with = "humantime_serde"))]
    pub base: Duration,
    /// No wait is longer. Default 250 ms.
    #[cfg_attr(feature = "serde", serde(with = "humantime_serde"))]
    pub max: Duration,
}

impl Default for BackoffConfig {
    fn default() -> Self {
        Self { base: Duration::from_millis(25), max: Duration::from_millis(250) }
    }
}

impl BackoffConfig {
    /// The wait before retry `n`, 1 for the first: uniform in `[0, base·2^(n-1))`, capped at `max`.
    ///
    /// Units: `random` lies in `[0, 1)`; what lies outside is brought to the nearer end.
    ///
    /// Source: Envoy's jittered exponential backoff, as measured; "full jitter" elsewhere.
    #[must_use]
    pub fn wait(&self, n: u8, random: f64) -> Duration {
        let doubled = 1_u32.checked_shl(u32::from(n.saturating_sub(1))).unwrap_or(u32::MAX);
        let bound = self.base.saturating_mul(doubled).min(self.max);
        // NaN clamps to NaN, and `mul_f64` panics on it.
        let random = if random.is_nan() { 0.0 } else { random.clamp(0.0, 1.0 - f64::EPSILON) };
        bound.mul_f64(random)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_cap() {
        let backoff = BackoffConfig::default();
        let longest = |n| backoff.wait(n, 0.999_999).as_millis();
        assert_eq!([1, 2, 3, 4, 5, 200].map(longest), [24, 49, 99, 199, 249, 249]);
        assert_eq!(backoff.wait(3, 0.0), Duration::ZERO, "full jitter reaches down to nothing");
    }

    #[test]
    fn no_random_number_makes_it_panic() {
        for random in [f64::NAN, f64::INFINITY, -1.0, 1.0, 2.0] {
            assert!(BackoffConfig::default().wait(1, random) <= Duration::from_millis(25));
        }
    }

    #[test]
    fn the_means_are_those_measured_at_envoy() {
        // 30 requests there gave means of 13, 25, 55 and 107 ms; half the bound is the law.
        let mut rng = fastrand::Rng::with_seed(7);
        for (n, mean_ms) in [(1, 12.5), (2, 25.0), (3, 50.0), (4, 100.0)] {
            let sum: f64 = (0..4_000)
                .map(|_| BackoffConfig::default().wait(n, rng.f64()).as_secs_f64() * 1e3)
                .sum();
            assert!((sum / 4_000.0 - mean_ms).abs() < 0.04 * mean_ms, "retry {n}");
        }
    }
}
