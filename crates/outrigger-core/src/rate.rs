//! A count per time.

use std::fmt;
use std::num::NonZeroU32;
use std::str::FromStr;
use std::time::Duration;

/// How many per how long, such as `100/s`.
///
/// Shape: neither the count nor the time is zero. Written `COUNT/UNIT` with the units `ms`, `s`,
/// `m`, `h`, or `COUNT/NUMBER UNIT` such as `5/10s`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Rate {
    count: NonZeroU32,
    per: Duration,
}

/// Why a text or a pair is not a rate.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RateError {
    /// The time is zero or longer than a day.
    #[error("a rate's time lies between 1 ms and 24 h")]
    Period,
    /// The text is not of the form `COUNT/UNIT`.
    #[error("{text:?} is not a rate; write COUNT/UNIT such as 100/s, 5/10s or 1000/m")]
    Syntax {
        /// The text that was given.
        text: String,
    },
}

impl Rate {
    /// Makes a rate of a count and a time.
    ///
    /// # Errors
    /// [`RateError::Period`] when `per` is below 1 ms or above 24 h.
    pub fn new(count: NonZeroU32, per: Duration) -> Result<Self, RateError> {
        if (Duration::from_millis(1)..=Duration::from_secs(86_400)).contains(&per) {
            Ok(Self { count, per })
        } else {
            Err(RateError::Period)
        }
    }

    /// So many a second.
    #[must_use]
    pub const fn per_second(count: NonZeroU32) -> Self {
        Self { count, per: Duration::from_secs(1) }
    }

    /// How many.
    #[must_use]
    pub const fn count(self) -> NonZeroU32 {
        self.count
    }

    /// In how long.
    #[must_use]
    pub const fn per(self) -> Duration {
        self.per
    }

    /// The time from one to the next when they are evenly spread.
    #[must_use]
    pub fn interval(self) -> Duration {
        self.per / self.count.get()
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (count, ms) = (self.count, self.per.as_millis());
        match ms {
            1 => write!(f, "{count}/ms"),
            1_000 => write!(f, "{count}/s"),
            60_000 => write!(f, "{count}/m"),
            3_600_000 => write!(f, "{count}/h"),
            _ if ms % 1_000 == 0 => write!(f, "{count}/{}s", ms / 1_000),
            _ => write!(f, "{count}/{ms}ms"),
        }
    }
}

impl FromStr for Rate {
    type Err = RateError;

    fn from_str(text: &str) -> Result<Self, RateError> {
        let syntax = || RateError::Syntax { text: text.chars().take(64).collect() };
        let (count, per) = text.trim().split_once('/').ok_or_else(syntax)?;
        let count: NonZeroU32 = count.trim().parse().map_err(|_| syntax())?;
        let per = per.trim();
        let digits = per.bytes().take_while(u8::is_ascii_digit).count();
        let (number, unit) = per.split_at(digits);
        let number: u64 =
            if number.is_empty() { 1 } else { number.parse().map_err(|_| syntax())? };
        let unit_ms = match unit.trim() {
            "ms" => 1,
            "s" | "sec" | "second" => 1_000,
            "m" | "min" | "minute" => 60_000,
            "h" | "hour" => 3_600_000,
            _ => return Err(syntax()),
        };
        let ms = number.checked_mul(unit_ms).ok_or(RateError::Period)?;
        Self::new(count, Duration::from_millis(ms))
    }
}

#[cfg(feature = "serde")]
impl serde::Serialize for Rate {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

#[cfg(feature = "serde")]
impl<'de> serde::Deserialize<'de> for Rate {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(from)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_printed_is_read_back() {
        for text in ["100/s", "5/10s", "1/ms", "1000/m", "3/h", "7/250ms"] {
            let rate: Rate = text.parse().expect(text);
            assert_eq!(rate.to_string(), text);
        }
    }

    #[test]
    fn nonsense_is_refused_with_the_form_that_is_wanted() {
        for text in ["", "0/s", "-1/s", "1e30/s", "10", "10/", "10/y", "10/0s", "1/99999999999999h"]
        {
            assert!(text.parse::<Rate>().is_err(), "{text:?}");
        }
    }
}
