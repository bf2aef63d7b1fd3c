use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};

use outrigger_limit::ConcurrencyLimit;

use super::Difference;

/// What became of copies: counts, and the last differences. Shared by those who count and those
/// who show; survives a reload that keeps it.
#[derive(Debug)]
pub struct Mirrored {
    /// Copies under way; the layer sets its limit.
    pub(super) bound: ConcurrencyLimit,
    counts: [AtomicU64; RESULTS.len()],
    differences: Mutex<VecDeque<Difference>>,
}

/// Every result of [`Event::Mirrored`](outrigger_core::Event::Mirrored).
const RESULTS: [&str; 10] = [
    "answered",
    "same",
    "status",
    "headers",
    "body",
    "failed",
    "incomplete",
    "too_large",
    "unread",
    "full",
];

/// How often each thing became of a copy.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct MirrorCounts {
    /// It was answered, and nobody compares.
    pub answered: u64,
    /// Both answers were alike.
    pub same: u64,
    /// The statuses differed.
    pub status: u64,
    /// Compared headers differed.
    pub headers: u64,
    /// The bodies differed.
    pub body: u64,
    /// It failed, or took too long.
    pub failed: u64,
    /// One of the answers did not come whole, so that nothing was compared.
    pub incomplete: u64,
    /// None was made: the request's body is too large.
    pub too_large: u64,
    /// None was made: the request ended before its body was read.
    pub unread: u64,
    /// None was made: too many were under way.
    pub full: u64,
}

impl Default for Mirrored {
    fn default() -> Self {
        Self::new()
    }
}

impl Mirrored {
    /// Most differences that are kept.
    pub const KEPT: usize = 32;

    /// Nothing yet.
    #[must_use]
    pub fn new() -> Self {
        let (counts, differences) = Default::default();
        Self { bound: ConcurrencyLimit::new(0), counts, differences }
    }

    /// The counts of now.
    #[must_use]
    pub fn counts(&self) -> MirrorCounts {
        let [answered, same, status, headers, body, failed, incomplete, too_large, unread, full] =
            std::array::from_fn(|at| self.counts[at].load(Relaxed));
        MirrorCounts {
            answered,
            same,
            status,
            headers,
            body,
            failed,
            incomplete,
            too_large,
            unread,
            full,
        }
    }

    /// The last differences, the oldest first.
    #[must_use]
    pub fn differences(&self) -> Vec<Difference> {
        let kept = self.differences.lock().unwrap_or_else(PoisonError::into_inner);
        kept.iter().cloned().collect()
    }

    pub(super) fn count(&self, result: &str) {
        if let Some(at) = RESULTS.iter().position(|known| *known == result) {
            self.counts[at].fetch_add(1, Relaxed);
        }
    }

    pub(super) fn keep(&self, difference: Difference) {
        let mut kept = self.differences.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() == Self::KEPT {
            kept.pop_front();
        }
        kept.push_back(difference);
    }
}
