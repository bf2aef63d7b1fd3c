//! The clock for those who bring none.

use std::time::{Instant, SystemTime};

use outrigger_core::Clock;

/// The runtime's clock: pauses when the runtime's does.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct RuntimeClock;

impl Clock for RuntimeClock {
    #[expect(clippy::disallowed_methods, reason = "the edge where an adapter's time begins")]
    fn now(&self) -> Instant {
        tokio::time::Instant::now().into_std()
    }

    #[expect(clippy::disallowed_methods, reason = "the edge where an adapter's time begins")]
    fn wall(&self) -> SystemTime {
        SystemTime::now()
    }
}
