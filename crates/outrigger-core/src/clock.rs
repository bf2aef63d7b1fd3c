//! Where time comes from.

use std::fmt;
use std::time::{Instant, SystemTime};

/// The two clocks, handed down by whoever starts things.
///
/// Rules take `now` as an argument and never see a clock; adapters hold one. The monotonic half
/// decides, the wall half only labels (snapshot files, spans): a step of the wall clock must not
/// open a circuit or fill a bucket.
pub trait Clock: fmt::Debug + Send + Sync {
    /// The monotonic time.
    fn now(&self) -> Instant;

    /// The time of day, which may jump.
    fn wall(&self) -> SystemTime;
}
