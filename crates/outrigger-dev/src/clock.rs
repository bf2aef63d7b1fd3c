//! The agent is a program: here, and nowhere else, it reads the clock. Tokio's, so that tests can pause it.

use std::time::Duration;

use tokio::time::Instant;

#[expect(clippy::disallowed_methods, reason = "the one place where the agent reads the clock")]
pub(crate) fn now() -> Instant {
    Instant::now()
}

/// Time since the agent's start, as the state counts it.
pub(crate) fn since(started: Instant) -> Duration {
    now().saturating_duration_since(started)
}
