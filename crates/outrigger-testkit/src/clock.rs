//! Time that stands still until it is moved.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

use outrigger_core::Clock;

/// The instant that tests count from: always the same one within a process.
#[must_use]
pub fn epoch() -> Instant {
    static EPOCH: LazyLock<Instant> = LazyLock::new(|| {
        #[expect(clippy::disallowed_methods, reason = "an `Instant` has no other origin")]
        Instant::now()
    });
    *EPOCH
}

/// A clock that is moved by hand; starts at [`epoch`], and at 2026-01-01 00:00 UTC.
///
/// The two halves move together with [`advance`](Self::advance); the wall alone steps, in either
/// direction, with [`step_wall`](Self::step_wall).
#[derive(Debug, Default)]
pub struct ManualClock {
    /// Units: nanoseconds since the start.
    elapsed: AtomicU64,
    /// Units: nanoseconds that the wall is ahead.
    stepped: AtomicI64,
}

impl ManualClock {
    /// A clock at its start.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Lets time pass.
    ///
    /// Shape: saturates after 584 years.
    pub fn advance(&self, by: Duration) {
        let by = u64::try_from(by.as_nanos()).unwrap_or(u64::MAX);
        let _ = self
            .elapsed
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |now| Some(now.saturating_add(by)));
    }

    /// Sets the wall clock forward or, with `back`, backward, as an administrator does.
    pub fn step_wall(&self, by: Duration, back: bool) {
        let by = i64::try_from(by.as_nanos()).unwrap_or(i64::MAX);
        self.stepped.fetch_add(if back { -by } else { by }, Ordering::SeqCst);
    }

    /// How much time has passed since the start.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        Duration::from_nanos(self.elapsed.load(Ordering::SeqCst))
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Instant {
        epoch() + self.elapsed()
    }

    fn wall(&self) -> SystemTime {
        let wall = SystemTime::UNIX_EPOCH + Duration::from_secs(START) + self.elapsed();
        let stepped = self.stepped.load(Ordering::SeqCst);
        let by = Duration::from_nanos(stepped.unsigned_abs());
        if stepped < 0 { wall - by } else { wall + by }
    }
}

/// Units: seconds; 2026-01-01 00:00 UTC.
const START: u64 = 1_767_225_600;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_of_the_wall_leaves_the_monotonic_half_alone() {
        let clock = ManualClock::new();
        let (now, wall) = (clock.now(), clock.wall());
        clock.advance(Duration::from_secs(5));
        clock.step_wall(Duration::from_secs(3_600), true);
        assert_eq!(clock.now() - now, Duration::from_secs(5));
        let back = wall.duration_since(clock.wall()).expect("the wall went back");
        assert_eq!(back, Duration::from_secs(3_595));
    }
}
