//! The atomics of a budget, apart from the guards so that loom can model them.

#[cfg(all(loom, test))]
use loom::sync::atomic::{AtomicU32, AtomicU64};
#[cfg(all(shuttle, test))]
use shuttle::sync::atomic::{AtomicU32, AtomicU64};
use std::sync::atomic::Ordering::Relaxed;
#[cfg(not(any(all(loom, test), all(shuttle, test))))]
use std::sync::atomic::{AtomicU32, AtomicU64};

use super::{Budget, BudgetConfig};

/// Units of the bucket that requests fill: a millionth of a token, so that a ratio is a whole
/// number of them.
const TOKEN: u64 = 1_000_000;
const HOARD: u64 = Budget::HOARD as u64 * TOKEN;
const SECOND: u64 = 1_000_000_000;

/// Where a token came from, and so where it goes back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Source {
    /// What requests put in.
    Requests,
    /// What time put in, with the price it was taken at.
    Time { price: u64 },
}

// Every field is a number of its own that no other memory depends on, so `Relaxed` suffices: what
// matters is that each token is taken once, which a single atomic operation decides.
#[derive(Debug)]
pub(super) struct Counters {
    /// Millionths of a token per request.
    ratio: AtomicU64,
    min_concurrent: AtomicU32,
    /// Nanoseconds per token from time; 0 when time puts nothing in.
    price: AtomicU64,

    in_flight: AtomicU32,
    running: AtomicU32,
    /// Millionths of tokens from requests.
    hoard: AtomicU64,
    /// The moment, on a clock one second ahead of the budget's own, until which time's tokens are
    /// spent: what lies between it and now is what is left.
    spent: AtomicU64,
}

impl Counters {
    pub(super) fn new(config: &BudgetConfig) -> Self {
        let this = Self {
            ratio: AtomicU64::new(0),
            min_concurrent: AtomicU32::new(0),
            price: AtomicU64::new(0),
            in_flight: AtomicU32::new(0),
            running: AtomicU32::new(0),
            hoard: AtomicU64::new(0),
            spent: AtomicU64::new(0),
        };
        this.configure(config);
        this
    }

    pub(super) fn configure(&self, config: &BudgetConfig) {
        // A ratio lies in 0..=1, so the product fits.
        self.ratio.store((config.ratio.get() * TOKEN as f64).round() as u64, Relaxed);
        self.min_concurrent.store(config.min_concurrent.min(10_000), Relaxed);
        let per_second = u64::from(config.min_per_second.min(100_000));
        self.price.store(SECOND.checked_div(per_second).unwrap_or(0), Relaxed);
    }

    pub(super) fn begin_request(&self) {
        self.in_flight.fetch_add(1, Relaxed);
        let ratio = self.ratio.load(Relaxed);
        // While nothing fails the hoard is full, and a request reads instead of writing.
        if self.hoard.load(Relaxed) < HOARD {
            let _ =
                self.hoard.fetch_update(Relaxed, Relaxed, |held| Some((held + ratio).min(HOARD)));
        }
    }

    pub(super) fn end_request(&self) {
        let before = self.in_flight.fetch_sub(1, Relaxed);
        debug_assert!(before > 0, "each request ends once, by its guard");
    }

    /// Takes a token at `elapsed` nanoseconds of the budget's life.
    pub(super) fn take(&self, elapsed: u64) -> Option<Source> {
        self.take_from_time(elapsed).or_else(|| self.take_from_requests())
    }

    fn take_from_requests(&self) -> Option<Source> {
        self.hoard
            .fetch_update(Relaxed, Relaxed, |held| held.checked_sub(TOKEN))
            .is_ok()
            .then_some(Source::Requests)
    }

    fn take_from_time(&self, elapsed: u64) -> Option<Source> {
        let price = self.price.load(Relaxed);
        if price == 0 {
            return None;
        }
        let now = clock(elapsed);
        self.spent
            .fetch_update(Relaxed, Relaxed, |spent| {
                // What is older than a second has lapsed.
                let spent = spent.max(now - SECOND) + price;
                (spent <= now).then_some(spent)
            })
            .is_ok()
            .then_some(Source::Time { price })
    }

    pub(super) fn give_back(&self, source: Source) {
        let _ = match source {
            Source::Requests => {
                self.hoard.fetch_update(Relaxed, Relaxed, |held| Some((held + TOKEN).min(HOARD)))
            }
            Source::Time { price } => {
                self.spent.fetch_update(Relaxed, Relaxed, |spent| Some(spent.saturating_sub(price)))
            }
        };
    }

    pub(super) fn try_run(&self) -> bool {
        let share = u64::from(self.in_flight.load(Relaxed)) * self.ratio.load(Relaxed) / TOKEN;
        let share = u32::try_from(share).unwrap_or(u32::MAX);
        let bound = self.min_concurrent.load(Relaxed).max(share);
        self.running
            .fetch_update(Relaxed, Relaxed, |running| (running < bound).then_some(running + 1))
            .is_ok()
    }

    pub(super) fn end_run(&self) {
        let before = self.running.fetch_sub(1, Relaxed);
        debug_assert!(before > 0, "each retry ends once, by its permit");
    }

    pub(super) fn in_flight(&self) -> u32 {
        self.in_flight.load(Relaxed)
    }

    pub(super) fn running(&self) -> u32 {
        self.running.load(Relaxed)
    }

    pub(super) fn tokens(&self, elapsed: u64) -> u32 {
        let now = clock(elapsed);
        let price = self.price.load(Relaxed);
        let spent = self.spent.load(Relaxed).max(now - SECOND);
        let from_time = now.saturating_sub(spent).checked_div(price).unwrap_or(0);
        let whole = self.hoard.load(Relaxed) / TOKEN + from_time;
        u32::try_from(whole).unwrap_or(u32::MAX)
    }
}

/// The clock of `spent`: it stands still for the first second, whose tokens are there at once, so
/// that a young process has no more than an old one.
fn clock(elapsed: u64) -> u64 {
    elapsed.max(SECOND)
}

#[cfg(all(loom, test))]
mod loom_tests;
#[cfg(all(shuttle, test))]
mod shuttle_tests;
