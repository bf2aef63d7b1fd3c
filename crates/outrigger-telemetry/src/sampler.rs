//! Which traces are kept, decided before any span exists.

use outrigger_core::{Ratio, TraceContext};

/// Which traces are kept.
///
/// Default: 1 % of the traces that start here, and whatever the caller decided otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Sampler {
    /// The share of traces that start here.
    pub ratio: Ratio,
    /// Whether the decision of a caller is obeyed; if not, `ratio` decides on its traces too.
    pub parent_based: bool,
}

impl Default for Sampler {
    fn default() -> Self {
        Self { ratio: Ratio::from_percent(1), parent_based: true }
    }
}

impl Sampler {
    /// A sampler that obeys callers and keeps `ratio` of its own traces.
    #[must_use]
    pub const fn parent_based(ratio: Ratio) -> Self {
        Self { ratio, parent_based: true }
    }

    /// Decides on a trace.
    ///
    /// Shape: the same id gets the same answer in every service with the same ratio, and a larger
    /// ratio keeps whatever a smaller one keeps. Cost: a comparison.
    /// Source: OpenTelemetry's `TraceIdRatioBased`, as its SDKs have it: the low 63 bits.
    #[must_use]
    pub fn keeps(&self, trace_id: u128) -> bool {
        let ratio = self.ratio.get();
        if ratio >= 1.0 {
            return true;
        }
        // The product is below 2^63, so the conversion is exact enough and never saturates.
        let bound = (ratio * (1_u64 << 63) as f64) as u64;
        ((trace_id as u64) >> 1) < bound
    }

    /// The flags for a trace whose caller said `sampled`, or nothing.
    #[must_use]
    pub fn flags(&self, trace_id: u128, sampled: Option<bool>, flags: u8) -> u8 {
        let keep = match sampled {
            Some(decided) if self.parent_based => decided,
            _ => self.keeps(trace_id),
        };
        flags & !1 | u8::from(keep)
    }

    /// Starts a trace.
    ///
    /// The random flag of level 2 is not set although the id is random: Brave, the tracer of many
    /// Spring services, refuses a version 00 header with any flag but the sampled one.
    #[must_use]
    pub fn root(&self, sampled: Option<bool>) -> TraceContext {
        let trace_id = new_trace_id();
        TraceContext { trace_id, span_id: new_span_id(), flags: self.flags(trace_id, sampled, 0) }
    }
}

/// A random id, never zero.
pub(crate) fn new_span_id() -> u64 {
    fastrand::u64(1..)
}

fn new_trace_id() -> u128 {
    // The low half is never zero on its own: B3 readers with 64-bit ids see only that.
    u128::from(fastrand::u64(..)) << 64 | u128::from(fastrand::u64(1..))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ratio(value: f64) -> Sampler {
        Sampler::parent_based(Ratio::new(value).expect("in range"))
    }

    #[test]
    fn the_default_keeps_one_in_a_hundred_and_obeys_callers() {
        assert_eq!(Sampler::default(), ratio(0.01));
    }

    #[test]
    fn the_share_that_is_kept_is_the_ratio() {
        let mut rng = fastrand::Rng::with_seed(3);
        let kept = (0..100_000).filter(|_| ratio(0.25).keeps(rng.u128(1..))).count();
        // Five standard deviations of a binomial with p = 0.25: 685.
        assert!((24_315..=25_685).contains(&kept), "{kept}");
    }

    #[test]
    fn none_and_all_are_exact_at_the_ends_of_the_id_space() {
        for id in [1, u128::from(u64::MAX), u128::MAX, 1 << 64] {
            assert!(!ratio(0.0).keeps(id), "{id:x}");
            assert!(ratio(1.0).keeps(id), "{id:x}");
        }
    }

    #[test]
    fn the_answer_is_the_one_that_the_sdk_gives() {
        use opentelemetry::trace::SpanKind;
        use opentelemetry_sdk::trace::{Sampler as Sdk, SamplingDecision, ShouldSample};
        let mut rng = fastrand::Rng::with_seed(5);
        for _ in 0..10_000 {
            let (id, share) = (rng.u128(1..), rng.f64());
            let sdk = Sdk::TraceIdRatioBased(share);
            let theirs = sdk.should_sample(None, id.into(), "", &SpanKind::Server, &[], &[]);
            let kept = theirs.decision == SamplingDecision::RecordAndSample;
            assert_eq!(ratio(share).keeps(id), kept, "{id:x} at {share}");
        }
    }

    #[test]
    fn a_larger_ratio_keeps_what_a_smaller_one_keeps() {
        let mut rng = fastrand::Rng::with_seed(4);
        for _ in 0..10_000 {
            let id = rng.u128(1..);
            assert!(!ratio(0.1).keeps(id) || ratio(0.2).keeps(id));
        }
    }

    #[test]
    fn a_callers_decision_is_obeyed_unless_it_is_not_asked_for() {
        let all = ratio(1.0);
        assert_eq!(all.flags(7, Some(false), 0b10), 0b10, "the random flag stays");
        assert_eq!(all.flags(7, None, 0b10), 0b11);
        let own = Sampler { parent_based: false, ..all };
        assert_eq!(own.flags(7, Some(false), 0), 1);
    }

    #[test]
    fn a_root_has_both_ids_and_no_random_flag() {
        let root = ratio(1.0).root(None);
        assert!(root.is_valid() && root.flags == 1 && root.trace_id as u64 != 0);
    }
}
