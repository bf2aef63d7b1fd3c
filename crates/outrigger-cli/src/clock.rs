//! The program's clock: the one place of this crate that reads time.

use std::time::{Instant, SystemTime};

/// The monotonic time.
#[expect(clippy::disallowed_methods, reason = "a program is where time is read")]
pub(crate) fn now() -> Instant {
    Instant::now()
}

/// The time of day.
#[expect(clippy::disallowed_methods, reason = "a program is where time is read")]
pub(crate) fn wall() -> SystemTime {
    SystemTime::now()
}
