//! One budget of time across hops: reading and writing the headers that carry it.

use std::fmt;
use std::time::Duration;

use http::{HeaderMap, HeaderValue};

/// The longest time that counts as a deadline, 30 days; more is read as no deadline.
pub const MAX: Duration = Duration::from_secs(30 * 86_400);

/// The time left that the caller tells, in whichever of the three headers; the tightest wins.
///
/// `x-outrigger-deadline-ms`, `grpc-timeout` and `x-envoy-expected-rq-timeout-ms` are read, each
/// as often as it stands there. What cannot be read is ignored: a hop can only tighten, so that
/// nonsense leaves the caller where it would be without it.
///
/// Cost: one pass over the names, which for the few headers of a call is a fraction of hashing the
/// three names; nothing is allocated.
#[must_use]
pub fn read(headers: &HeaderMap) -> Option<Duration> {
    let mut tightest = None;
    for (name, value) in headers {
        let left = match name.as_str() {
            OURS => text(value).and_then(parse_ms),
            GRPC => text(value).and_then(parse_grpc_timeout),
            // Envoy writes 0 for "no limit".
            ENVOY => text(value).and_then(parse_ms).filter(|left| !left.is_zero()),
            _ => continue,
        };
        tightest = [tightest, left].into_iter().flatten().min();
    }
    tightest
}

const OURS: &str = "x-outrigger-deadline-ms";
const GRPC: &str = "grpc-timeout";
const ENVOY: &str = "x-envoy-expected-rq-timeout-ms";

fn text(value: &HeaderValue) -> Option<&str> {
    value.to_str().ok()
}

/// Reads `x-outrigger-deadline-ms`: decimal digits, 0 for a deadline that has passed.
#[must_use]
pub fn parse_ms(text: &str) -> Option<Duration> {
    let left = Duration::from_millis(digits(text.trim())?);
    (left <= MAX).then_some(left)
}

/// Reads `grpc-timeout`: 1 to 8 digits and one of the units `H`, `M`, `S`, `m`, `u`, `n`.
///
/// Source: gRPC over HTTP/2, "Timeout".
#[must_use]
pub fn parse_grpc_timeout(text: &str) -> Option<Duration> {
    let (number, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    if number.len() > 8 {
        return None;
    }
    let number = digits(number)?;
    let left = match unit {
        "H" => Duration::from_secs(number * 3_600),
        "M" => Duration::from_secs(number * 60),
        "S" => Duration::from_secs(number),
        "m" => Duration::from_millis(number),
        "u" => Duration::from_micros(number),
        "n" => Duration::from_nanos(number),
        _ => return None,
    };
    (left <= MAX).then_some(left)
}

/// The value of `x-outrigger-deadline-ms`: whole milliseconds, rounded down, so that a hop never
/// believes to have more than it has.
#[must_use]
pub fn to_ms(left: Duration) -> u64 {
    u64::try_from(left.as_millis()).unwrap_or(u64::MAX)
}

/// The time left as `grpc-timeout` writes it.
///
/// Shape: at most 8 digits; milliseconds while they fit, microseconds below one of them, else
/// seconds; always rounded down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GrpcTimeout(Duration);

impl GrpcTimeout {
    /// This time left.
    #[must_use]
    pub fn new(left: Duration) -> Self {
        Self(left.min(MAX))
    }
}

impl fmt::Display for GrpcTimeout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = self.0.as_millis();
        match ms {
            0 => write!(f, "{}u", self.0.as_micros()),
            1..=99_999_999 => write!(f, "{ms}m"),
            _ => write!(f, "{}S", self.0.as_secs()),
        }
    }
}

/// Digits only: `u64::from_str` would take a plus sign too.
fn digits(text: &str) -> Option<u64> {
    if !text.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    text.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderName;
    use outrigger_core::header;
    use proptest::prelude::*;

    #[test]
    fn the_names_are_those_of_the_words() {
        assert_eq!(header::DEADLINE, OURS);
        assert_eq!(header::GRPC_TIMEOUT, GRPC);
        assert_eq!(header::ENVOY_EXPECTED_TIMEOUT, ENVOY);
    }

    fn headers(pairs: &[(HeaderName, &'static str)]) -> HeaderMap {
        let pairs = pairs.iter().map(|(n, v)| (n.clone(), HeaderValue::from_static(v)));
        let mut map = HeaderMap::new();
        pairs.for_each(|(name, value)| {
            map.append(name, value);
        });
        map
    }

    #[test]
    fn the_tightest_of_the_three_wins() {
        let all = headers(&[
            (header::DEADLINE, "900"),
            (header::GRPC_TIMEOUT, "1S"),
            (header::ENVOY_EXPECTED_TIMEOUT, "950"),
            (header::DEADLINE, "800"),
        ]);
        assert_eq!(read(&all), Some(Duration::from_millis(800)));
        assert_eq!(read(&HeaderMap::new()), None);
    }

    #[test]
    fn nonsense_is_ignored_and_does_not_hide_what_is_right() {
        let all = headers(&[
            (header::DEADLINE, "soon"),
            (header::DEADLINE, "-5"),
            (header::DEADLINE, "99999999999999999999999"),
            (header::ENVOY_EXPECTED_TIMEOUT, "0"),
            (header::GRPC_TIMEOUT, "2S"),
        ]);
        assert_eq!(read(&all), Some(Duration::from_secs(2)));
    }

    #[test]
    fn a_passed_deadline_is_one() {
        assert_eq!(parse_ms("0"), Some(Duration::ZERO));
    }

    #[test]
    fn every_unit_of_grpc_is_read_and_no_ninth_digit() {
        for (text, left) in [
            ("1H", Duration::from_secs(3_600)),
            ("2M", Duration::from_secs(120)),
            ("3S", Duration::from_secs(3)),
            ("4m", Duration::from_millis(4)),
            ("5u", Duration::from_micros(5)),
            ("6n", Duration::from_nanos(6)),
            ("99999999m", Duration::from_millis(99_999_999)),
        ] {
            assert_eq!(parse_grpc_timeout(text), Some(left), "{text}");
        }
        for text in ["", "S", "1", "1s", "+1S", "-1S", "1 S", "123456789m", "99999999H", "1é"] {
            assert_eq!(parse_grpc_timeout(text), None, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back_and_never_longer(nanos in 0_u64..3_000_000_000_000_000) {
            let left = Duration::from_nanos(nanos).min(MAX);
            let text = GrpcTimeout::new(left).to_string();
            let read = parse_grpc_timeout(&text).expect("what was written");
            prop_assert!(read <= left, "{text}: {read:?} > {left:?}");
            prop_assert!(left - read < Duration::from_secs(1));
            prop_assert!(parse_ms(&to_ms(left).to_string()).expect("written") <= left);
        }

        #[test]
        fn no_header_value_makes_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
            if let Ok(value) = HeaderValue::from_bytes(&bytes) {
                let mut map = HeaderMap::new();
                map.insert(header::DEADLINE, value.clone());
                map.insert(header::GRPC_TIMEOUT, value.clone());
                map.insert(header::ENVOY_EXPECTED_TIMEOUT, value);
                let _ = read(&map);
            }
        }
    }
}
