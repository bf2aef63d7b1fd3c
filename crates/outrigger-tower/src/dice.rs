//! Where chance comes from.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use outrigger_core::Ratio;

/// Where a layer's draws come from: the thread's generator, or a seed that gives the same draws
/// again.
#[derive(Clone, Debug, Default)]
pub struct Dice(Option<Arc<AtomicU64>>);

impl Dice {
    /// Fair ones.
    #[must_use]
    pub const fn new() -> Self {
        Self(None)
    }

    /// The same draws each time, for tests; clones draw from one sequence.
    #[must_use]
    pub fn seeded(seed: u64) -> Self {
        Self(Some(Arc::new(AtomicU64::new(seed))))
    }

    /// A draw over all numbers.
    pub(crate) fn roll(&self) -> u64 {
        match &self.0 {
            None => fastrand::u64(..),
            Some(state) => {
                // Source: Steele et al., SplitMix, 2014.
                const GAMMA: u64 = 0x9e37_79b9_7f4a_7c15;
                let z = state.fetch_add(GAMMA, Relaxed).wrapping_add(GAMMA);
                let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
                let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
                z ^ (z >> 31)
            }
        }
    }

    /// Whether a share of all draws contains the next one; nothing is drawn for none and for all.
    pub(crate) fn hits(&self, share: Ratio) -> bool {
        if share == Ratio::ZERO || share == Ratio::ONE {
            return share == Ratio::ONE;
        }
        // 53 bits, as many as a double holds.
        ((self.roll() >> 11) as f64) < share.get() * (1_u64 << 53) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_hit_as_often_as_it_says() {
        let dice = Dice::seeded(7);
        for percent in [1, 10, 50, 90, 99] {
            let hits = (0..100_000).filter(|_| dice.hits(Ratio::from_percent(percent))).count();
            let wanted = f64::from(percent) * 1_000.0;
            // Five standard deviations of a binomial count are at most 791.
            assert!((hits as f64 - wanted).abs() < 800.0, "{percent} %: {hits}");
        }
        assert!((0..1_000).all(|_| dice.hits(Ratio::ONE) && !dice.hits(Ratio::ZERO)));
    }

    #[test]
    fn the_same_seed_draws_the_same() {
        let draws = |dice: Dice| (0..10).map(|_| dice.roll()).collect::<Vec<_>>();
        assert_eq!(draws(Dice::seeded(3)), draws(Dice::seeded(3)));
        assert_ne!(draws(Dice::seeded(3)), draws(Dice::seeded(4)));
    }
}
