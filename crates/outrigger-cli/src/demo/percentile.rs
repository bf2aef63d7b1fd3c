//! Percentiles of what happened lately.

use std::collections::VecDeque;
use std::time::Duration;

/// How far back "lately" reaches.
const WINDOW: Duration = Duration::from_secs(3);
/// Most samples kept; at a few hundred a second the window is whole.
const MAX: usize = 4_096;

/// Durations of the last seconds.
#[derive(Debug, Default)]
pub(crate) struct Recent(VecDeque<(Duration, Duration)>);

/// What was read of them.
#[derive(Debug)]
pub(crate) struct Reading {
    /// Samples a second.
    pub(crate) rate: f64,
    /// The median, in milliseconds.
    pub(crate) p50_ms: Option<f64>,
    /// The 99th percentile, in milliseconds.
    pub(crate) p99_ms: Option<f64>,
}

impl Recent {
    /// Adds what took `took` and ended at `now`, counted from one origin for all.
    pub(crate) fn push(&mut self, now: Duration, took: Duration) {
        while self.0.len() >= MAX
            || self.0.front().is_some_and(|(at, _)| now.saturating_sub(*at) > WINDOW)
        {
            self.0.pop_front();
        }
        self.0.push_back((now, took));
    }

    /// Reads the window that ends at `now`.
    pub(crate) fn read(&self, now: Duration) -> Reading {
        let mut window: Vec<Duration> = self
            .0
            .iter()
            .filter(|(at, _)| now.saturating_sub(*at) <= WINDOW)
            .map(|(_, took)| *took)
            .collect();
        window.sort_unstable();
        let span = now.min(WINDOW).as_secs_f64().max(0.001);
        Reading {
            rate: window.len() as f64 / span,
            p50_ms: percentile(&window, 0.50),
            p99_ms: percentile(&window, 0.99),
        }
    }
}

/// The value below which `share` of the sorted samples lie, by nearest rank, in milliseconds.
pub(crate) fn percentile(sorted: &[Duration], share: f64) -> Option<f64> {
    let rank = (share * sorted.len() as f64).ceil() as usize;
    sorted.get(rank.saturating_sub(1)).map(|took| took.as_secs_f64() * 1e3)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_go_by_nearest_rank() {
        let sorted: Vec<_> = (1..=100).map(Duration::from_millis).collect();
        assert_eq!(percentile(&sorted, 0.5), Some(50.0));
        assert_eq!(percentile(&sorted, 0.99), Some(99.0));
        assert_eq!(percentile(&[], 0.5), None);
    }

    #[test]
    fn what_is_long_ago_does_not_count() {
        let mut recent = Recent::default();
        recent.push(Duration::from_secs(1), Duration::from_millis(900));
        recent.push(Duration::from_secs(9), Duration::from_millis(2));
        let reading = recent.read(Duration::from_secs(10));
        assert_eq!(reading.p99_ms, Some(2.0));
        assert!((reading.rate - 1.0 / 3.0).abs() < 1e-9);
    }
}
