//! How fast a loop may turn, as in `outrigger-consul`.

use std::time::{Duration, Instant};

/// Paces the questions of one watch: two at once, then one a second, and more slowly while the
/// answers tell nothing new.
#[derive(Clone, Debug)]
pub(crate) struct Pace {
    tokens: f64,
    gap: Duration,
    last: Option<Instant>,
}

impl Pace {
    const BURST: f64 = 2.0;
    const SHORTEST: Duration = Duration::from_secs(1);
    const LONGEST: Duration = Duration::from_secs(8);

    pub(crate) const fn new() -> Self {
        Self { tokens: Self::BURST, gap: Self::SHORTEST, last: None }
    }

    /// When the next question may be asked; `now` or later.
    pub(crate) fn ready_at(&mut self, now: Instant) -> Instant {
        self.refill(now);
        if self.tokens >= 1.0 { now } else { now + self.gap.mul_f64(1.0 - self.tokens) }
    }

    /// Takes the token of a question that is asked now.
    pub(crate) fn spend(&mut self, now: Instant) {
        self.refill(now);
        self.tokens = (self.tokens - 1.0).max(0.0);
    }

    /// Notes what came of a question: whether it told anything new, or was out for long.
    pub(crate) fn answered(&mut self, useful: bool, now: Instant) {
        self.refill(now);
        self.gap = if useful { Self::SHORTEST } else { (self.gap * 2).min(Self::LONGEST) };
    }

    fn refill(&mut self, now: Instant) {
        let since = self.last.map_or(Duration::ZERO, |last| now.saturating_duration_since(last));
        self.tokens = (self.tokens + since.as_secs_f64() / self.gap.as_secs_f64()).min(Self::BURST);
        self.last = Some(now);
    }
}

/// Full-jitter backoff between tries that failed, 0.25 s growing to 30 s.
#[derive(Clone, Debug, Default)]
pub(crate) struct Backoff {
    failures: u32,
}

impl Backoff {
    const BASE: Duration = Duration::from_millis(250);
    pub(crate) const CAP: Duration = Duration::from_secs(30);

    pub(crate) const fn reset(&mut self) {
        self.failures = 0;
    }

    /// How long to wait after one more failure, `cap` at most; `random` is uniform in 0..1.
    pub(crate) fn next(&mut self, random: f64, cap: Duration) -> Duration {
        let ceiling = Self::BASE.saturating_mul(1 << self.failures.min(10)).min(cap);
        self.failures = self.failures.saturating_add(1);
        // Not below a tenth of the base: a draw of zero is a busy loop when it comes often.
        ceiling.mul_f64(random.clamp(0.0, 1.0)).max(Self::BASE / 10)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_registry_that_answers_at_once_with_nothing_new_is_asked_ten_times_a_minute() {
        #[expect(clippy::disallowed_methods, reason = "there is no other way to make an instant")]
        let t0 = Instant::now();
        let (mut pace, mut now, mut asked) = (Pace::new(), t0, 0);
        while now < t0 + Duration::from_secs(120) {
            now = pace.ready_at(now);
            pace.spend(now);
            pace.answered(false, now);
            asked += 1;
        }
        assert!(asked <= 22, "{asked} in two minutes");
    }

    #[test]
    fn backoff_grows_to_its_cap_and_never_spins() {
        let mut backoff = Backoff::default();
        let ceilings: Vec<_> =
            (0..9).map(|_| backoff.next(1.0, Backoff::CAP).as_millis()).collect();
        assert_eq!(ceilings, [250, 500, 1000, 2000, 4000, 8000, 16000, 30000, 30000]);
        assert!(backoff.next(0.0, Backoff::CAP) >= Duration::from_millis(25));
    }
}
