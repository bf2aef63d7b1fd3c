//! What was found, key by key of what was expected.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::time::Duration;

/// Times of the observations hold to so much.
const TIMES: f64 = 0.15;

/// What was found, key by key of what was expected.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    looked: BTreeMap<String, Vec<String>>,
}

impl Findings {
    /// Notes that a key was looked at, and what speaks against it.
    pub(crate) fn holds(&mut self, key: &str, holds: bool, against: impl FnOnce() -> String) {
        let problems = self.looked.entry(key.to_owned()).or_default();
        if !holds {
            problems.push(against());
        }
    }

    pub(crate) fn same<T: PartialEq + Debug>(&mut self, key: &str, wanted: T, found: T) {
        let same = wanted == found;
        self.holds(key, same, || format!("wanted {wanted:?}, found {found:?}"));
    }

    /// Within 15 %.
    pub(crate) fn close(&mut self, key: &str, wanted: f64, found: Duration) {
        let found = found.as_secs_f64();
        let is_close = (found - wanted).abs() <= TIMES * wanted;
        self.holds(key, is_close, || format!("wanted {wanted} s, took {found:.3} s"));
    }

    /// Within so much.
    pub(crate) fn within(&mut self, key: &str, wanted: f64, found: f64, margin: f64) {
        self.holds(key, (found - wanted).abs() <= margin, || {
            format!("wanted {wanted} give or take {margin:.3}, found {found:.3}")
        });
    }

    /// Each part of a whole within four standard deviations of its share.
    pub(crate) fn split(&mut self, key: &str, wanted: &[f64], found: &[u64]) {
        let whole: f64 = wanted.iter().sum();
        self.same(key, wanted.len(), found.len());
        for (wanted, found) in wanted.iter().zip(found) {
            let share = wanted / whole;
            let sigma = (whole * share * (1.0 - share)).sqrt();
            self.within(key, *wanted, *found as f64, 4.0 * sigma);
        }
    }

    /// Whether a key, or a part of it, was looked at.
    pub(crate) fn has_looked_at(&self, key: &str) -> bool {
        self.looked.keys().any(|looked| looked.split('.').next() == Some(key))
    }

    /// The keys where it was otherwise.
    pub(crate) fn differing(&self) -> BTreeSet<&str> {
        let differing = self.looked.iter().filter(|(_, problems)| !problems.is_empty());
        differing.map(|(key, _)| key.as_str()).collect()
    }
}
