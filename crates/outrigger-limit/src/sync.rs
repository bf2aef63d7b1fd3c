//! What threads share, in one place: the models in `tests/` put loom's and shuttle's own types
//! here and include the very same sources.

pub(crate) use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
pub(crate) use std::sync::{Arc, Mutex, MutexGuard};

/// Waits for another thread that is about to be done.
#[inline]
pub(crate) fn pause() {
    std::hint::spin_loop();
}
