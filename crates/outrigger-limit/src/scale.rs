//! How a bucket's state is written down, and read after a reload changed the rate.

use governor::nanos::Nanos;

/// Reads and writes the state of buckets under one set of parameters.
///
/// A state is one word: the instant at which the bucket is full again, in nanoseconds (60 bits, 36
/// years), and which set of parameters wrote it (4 bits). So a reload touches no bucket: each is
/// translated when it is next used, in the same compare-and-swap. The tokens that were left at the
/// reload are left after it, as far as the new burst holds them, and none are added.
#[derive(Clone, Debug)]
pub(crate) struct Scale {
    version: usize,
    /// By version: this one, and those before it.
    sets: [Set; VERSIONS],
}

#[derive(Clone, Copy, Debug, Default)]
struct Set {
    /// Nanoseconds per token.
    interval: u64,
    /// Nanoseconds in which an empty bucket fills.
    depth: u64,
    /// When the next version took over.
    ended: u64,
}

const VERSIONS: usize = 16;
const SHIFT: u32 = VERSIONS.trailing_zeros();
const MASK: usize = VERSIONS - 1;

/// A bucket that was never used.
pub(crate) const UNUSED: u64 = 0;

impl Scale {
    pub(crate) fn new(interval: u64, burst: u32) -> Self {
        let mut sets = [Set::default(); VERSIONS];
        sets[0] = Set::new(interval, burst);
        Self { version: 0, sets }
    }

    /// The scale that follows this one at `now`.
    pub(crate) fn next(&self, interval: u64, burst: u32, now: u64) -> Self {
        let mut sets = self.sets;
        sets[self.version].ended = now;
        let version = (self.version + 1) & MASK;
        sets[version] = Set::new(interval, burst);
        Self { version, sets }
    }

    /// When the bucket is full again; `None` for one that was never used.
    #[inline]
    pub(crate) fn read(&self, word: u64) -> Option<Nanos> {
        (word != UNUSED).then(|| self.full_at(word).into())
    }

    /// When the bucket is full again, in nanoseconds.
    #[inline]
    pub(crate) fn full_at(&self, word: u64) -> u64 {
        let full_at = word >> SHIFT;
        if version(word) == self.version || self.is_newer(word) {
            return full_at;
        }
        self.translate(version(word), full_at)
    }

    #[cold]
    fn translate(&self, mut version: usize, mut full_at: u64) -> u64 {
        while version != self.version {
            let old = self.sets[version];
            version = (version + 1) & MASK;
            let new = self.sets[version];
            // All in nanoseconds' worth of tokens: what is left, as tokens, and what is missing then.
            let left = old.depth - full_at.saturating_sub(old.ended).min(old.depth);
            // Rounded down: a reload gives nothing away.
            let left =
                u128::from(left) * u128::from(new.interval) / u128::from(old.interval.max(1));
            let left = u64::try_from(left).unwrap_or(u64::MAX).min(new.depth);
            full_at = old.ended + (new.depth - left);
        }
        full_at
    }

    /// The word that follows `seen`.
    #[inline]
    pub(crate) fn write(&self, full_at: Nanos, seen: u64) -> u64 {
        // A reload overtook this call: its token is measured by the old rate, this once.
        let version = if self.is_newer(seen) { version(seen) } else { self.version };
        full_at.as_u64() << SHIFT | version as u64
    }

    /// The word to put in the place of one that an earlier version wrote: else a bucket that only
    /// ever refuses would be left behind by more reloads than the versions can tell apart.
    #[inline]
    pub(crate) fn renewed(&self, word: u64) -> Option<u64> {
        if word == UNUSED || version(word) == self.version || self.is_newer(word) {
            return None;
        }
        Some(self.write(self.full_at(word).into(), word))
    }

    /// Whether a word was written by a later set of parameters than this one. Half of the versions
    /// lie ahead, half behind: a bucket that nobody used during eight reloads is read as it is.
    #[inline]
    fn is_newer(&self, word: u64) -> bool {
        word != UNUSED
            && (1..VERSIONS / 2).contains(&(version(word).wrapping_sub(self.version) & MASK))
    }

    /// The state of a bucket that has nothing left at `now`.
    pub(crate) const fn empty(&self, now: u64) -> u64 {
        now.saturating_add(self.sets[self.version].depth)
    }
}

impl Set {
    fn new(interval: u64, burst: u32) -> Self {
        Self { interval, depth: interval.saturating_mul(burst.into()), ended: 0 }
    }
}

const fn version(word: u64) -> usize {
    word as usize & MASK
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    #[test]
    fn tokens_left_at_a_reload_are_left_after_it() {
        let old = Scale::new(MS, 100);
        // 40 of 100 tokens are missing at 1 s, 60 are left.
        let word = old.write((1_000 * MS + 40 * MS).into(), UNUSED);
        let slower = old.next(10 * MS, 100, 1_000 * MS);
        assert_eq!(slower.full_at(word), 1_400 * MS);
        let smaller = old.next(MS, 10, 1_000 * MS);
        assert_eq!(smaller.full_at(word), 1_000 * MS, "full: 60 are more than 10");
        let larger = smaller.next(MS, 100, 1_000 * MS);
        assert_eq!(larger.full_at(word), 1_090 * MS, "and 10 are left, whatever there was before");
    }

    #[test]
    fn after_a_reload_the_bucket_fills_by_the_new_rate_also_when_nobody_looks() {
        let old = Scale::new(MS, 1_000);
        let word = old.write((1_000 * MS).into(), UNUSED);
        // Emptied at 0, reloaded at 0 to one token a second: a second later one token is back, where
        // the old rate would have filled the bucket.
        let new = old.next(1_000 * MS, 1_000, 0);
        assert_eq!(new.full_at(word), 1_000_000 * MS);
    }

    #[test]
    fn what_was_full_stays_full_over_any_chain_of_reloads() {
        let mut scale = Scale::new(MS, 10);
        let word = scale.write((5 * MS).into(), UNUSED);
        for n in 1..=7 {
            scale = scale.next(n * MS, 10, 100 * n * MS);
        }
        assert_eq!(scale.full_at(word), 700 * MS, "full at the last reload, and since");
    }

    #[test]
    fn a_call_that_a_reload_overtook_leaves_the_newer_word_readable() {
        let old = Scale::new(MS, 10);
        let new = old.next(2 * MS, 10, 50 * MS);
        let word = new.write((60 * MS).into(), UNUSED);
        assert_eq!(old.full_at(word), 60 * MS);
        let charged = old.write((61 * MS).into(), word);
        assert_eq!(new.full_at(charged), 61 * MS, "read under the version that it keeps");
    }
}
