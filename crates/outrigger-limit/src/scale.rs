//! How a bucket's state is written down, and read after a reload changed the rate.

use governor::nanos::Nanos;

/// Reads and writes the state of buckets under one set of parameters.
///
/// A state is one word: the instant at which the bucket is full again, in nanoseconds (60 bits, 36
/// years), and which of the last 16 sets of parameters wrote it (4 bits). So a reload touches no
/// bucket: each is translated when it is next used, in the same compare-and-swap. The tokens that
/// were taken stay taken, and what was full stays full.
#[derive(Clone, Debug)]
pub(crate) struct Scale {
    version: u64,
    /// Nanoseconds per token, by version.
    intervals: [u64; VERSIONS],
    /// Nanoseconds in which an empty bucket fills.
    depth: u64,
}

const VERSIONS: usize = 16;
const VERSION: u64 = VERSIONS as u64 - 1;
const SHIFT: u32 = VERSIONS.trailing_zeros();

/// A bucket that was never used.
pub(crate) const UNUSED: u64 = 0;

impl Scale {
    pub(crate) fn new(interval: u64, burst: u32) -> Self {
        let depth = interval.saturating_mul(burst.into());
        Self { version: 0, intervals: [interval; VERSIONS], depth }
    }

    /// The scale that follows this one.
    pub(crate) fn next(&self, interval: u64, burst: u32) -> Self {
        let mut next = Self { version: (self.version + 1) & VERSION, ..self.clone() };
        next.intervals[next.version as usize] = interval;
        next.depth = interval.saturating_mul(burst.into());
        next
    }

    /// When the bucket is full again; `None` for one that was never used.
    #[inline]
    pub(crate) fn read(&self, word: u64, now: u64) -> Option<Nanos> {
        if word == UNUSED {
            return None;
        }
        let full_at = full_at(word);
        if word & VERSION == self.version {
            return Some(full_at.into());
        }
        Some(self.translate(word, full_at, now).into())
    }

    #[cold]
    fn translate(&self, word: u64, full_at: u64, now: u64) -> u64 {
        let Some(missing) = full_at.checked_sub(now).filter(|&missing| missing > 0) else {
            return full_at;
        };
        let old = u128::from(self.intervals[(word & VERSION) as usize]);
        let new = u128::from(self.intervals[self.version as usize]);
        // Rounded up: a reload gives nothing away.
        let missing = (u128::from(missing) * new).div_ceil(old.max(1));
        now + u64::try_from(missing).unwrap_or(u64::MAX).min(self.depth)
    }

    #[inline]
    pub(crate) fn write(&self, full_at: Nanos) -> u64 {
        full_at.as_u64() << SHIFT | self.version
    }

    /// The state of a bucket that has nothing left at `now`.
    pub(crate) const fn empty(&self, now: u64) -> u64 {
        now.saturating_add(self.depth)
    }
}

/// When a bucket is full again.
#[inline]
pub(crate) const fn full_at(word: u64) -> u64 {
    word >> SHIFT
}
