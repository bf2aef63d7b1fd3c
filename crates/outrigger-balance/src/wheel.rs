//! Draws by weight in constant time.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// A circle on which each of n has an arc as long as its share of the weight.
///
/// Cost: built in O(n); each draw takes O(1) expected time and allocates nothing.
#[derive(Debug)]
pub(crate) struct Wheel {
    len: u32,
    /// `None` while all shares are the same.
    arcs: Option<Arcs>,
    turn: AtomicU64,
}

#[derive(Debug)]
struct Arcs {
    /// Where each arc ends, in 2^-32 of the circle; the last is 2^32.
    ends: Box<[u64]>,
    /// For each n-th of the circle, the arc in which it begins.
    guide: Box<[u32]>,
    /// The longest arc.
    widest: u64,
}

const CIRCLE: u64 = 1 << 32;

impl Wheel {
    /// Shape: `weights` are positive; `start` is where round robin begins.
    pub(crate) fn new(weights: &[f32], start: u64) -> Self {
        let even = weights.windows(2).all(|pair| pair[0] == pair[1]);
        Self {
            len: weights.len() as u32,
            arcs: (!even).then(|| Arcs::new(weights)),
            turn: AtomicU64::new(start),
        }
    }

    /// One, as likely as its weight.
    pub(crate) fn one(&self, rng: &mut fastrand::Rng) -> usize {
        self.locate(rng.u32(..))
    }

    /// The next of an even sequence.
    pub(crate) fn next(&self) -> usize {
        let turn = self.turn.fetch_add(1, Relaxed);
        match &self.arcs {
            None => (turn % u64::from(self.len.max(1))) as usize,
            // Multiples of the golden ratio lie as evenly on a circle as anything can: after k
            // turns each arc has been hit k times its length, to within a few.
            Some(arcs) => arcs.locate((turn.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32) as u32),
        }
    }

    /// Two, each as likely as its weight, and different unless one weighs more than all others
    /// together.
    ///
    /// Drawing the second without the first would flatten the weights: of 1, 1, 4 the heavy one
    /// would be 47 % of the candidates instead of 67 %. Two points at a distance that no arc
    /// spans are different, and each for itself is uniform, which keeps the weights exact.
    #[inline]
    pub(crate) fn two(&self, rng: &mut fastrand::Rng) -> (usize, usize) {
        let dice = rng.u64(..);
        let (high, low) = ((dice >> 32) as u32, dice as u32);
        match &self.arcs {
            None => {
                let first = scale(high, self.len);
                let second = scale(low, self.len.saturating_sub(1));
                (
                    first,
                    if second >= first {
                        (second + 1).min(self.len.max(1) as usize - 1)
                    } else {
                        second
                    },
                )
            }
            Some(arcs) => {
                let (least, most) =
                    (arcs.widest.min(CIRCLE - arcs.widest), arcs.widest.max(CIRCLE - arcs.widest));
                let distance = least + ((u64::from(low) * (most - least)) >> 32);
                let second = high.wrapping_add(distance as u32);
                (arcs.locate(high), arcs.locate(second))
            }
        }
    }

    /// Any other than `but`, each as likely.
    pub(crate) fn other(&self, but: usize, rng: &mut fastrand::Rng) -> usize {
        let drawn = scale(rng.u32(..), self.len.saturating_sub(1));
        if drawn >= but { (drawn + 1).min(self.len.max(1) as usize - 1) } else { drawn }
    }

    #[inline]
    fn locate(&self, point: u32) -> usize {
        match &self.arcs {
            None => scale(point, self.len),
            Some(arcs) => arcs.locate(point),
        }
    }
}

impl Arcs {
    fn new(weights: &[f32]) -> Self {
        let total: f64 = weights.iter().map(|&w| f64::from(w)).sum();
        let (mut sum, mut before, mut widest) = (0.0, 0, 0);
        let mut ends: Vec<u64> = Vec::with_capacity(weights.len());
        for &weight in weights {
            sum += f64::from(weight);
            let end = ((sum / total * CIRCLE as f64) as u64).min(CIRCLE);
            widest = widest.max(end - before);
            before = end;
            ends.push(end);
        }
        if let Some(last) = ends.last_mut() {
            *last = CIRCLE;
        }
        let n = ends.len() as u64;
        let mut arc = 0;
        let guide = (0..n)
            .map(|part| {
                let from = part * CIRCLE / n;
                while ends[arc] <= from {
                    arc += 1;
                }
                arc as u32
            })
            .collect();
        Self { ends: ends.into(), guide, widest: widest.min(CIRCLE - 1) }
    }

    #[inline]
    fn locate(&self, point: u32) -> usize {
        let mut arc = self.guide[scale(point, self.guide.len() as u32)] as usize;
        while self.ends[arc] <= u64::from(point) {
            arc += 1;
        }
        arc
    }
}

/// A point of the circle as one of `n` equal parts.
fn scale(point: u32, n: u32) -> usize {
    ((u64::from(point) * u64::from(n)) >> 32) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    const DRAWS: usize = 60_000;

    fn shares(weights: &[f32], draw: impl Fn(&Wheel, &mut fastrand::Rng) -> usize) -> Vec<f64> {
        let wheel = Wheel::new(weights, 0);
        let mut rng = fastrand::Rng::with_seed(9);
        let mut counts = vec![0; weights.len()];
        for _ in 0..DRAWS {
            counts[draw(&wheel, &mut rng)] += 1;
        }
        counts.iter().map(|&n| f64::from(n) / DRAWS as f64).collect()
    }

    fn assert_shares(got: &[f64], weights: &[f32]) {
        let total: f32 = weights.iter().sum();
        for (&got, &weight) in got.iter().zip(weights) {
            let wanted = f64::from(weight / total);
            // Four standard deviations.
            let bound = 4.0 * (wanted * (1.0 - wanted) / DRAWS as f64).sqrt() + 1e-9;
            assert!((got - wanted).abs() <= bound, "{got}, not {wanted}, of {weights:?}");
        }
    }

    const CASES: [&[f32]; 7] = [
        &[1.0],
        &[1.0, 1.0],
        &[1.0, 2.0],
        &[1.0, 1.0, 4.0],
        &[1.0, 1.0, 1.0, 1.0, 1.0],
        &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0],
        &[1000.0, 1.0, 1.0, 1.0],
    ];

    #[test]
    fn each_of_one_and_each_of_two_is_drawn_by_its_weight() {
        for weights in CASES {
            assert_shares(&shares(weights, |wheel, rng| wheel.one(rng)), weights);
            assert_shares(&shares(weights, |wheel, rng| wheel.two(rng).0), weights);
            assert_shares(&shares(weights, |wheel, rng| wheel.two(rng).1), weights);
        }
    }

    #[test]
    fn two_differ_unless_one_outweighs_all_others() {
        let mut rng = fastrand::Rng::with_seed(9);
        for weights in CASES {
            let total: f32 = weights.iter().sum();
            let heaviest = weights.iter().copied().fold(0.0, f32::max);
            let wheel = Wheel::new(weights, 0);
            let same = (0..DRAWS).filter(|_| {
                let (first, second) = wheel.two(&mut rng);
                first == second
            });
            let wanted = f64::from((2.0 * heaviest / total - 1.0).max(0.0));
            let got = same.count() as f64 / DRAWS as f64;
            // Where weights are even within rounding an arc's end may be hit.
            assert!((got - wanted).abs() < 0.01, "{got}, not {wanted}, of {weights:?}");
        }
    }

    #[test]
    fn turns_are_as_even_as_they_can_be() {
        for weights in CASES {
            let wheel = Wheel::new(weights, 5);
            let total: f32 = weights.iter().sum();
            let mut counts = vec![0.0; weights.len()];
            for turn in 1..=5_000 {
                counts[wheel.next()] += 1.0;
                for (&count, &weight) in counts.iter().zip(weights) {
                    let wanted = f64::from(turn) * f64::from(weight / total);
                    assert!((count - wanted).abs() <= 4.0, "turn {turn} of {weights:?}");
                }
            }
        }
    }

    #[test]
    fn another_is_any_but_the_one() {
        let mut rng = fastrand::Rng::with_seed(9);
        let wheel = Wheel::new(&[1.0; 4], 0);
        let mut counts = [0; 4];
        for _ in 0..DRAWS {
            counts[wheel.other(2, &mut rng)] += 1;
        }
        assert_eq!(counts[2], 0);
        assert!(counts.iter().filter(|&&n| n > DRAWS * 3 / 10).count() == 3, "{counts:?}");
    }
}
