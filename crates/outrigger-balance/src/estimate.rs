//! How slow an endpoint is: what it answered, and how long it has been asked.

use std::f64::consts::LOG2_E;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// Nanoseconds since the set was made.
pub(crate) type Nanos = u64;

/// Time for an old observation to fall to 1/e of its weight, when the answers get quicker and
/// several agreed that it was that slow. For one that stands alone it is a sixteenth.
const DOWN: f64 = 4e9;
/// The same when they get slower: nearly a peak, without letting one slow answer in a thousand
/// decide where the next thousand go.
const UP: f64 = 1e9;

/// What an error is booked as: an endpoint that fails at once would otherwise look like the
/// quickest of all and draw all the traffic.
pub(crate) const ERROR_COST: f32 = 5e9;

/// An exponentially weighted moving average of answer times that rises faster than it falls.
///
/// What is observed is the answer time over the root of the requests it shared the endpoint with.
/// Where requests queue, the time grows with their number; where they run side by side, not at
/// all; the root lies between, so that neither kind is mistaken for being slow because it is busy.
///
/// An endpoint that looks slow is not asked, so nothing but time corrects a first answer that was
/// late for once (it connected, the machine had just linked): with one memory for all, 500 ms
/// among answers of 1 ms keep it out for 25 s. So the estimate has a *standing*: how many answers
/// bore out that it is as slow as that. With each the memory doubles, from 0.25 s to 4 s.
///
/// One word, so that a reader never sees the cost of one observation with the time of another:
/// 25 bits of an `f32` without sign (nanoseconds, precise to 1 in 10⁵), 3 of standing, 36 bits of
/// time in steps of 65.5 µs (52 days; an endpoint idle for longer than that is only taken to be
/// fresher than it is). A time of zero marks a borrowed estimate, which the first observation
/// replaces.
///
/// Source: Finagle's `PeakEwma`, tower's `peak_ewma`; the figures behind the differences stand in
/// `docs/adr/0004-write-own-picker.md`.
#[derive(Debug, Default)]
pub(crate) struct Estimate(AtomicU64);

impl Estimate {
    /// Borrows an estimate for an endpoint that has answered nothing yet.
    pub(crate) fn borrow_from(&self, cost: f32) {
        let empty_or_borrowed = |word| (unpack(word).at == 0).then(|| pack(cost, 0, 0));
        let _ = self.0.fetch_update(Relaxed, Relaxed, empty_or_borrowed);
    }

    /// Forgets everything, as for a process that started anew.
    pub(crate) fn forget(&self) {
        self.0.store(0, Relaxed);
    }

    /// Takes note of an answer.
    ///
    /// Of two answers at the same moment one may be lost, which is one observation among
    /// thousands and saves every request a locked operation.
    #[inline]
    pub(crate) fn observe(&self, now: Nanos, sample: f32) {
        let step = step(now);
        let Word { cost, standing, at } = unpack(self.0.load(Relaxed));
        let (next, standing) = if at == 0 {
            (sample, 0)
        } else {
            // At least one step, or answers that come within one would not count at all.
            let passed = step.saturating_sub(at).max(1);
            let left =
                if sample > cost { kept(passed, HALVINGS_UP, 0) } else { faded(passed, standing) };
            let next = sample + (cost - sample) * left;
            // One answer that doubles the estimate stands alone; a quick one says nothing about
            // how slow the others were.
            let borne_out = u64::from(sample * 2.0 > next);
            let standing =
                if next > cost * 2.0 { 0 } else { (standing + borne_out).min(FULL_STANDING) };
            (next, standing)
        };
        // A late answer must not turn the time back.
        self.0.store(pack(next, standing, step.max(at)), Relaxed);
    }

    /// The estimate as of now, in nanoseconds; `None` when nothing is known.
    ///
    /// It falls while nothing is observed, so that an endpoint that was slow is tried again.
    #[inline]
    pub(crate) fn read(&self, now: Nanos) -> Option<f32> {
        let Word { cost, standing, at } = unpack(self.0.load(Relaxed));
        if at == 0 {
            return (cost > 0.0).then_some(cost);
        }
        Some(cost * faded(step(now).saturating_sub(at), standing))
    }

    /// The estimate, if it is the endpoint's own.
    #[inline]
    pub(crate) fn own(&self, now: Nanos) -> Option<f32> {
        let Word { at, .. } = unpack(self.0.load(Relaxed));
        (at != 0).then(|| self.read(now)).flatten()
    }
}

/// Requests that wait for the head of their answer: how many, and how old together.
///
/// One word: 20 bits of count, 44 bits of the sum of the starting times in steps of 262 µs, modulo
/// 2⁴⁴. The sum of the ages is the count times now less that sum; it is right while it is below
/// 2⁴⁴ steps, which is 53 days for one request or an hour and a quarter for a thousand.
#[derive(Debug, Default)]
pub(crate) struct Waiting(AtomicU64);

impl Waiting {
    /// How many waited before this one.
    #[inline]
    pub(crate) fn begin(&self, now: Nanos) -> u32 {
        (self.0.fetch_add(one_since(now), Relaxed) & COUNT) as u32
    }

    #[inline]
    pub(crate) fn count(&self) -> u32 {
        (self.0.load(Relaxed) & COUNT) as u32
    }

    #[inline]
    pub(crate) fn end(&self, began: Nanos) {
        self.0.fetch_sub(one_since(began), Relaxed);
    }

    /// The mean age in nanoseconds of what waits; 0 when nothing does.
    #[inline]
    pub(crate) fn mean_age(&self, now: Nanos) -> f32 {
        let word = self.0.load(Relaxed);
        let count = word & COUNT;
        if count == 0 {
            return 0.0;
        }
        let starts = word >> COUNT_BITS;
        let ages = ((now >> AGE_SHIFT).wrapping_mul(count)).wrapping_sub(starts)
            & (u64::MAX >> COUNT_BITS);
        // A pick whose `now` lies after ours makes the sum negative, which reads as enormous.
        if ages > (u64::MAX >> COUNT_BITS) / 2 {
            return 0.0;
        }
        (ages as i64 as f32 * (1_u64 << AGE_SHIFT) as f32) / count as i64 as f32
    }
}

/// Answers: how many were judged, and how many bodies are still on their way.
///
/// One word, 40 bits and 24, since most answers change both at once.
#[derive(Debug, Default)]
pub(crate) struct Answers(AtomicU64);

impl Answers {
    const BODY_BITS: u32 = 24;

    /// The head of an answer; its body is now on its way.
    #[inline]
    pub(crate) fn head(&self, judged: bool) {
        self.0.fetch_add((u64::from(judged) << Self::BODY_BITS) | 1, Relaxed);
    }

    /// One more verdict, on a body.
    pub(crate) fn judged_again(&self) {
        self.0.fetch_add(1 << Self::BODY_BITS, Relaxed);
    }

    /// The end of a body.
    #[inline]
    pub(crate) fn end(&self) {
        self.0.fetch_sub(1, Relaxed);
    }

    pub(crate) fn judged(&self) -> u64 {
        self.0.load(Relaxed) >> Self::BODY_BITS
    }

    #[inline]
    pub(crate) fn bodies(&self) -> u32 {
        (self.0.load(Relaxed) & ((1 << Self::BODY_BITS) - 1)) as u32
    }
}

const COUNT_BITS: u32 = 20;
const COUNT: u64 = (1 << COUNT_BITS) - 1;
const AGE_SHIFT: u32 = 18;
const STEP_SHIFT: u32 = 16;
const STEP_BITS: u32 = 36;

#[inline]
fn one_since(start: Nanos) -> u64 {
    ((start >> AGE_SHIFT) << COUNT_BITS) | 1
}

/// Never 0, which marks what was not observed.
#[inline]
fn step(now: Nanos) -> u64 {
    ((now >> STEP_SHIFT) + 1) & ((1 << STEP_BITS) - 1)
}

/// What [`Estimate`] keeps.
struct Word {
    cost: f32,
    standing: u64,
    at: u64,
}

/// Standing above this adds nothing.
const FULL_STANDING: u64 = 4;
const STANDING_BITS: u32 = 3;
/// Bits of the mantissa that are not kept.
const COST_SHIFT: u32 = 6;

#[inline]
fn pack(cost: f32, standing: u64, step: u64) -> u64 {
    let cost = u64::from((cost.max(0.0).to_bits() & 0x7fff_ffff) >> COST_SHIFT);
    ((cost << STANDING_BITS) | standing) << STEP_BITS | step
}

#[inline]
fn unpack(word: u64) -> Word {
    let cost = (word >> (STEP_BITS + STANDING_BITS)) as u32;
    Word {
        cost: f32::from_bits(cost << COST_SHIFT),
        standing: (word >> STEP_BITS) & ((1 << STANDING_BITS) - 1),
        at: word & ((1 << STEP_BITS) - 1),
    }
}

/// The weight that is left of an estimate of this standing after so many steps.
#[inline]
fn faded(steps: u64, standing: u64) -> f32 {
    kept(steps, HALVINGS_DOWN, FULL_STANDING - standing)
}

/// Half-lives per step for a decay, in 2^-40.
const fn halvings_per_step(decay: f64) -> u64 {
    ((1_u64 << STEP_SHIFT) as f64 / decay * LOG2_E * (1_u64 << 40) as f64) as u64
}

const HALVINGS_DOWN: u64 = halvings_per_step(DOWN);
const HALVINGS_UP: u64 = halvings_per_step(UP);

/// e^(-t · 2^times / decay), the weight that is left after so many steps, to within 0.1 %.
///
/// By hand, since it runs up to four times in a pick: several times cheaper than the library's,
/// and the same on every machine.
#[inline]
fn kept(steps: u64, halvings_per_step: u64, times: u64) -> f32 {
    // 36 bits of steps times at most 27 of halvings: it fits. From here on in 2^-20, 43 bits.
    let halvings = (((steps & ((1 << STEP_BITS) - 1)) * halvings_per_step) >> 20) << times;
    let whole = halvings >> 20;
    if whole >= 126 {
        return 0.0;
    }
    let rest = (halvings & 0xf_ffff) as i32 as f32 * (1.0 / (1_u32 << 20) as f32);
    // 2^-x on 0..1, fitted; exact at both ends so that halvings join without a step.
    let part = 1.0 - rest * (0.692_9 - rest * (0.236_4 - rest * 0.043_5));
    // 2^-whole, put together from its exponent.
    part * f32::from_bits((127 - whole as u32) << 23)
}

/// How much an endpoint is doubted, and until when its answers are booked as [`ERROR_COST`].
///
/// One word: 16 bits of the level, 0 to 1, 48 bits of time in steps of 65.5 µs. Each error closes
/// a tenth of the distance to 1, each success a tenth of that to 0, and an error is booked for
/// level³ of [`ERROR_COST`]: 5 ms for a single one, 200 ms for the fourth in a row, seconds for an
/// endpoint that only fails.
///
/// To book each error for as long as a 5 s answer would be remembered starves an endpoint of 1 ms
/// for more than a minute after one error in thousands, and overloads the others meanwhile.
#[derive(Debug, Default)]
pub(crate) struct Doubt(AtomicU64);

impl Doubt {
    const LEVEL_BITS: u32 = 16;
    const FULL: u64 = (1 << Self::LEVEL_BITS) - 1;

    /// An error.
    pub(crate) fn raise(&self, now: Nanos) {
        let _ = self.0.fetch_update(Relaxed, Relaxed, |word| {
            let (level, until) = Self::unpack(word);
            let level = level + (Self::FULL - level).div_ceil(10);
            let share = level as f64 / Self::FULL as f64;
            let until = until.max(Self::after(now, f64::from(ERROR_COST) * share * share * share));
            Some(Self::pack(level, until))
        });
    }

    /// A success. Cost: one load while there is no doubt.
    #[inline]
    pub(crate) fn lower(&self) {
        if self.0.load(Relaxed) & Self::FULL == 0 {
            return;
        }
        let _ = self.0.fetch_update(Relaxed, Relaxed, |word| {
            let (level, until) = Self::unpack(word);
            Some(Self::pack(level - level.div_ceil(10), until))
        });
    }

    /// The endpoint asks to be left alone; longer than [`ERROR_COST`] is taken as that.
    pub(crate) fn rest(&self, now: Nanos, span: Duration) {
        let span = span.as_nanos().min(ERROR_COST as u128) as f64;
        let _ = self.0.fetch_update(Relaxed, Relaxed, |word| {
            let (level, until) = Self::unpack(word);
            Some(Self::pack(level, until.max(Self::after(now, span))))
        });
    }

    /// Forgets everything.
    pub(crate) fn forget(&self) {
        self.0.store(0, Relaxed);
    }

    /// What is to be added to the cost.
    #[inline]
    pub(crate) fn cost(&self, now: Nanos) -> f32 {
        let (_, until) = Self::unpack(self.0.load(Relaxed));
        if (now >> STEP_SHIFT) < until { ERROR_COST } else { 0.0 }
    }

    const fn after(now: Nanos, span: f64) -> u64 {
        // Rounded up: a doubt of less than a step is one of a step.
        (now.saturating_add(span as u64) >> STEP_SHIFT) + 1
    }

    const fn pack(level: u64, until: u64) -> u64 {
        (until << Self::LEVEL_BITS) | level
    }

    const fn unpack(word: u64) -> (u64, u64) {
        (word & Self::FULL, word >> Self::LEVEL_BITS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;
    const SEC: u64 = 1_000 * MS;

    fn near(left: f32, right: f32) -> bool {
        (left - right).abs() <= right.abs() * 0.01
    }

    #[test]
    fn the_decay_is_that_of_e_to_within_a_thousandth() {
        for ms in (0..60_000).step_by(37) {
            let steps = (ms * MS) >> STEP_SHIFT;
            let x = (steps << STEP_SHIFT) as f64 / DOWN;
            let (ours, exact) = (f64::from(kept(steps, HALVINGS_DOWN, 0)), (-x).exp());
            assert!((ours / exact - 1.0).abs() < 0.001, "{ms} ms: {ours}, not {exact}");
        }
        assert_eq!(kept(u64::MAX, HALVINGS_DOWN, 4), 0.0);
    }

    #[test]
    fn what_is_packed_is_read_back() {
        for cost in [0.0, 1.0, 200.0, 1.234_567e6, 5e9, 9e12] {
            for at in [0, 1, 77_777, (1 << STEP_BITS) - 1] {
                for standing in 0..=FULL_STANDING {
                    let back = unpack(pack(cost, standing, at));
                    assert!((back.cost - cost).abs() <= cost * 1e-5, "{cost}: {}", back.cost);
                    assert_eq!((back.standing, back.at), (standing, at));
                }
            }
        }
    }

    #[test]
    fn the_first_answer_counts_whole_and_replaces_what_was_borrowed() {
        let estimate = Estimate::default();
        assert_eq!(estimate.read(0), None);
        estimate.borrow_from(30e6);
        assert!(near(estimate.read(100 * SEC).expect("borrowed"), 30e6), "it does not decay");
        assert_eq!(estimate.own(0), None);
        estimate.observe(MS, 2e6);
        assert!(near(estimate.own(MS).expect("own"), 2e6));
        estimate.borrow_from(30e6);
        assert!(near(estimate.own(MS).expect("own"), 2e6), "nothing is borrowed any more");
    }

    #[test]
    fn it_rises_within_a_second_and_falls_within_four() {
        let estimate = Estimate::default();
        let run = |from_ms: u64, for_ms: u64, sample: f32| {
            for at in from_ms..from_ms + for_ms {
                estimate.observe(at * MS, sample);
            }
            estimate.read((from_ms + for_ms - 1) * MS).expect("known")
        };
        run(0, 1_000, 1e6);
        let risen = run(1_000, 1_000, 11e6);
        // 1 + 10 × (1 - 1/e) = 7.3, and a little, since a gap of 1 ms counts in whole steps.
        assert!((7e6..8e6).contains(&risen), "{risen}");
        let fallen = run(2_000, 4_000, 1e6);
        let wanted = 1e6 + (risen - 1e6) / std::f32::consts::E;
        assert!((wanted * 0.9..wanted * 1.1).contains(&fallen), "{fallen}, not {wanted}");
    }

    #[test]
    fn one_slow_answer_in_a_thousand_hardly_counts() {
        let estimate = Estimate::default();
        for at in 0..1_000 {
            estimate.observe(at * MS, 1e6);
        }
        estimate.observe(1_000 * MS, 200e6);
        let after = estimate.read(1_000 * MS).expect("known");
        assert!(after < 2e6, "{after}: within twice of what it was");
    }

    #[test]
    fn it_fades_while_nothing_is_observed() {
        let estimate = Estimate::default();
        estimate.observe(MS, 500e6);
        // From a stall of 500 ms to twice an answer of 1 ms: ln(250) × 0.25 s.
        let after = estimate.read(1_400 * MS).expect("known");
        assert!(after < 2e6, "{after}");
        for at in 2..6 {
            estimate.observe(at * SEC, 500e6);
        }
        // When five bear it out, × 4 s.
        let after = estimate.read(26 * SEC).expect("known");
        assert!((2e6..5e6).contains(&after), "{after}");
        let later = estimate.read(600 * SEC).expect("known");
        assert!(later < 1.0, "{later}");
    }

    #[test]
    fn a_late_answer_does_not_turn_the_time_back() {
        let estimate = Estimate::default();
        estimate.observe(10 * SEC, 5e6);
        estimate.observe(SEC, 1e6);
        let now = estimate.read(10 * SEC).expect("known");
        assert!(near(now, 5e6), "{now}: it carries the weight of one step");
    }

    #[test]
    fn the_mean_age_is_that_of_what_waits() {
        let waiting = Waiting::default();
        assert_eq!(waiting.mean_age(5 * SEC), 0.0);
        waiting.begin(SEC);
        waiting.begin(3 * SEC);
        assert!(near(waiting.mean_age(5 * SEC), 3e9), "(4 s + 2 s) / 2");
        waiting.end(SEC);
        assert!(near(waiting.mean_age(5 * SEC), 2e9));
        assert_eq!(waiting.mean_age(2 * SEC), 0.0, "begun after that moment");
        waiting.end(3 * SEC);
        assert_eq!(waiting.mean_age(9 * SEC), 0.0);
        assert_eq!(waiting.0.load(Relaxed), 0, "nothing is left over");
    }

    #[test]
    fn the_mean_age_is_right_for_thousands_after_weeks() {
        let waiting = Waiting::default();
        let week = 7 * 86_400 * SEC;
        for _ in 0..5_000 {
            waiting.begin(3 * week);
        }
        assert!(near(waiting.mean_age(3 * week + 30 * SEC), 30e9));
        for _ in 0..5_000 {
            waiting.end(3 * week);
        }
        assert_eq!(waiting.0.load(Relaxed), 0);
    }

    #[test]
    fn doubt_grows_with_each_error_in_a_row_and_successes_take_it_away() {
        let booked = |doubt: &Doubt, from: u64| {
            (0..6_000).find(|ms| doubt.cost(from + ms * MS) == 0.0).expect("it ends")
        };
        let doubt = Doubt::default();
        assert_eq!(doubt.cost(0), 0.0);
        let spans: Vec<u64> = (1..=40_u64)
            .map(|n| {
                let now = n * 100 * SEC;
                doubt.raise(now);
                booked(&doubt, now)
            })
            .collect();
        // 5 s × (1 - 0.9^n)³
        for (n, wanted) in [(1, 5), (2, 34), (4, 203), (8, 925), (40, 4_782)] {
            let got = spans[n - 1];
            assert!(got.abs_diff(wanted) <= 1 + wanted / 50, "error {n}: {got} ms, not {wanted}");
        }
        for _ in 0..200 {
            doubt.lower();
        }
        doubt.raise(9_000 * SEC);
        assert!(booked(&doubt, 9_000 * SEC) <= 6, "as if it were the first");
    }

    #[test]
    fn a_rest_is_kept_and_is_never_longer_than_an_error() {
        let doubt = Doubt::default();
        doubt.rest(SEC, Duration::from_secs(2));
        assert!(doubt.cost(SEC) > 0.0 && doubt.cost(2_990 * MS) > 0.0);
        assert_eq!(doubt.cost(3 * SEC + MS), 0.0);
        doubt.rest(10 * SEC, Duration::from_secs(86_400));
        assert_eq!(doubt.cost(15 * SEC + MS), 0.0);
        doubt.rest(20 * SEC, Duration::MAX);
        assert_eq!(doubt.cost(25 * SEC + MS), 0.0);
    }
}
