//! governor's clock: it answers this call's `now`.

use std::cell::Cell;

use governor::clock::Clock;
use governor::nanos::Nanos;

thread_local! {
    static NOW: Cell<u64> = const { Cell::new(0) };
}

/// A clock that answers whatever the current call was given.
///
/// governor reads its clock inside of each check and takes no time from outside. The limiters
/// here set the time just before and hand over to nobody in between.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CallClock;

impl CallClock {
    /// Sets the time that is answered on this thread, in nanoseconds.
    #[inline]
    pub(crate) fn set(nanos: u64) {
        NOW.set(nanos);
    }

    /// The time that was set last.
    #[inline]
    pub(crate) fn get() -> u64 {
        NOW.get()
    }
}

impl Clock for CallClock {
    type Instant = Nanos;

    #[inline]
    fn now(&self) -> Nanos {
        Self::get().into()
    }
}
