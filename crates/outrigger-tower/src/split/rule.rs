use std::sync::Arc;

/// The shares of several subsets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SplitRule {
    /// Each side and the sum of the weights up to it.
    sides: Box<[(u64, Arc<str>)]>,
    total: u64,
}

/// Why weights are no split.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a split needs a side with a weight above 0")]
#[non_exhaustive]
pub struct SplitError;

impl SplitRule {
    /// Subsets by key, and their weights; one of weight 0 gets nothing.
    ///
    /// # Errors
    /// [`SplitError`] when no side has weight.
    pub fn new(sides: impl IntoIterator<Item = (Arc<str>, u32)>) -> Result<Self, SplitError> {
        let mut total = 0_u64;
        let weighted = sides.into_iter().filter(|(_, weight)| *weight > 0);
        let sides: Box<[_]> = weighted
            .map(|(subset, weight)| {
                total += u64::from(weight);
                (total, subset)
            })
            .collect();
        if sides.is_empty() { Err(SplitError) } else { Ok(Self { sides, total }) }
    }

    /// The side of a draw, uniform over all numbers.
    ///
    /// Shape: the same draw keeps its side while the weights before it are the same; when a part
    /// of the weight moves between two neighbours, exactly that part of all draws moves.
    #[must_use]
    pub fn choose(&self, draw: u64) -> &Arc<str> {
        // The high half of the product is the draw scaled to 0..total, without the bias of `%`.
        let at = ((u128::from(draw) * u128::from(self.total)) >> 64) as u64;
        let found = self.sides.iter().find(|(upto, _)| at < *upto);
        let (_, subset) = found.unwrap_or(&self.sides[self.sides.len() - 1]);
        subset
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(java: u32, rust: u32) -> SplitRule {
        SplitRule::new([("java".into(), java), ("rust".into(), rust)]).expect("it has weight")
    }

    #[test]
    fn each_side_gets_its_share() {
        let mut rng = fastrand::Rng::with_seed(3);
        let rule = split(90, 10);
        let rust = (0..100_000).filter(|_| &**rule.choose(rng.u64(..)) == "rust").count();
        // Five standard deviations of 10,000 expected are 474.
        assert!((9_526..=10_474).contains(&rust), "{rust}");
    }

    #[test]
    fn a_side_without_weight_gets_nothing_and_weightless_ones_are_no_split() {
        let mut rng = fastrand::Rng::with_seed(3);
        let rule = split(0, 1);
        assert!((0..1_000).all(|_| &**rule.choose(rng.u64(..)) == "rust"));
        assert_eq!(SplitRule::new([("java".into(), 0)]), Err(SplitError));
        assert_eq!(SplitRule::new([]), Err(SplitError));
    }

    #[test]
    fn only_the_share_that_moves_changes_its_side() {
        let mut rng = fastrand::Rng::with_seed(3);
        let (before, after) = (split(90, 10), split(80, 20));
        let mut moved = 0;
        for _ in 0..100_000 {
            let draw = rng.u64(..);
            if before.choose(draw) != after.choose(draw) {
                assert_eq!(&**after.choose(draw), "rust", "nobody goes the other way");
                moved += 1;
            }
        }
        assert!((9_526..=10_474).contains(&moved), "a tenth moves: {moved}");
    }
}
