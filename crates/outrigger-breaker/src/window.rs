//! The sliding windows, exact at any rate and without a lock.

use std::num::NonZeroU32;

use crate::sync::{AtomicI64, AtomicU8, AtomicU32, AtomicU64, Ordering};

// Every access is sequentially consistent. A recorder adds and then looks at the sums: of two that
// do so at the same time the later one, in the one order that all agree on, sees both additions,
// so no threshold is passed unseen. With anything weaker each could miss the other's.
const ORDER: Ordering = Ordering::SeqCst;

/// What a window holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Tally {
    /// Calls with an outcome that counts.
    pub total: u64,
    /// Failed ones among them.
    pub failed: u64,
    /// Slow ones among them, failed or not.
    pub slow: u64,
}

/// What one call adds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mark {
    pub(crate) failed: bool,
    pub(crate) slow: bool,
}

/// A sliding window of either kind.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "one per circuit, and never moved")]
pub(crate) enum Sliding {
    Time(TimeWindow),
    Calls(CallWindow),
    /// A policy of the user's own keeps the count.
    Foreign,
}

impl Sliding {
    /// Adds a call at `now` (nanoseconds); answers what the window holds, unless this call cannot
    /// have made a ratio be reached.
    #[inline]
    pub(crate) fn record(&self, now: u64, mark: Mark, settled: &Settled) -> Option<Tally> {
        match self {
            Self::Time(window) => window.record(now, mark, settled),
            Self::Calls(window) => window.record(mark),
            Self::Foreign => None,
        }
    }

    /// Takes note that what the window holds at `now` was judged, and is not to be acted upon.
    #[inline]
    pub(crate) fn settle(&self, now: u64, settled: &Settled) {
        if let Self::Time(window) = self {
            settled.note(window.slice(now));
        }
    }

    pub(crate) fn tally(&self, now: u64) -> Tally {
        match self {
            Self::Time(window) => window.tally(window.slice(now)),
            Self::Calls(window) => window.tally(),
            Self::Foreign => Tally::default(),
        }
    }
}

/// The slice in which the window held enough calls and no ratio was reached, plus one; 0 for none.
///
/// As long as the slice lasts, calls do not leave the window, and a good one only lowers the
/// ratios: it need not look at the sums. It belongs to one set of thresholds.
#[derive(Debug, Default)]
pub(crate) struct Settled(AtomicU64);

impl Settled {
    #[inline]
    fn note(&self, slice: u64) {
        if !self.holds(slice) {
            self.0.store(slice + 1, ORDER);
        }
    }

    #[inline]
    fn holds(&self, slice: u64) -> bool {
        self.0.load(ORDER) == slice + 1
    }
}

/// The calls of the last so many nanoseconds, in slices.
///
/// Each counter holds the number of the slice it counts for (upper half) and the count (lower
/// half). Changed by compare-and-swap only, so a counter that was taken over by a newer slice is
/// never added to by mistake, and one that was not touched for a while is void by its number: an
/// idle gap of any length clears the window, with nobody running to do it.
#[derive(Debug)]
pub(crate) struct TimeWindow {
    nanos_per_slice: u64,
    slices: [Slice; SLICES as usize],
    /// The newest slice with a failed or slow call, plus one; 0 before the first.
    newest_bad: AtomicU64,
}

/// A power of two, so that the ring's index survives the wrap of the slice number.
const SLICES: u32 = 16;

#[derive(Debug)]
struct Slice {
    total: AtomicU64,
    failed: AtomicU64,
    slow: AtomicU64,
}

impl TimeWindow {
    pub(crate) fn new(length: u64, now: u64) -> Self {
        let nanos_per_slice = (length / u64::from(SLICES)).max(1);
        // Older than anything that can be recorded, and newer by far than the wrap of the number.
        let void = ((now / nanos_per_slice) as u32).wrapping_sub(SLICES);
        let empty = || AtomicU64::new(u64::from(void) << 32);
        Self {
            nanos_per_slice,
            slices: std::array::from_fn(|_| Slice {
                total: empty(),
                failed: empty(),
                slow: empty(),
            }),
            newest_bad: AtomicU64::new(0),
        }
    }

    #[inline]
    pub(crate) const fn slice(&self, now: u64) -> u64 {
        now / self.nanos_per_slice
    }

    #[inline]
    pub(crate) fn record(&self, now: u64, mark: Mark, settled: &Settled) -> Option<Tally> {
        let slice = self.slice(now);
        let number = slice as u32;
        let counters = &self.slices[(number % SLICES) as usize];
        let bad = mark.failed || mark.slow;
        if bad {
            // First of all: whoever adds a good call after us must look at the sums.
            self.newest_bad.fetch_max(slice + 1, ORDER);
        }
        // The total before its parts: whoever looks in between sees too small a share, never one
        // that was not there.
        add(&counters.total, number);
        if mark.failed {
            add(&counters.failed, number);
        }
        if mark.slow {
            add(&counters.slow, number);
        }
        if !bad && settled.holds(slice) {
            return None;
        }
        let in_sight = self.newest_bad.load(ORDER) + u64::from(SLICES) > slice + 1;
        in_sight.then(|| self.tally(slice))
    }

    pub(crate) fn tally(&self, slice: u64) -> Tally {
        let number = slice as u32;
        let mut tally = Tally::default();
        // Parts before the total, for the same reason as above.
        for slice in &self.slices {
            tally.failed += held(slice.failed.load(ORDER), number);
        }
        for slice in &self.slices {
            tally.slow += held(slice.slow.load(ORDER), number);
        }
        for slice in &self.slices {
            tally.total += held(slice.total.load(ORDER), number);
        }
        tally
    }
}

/// Counts one call in slice `number`, unless the counter has moved on to a newer one.
#[inline]
fn add(counter: &AtomicU64, number: u32) {
    let mut seen = counter.load(ORDER);
    loop {
        let next = match age(seen, number) {
            0 if seen as u32 == u32::MAX => return,
            0 => seen + 1,
            NEWER.. => return,
            _ => (u64::from(number) << 32) | 1,
        };
        match counter.compare_exchange_weak(seen, next, ORDER, ORDER) {
            Ok(_) => return,
            Err(present) => seen = present,
        }
    }
}

/// Ages from here on are those of newer counters: another thread's clock reading was later, by
/// less than 2²⁰ slices. All others belong to the past, up to eight years of the shortest slices.
const NEWER: u32 = u32::MAX << 20;

/// By how many slices a counter is older than slice `number`; right across the wrap.
#[inline]
const fn age(counter: u64, number: u32) -> u32 {
    number.wrapping_sub((counter >> 32) as u32)
}

/// What a counter adds to the window that ends with slice `number`.
#[inline]
const fn held(counter: u64, number: u32) -> u64 {
    let age = age(counter, number);
    if age < SLICES || age >= NEWER { counter & u32::MAX as u64 } else { 0 }
}

/// The last so many calls.
///
/// Exact for calls that do not overlap. Of calls that are recorded at the very same moment, one
/// may see the window as it is before the other has given its place in the ring away.
#[derive(Debug)]
pub(crate) struct CallWindow {
    ring: Box<[AtomicU8]>,
    position: AtomicU64,
    // Signed: the call that takes a mark out can come before the one that puts it in.
    failed: AtomicI64,
    slow: AtomicI64,
}

const FAILED: u8 = 1;
const SLOW: u8 = 2;

impl CallWindow {
    pub(crate) fn new(calls: NonZeroU32) -> Self {
        Self {
            ring: (0..calls.get()).map(|_| AtomicU8::new(0)).collect(),
            position: AtomicU64::new(0),
            failed: AtomicI64::new(0),
            slow: AtomicI64::new(0),
        }
    }

    pub(crate) fn record(&self, mark: Mark) -> Option<Tally> {
        let position = self.position.fetch_add(1, ORDER);
        let new = (u8::from(mark.failed) * FAILED) | (u8::from(mark.slow) * SLOW);
        let place = (position % self.ring.len() as u64) as usize;
        let old = self.ring[place].swap(new, ORDER);
        let change = |bit: u8| i64::from(new & bit != 0) - i64::from(old & bit != 0);
        for (counter, change) in [(&self.failed, change(FAILED)), (&self.slow, change(SLOW))] {
            if change != 0 {
                counter.fetch_add(change, ORDER);
            }
        }
        let tally = self.tally();
        (tally.failed > 0 || tally.slow > 0).then_some(tally)
    }

    pub(crate) fn tally(&self) -> Tally {
        let held = |counter: &AtomicI64| u64::try_from(counter.load(ORDER)).unwrap_or(0);
        let (failed, slow) = (held(&self.failed), held(&self.slow));
        Tally { total: self.position.load(ORDER).min(self.ring.len() as u64), failed, slow }
    }
}

/// Failures in a row.
#[derive(Debug, Default)]
pub(crate) struct Run(AtomicU32);

impl Run {
    /// Counts an outcome; answers the length of the run that it ends.
    #[inline]
    pub(crate) fn record(&self, failed: bool) -> u32 {
        if failed {
            return self.0.fetch_add(1, ORDER).saturating_add(1);
        }
        // Nothing is written while all is well: the line stays shared between cores.
        if self.0.load(ORDER) != 0 {
            self.0.store(0, ORDER);
        }
        0
    }
}
