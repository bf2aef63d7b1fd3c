//! A share of a whole.

use std::fmt;
use std::str::FromStr;

/// A share of a whole, 0 to 1 and never NaN.
///
/// Units: 0.25 is a quarter; percent are never used.
#[derive(Clone, Copy, Debug, Default, PartialEq, PartialOrd)]
pub struct Ratio(f64);

/// Why a number is not a ratio.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
#[error("a ratio lies in 0..=1, this is {found}")]
pub struct RatioError {
    /// The number that was given; NaN for a text that is no number.
    pub found: f64,
}

// No NaN gets in, so equality is an equivalence.
impl Eq for Ratio {}

impl Ratio {
    /// None of it.
    pub const ZERO: Self = Self(0.0);
    /// One half.
    pub const HALF: Self = Self(0.5);
    /// All of it.
    pub const ONE: Self = Self(1.0);

    /// Checks a number.
    ///
    /// # Errors
    /// [`RatioError`] for NaN and for anything outside of 0..=1.
    pub fn new(value: f64) -> Result<Self, RatioError> {
        if (0.0..=1.0).contains(&value) {
            // -0.0 passes the range check; adding zero makes it +0.0, which prints as one expects.
            Ok(Self(value + 0.0))
        } else {
            Err(RatioError { found: value })
        }
    }

    /// A ratio of whole per cent, for constants; saturates at 100.
    #[must_use]
    pub const fn from_percent(percent: u8) -> Self {
        Self(if percent >= 100 { 1.0 } else { percent as f64 / 100.0 })
    }

    /// The number, in 0..=1.
    #[must_use]
    pub const fn get(self) -> f64 {
        self.0
    }

    /// Whether `part` of `whole` is at least this ratio; never true of an empty whole.
    #[must_use]
    pub fn is_reached_by(self, part: u64, whole: u64) -> bool {
        // u64 to f64 is exact below 2^53; no window holds more calls.
        whole > 0 && part as f64 >= self.0 * whole as f64
    }
}

impl fmt::Display for Ratio {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl TryFrom<f64> for Ratio {
    type Error = RatioError;

    fn try_from(value: f64) -> Result<Self, RatioError> {
        Self::new(value)
    }
}

impl FromStr for Ratio {
    type Err = RatioError;

    fn from_str(text: &str) -> Result<Self, RatioError> {
        Self::new(text.trim().parse().unwrap_or(f64::NAN))
    }
}

#[cfg(feature = "serde")]
impl serde::Serialize for Ratio {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_f64(self.0)
    }
}

#[cfg(feature = "serde")]
impl<'de> serde::Deserialize<'de> for Ratio {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        Self::new(f64::deserialize(from)?).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_outside_of_zero_to_one_gets_in() {
        for bad in [f64::NAN, -0.1, 1.000_1, f64::INFINITY, 1e30] {
            assert!(Ratio::new(bad).is_err(), "{bad}");
        }
        assert!("half".parse::<Ratio>().is_err());
        assert_eq!(Ratio::new(-0.0).map(|r| r.to_string()), Ok("0".to_owned()));
    }

    #[test]
    fn a_threshold_is_reached_exactly_at_it_and_never_by_nothing() {
        assert!(Ratio::HALF.is_reached_by(10, 20));
        assert!(!Ratio::HALF.is_reached_by(9, 20));
        assert!(!Ratio::ZERO.is_reached_by(0, 0), "an empty window reaches nothing");
    }
}
