//! What an answer says about trying again.

use std::time::Duration;

use http::{HeaderMap, header};
use outrigger_core::header::GRPC_RETRY_PUSHBACK;

/// What an answer says about trying again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wish {
    /// Nothing.
    None,
    /// Not before this has passed: `Retry-After`.
    AtLeast(Duration),
    /// After this, instead of our backoff: gRPC's pushback.
    Exactly(Duration),
    /// Not at all.
    Never,
}

impl Wish {
    /// Reads a head. gRPC's pushback beats `Retry-After`; of it, what cannot be read means "never",
    /// as gRFC A6 has it, while a `Retry-After` that cannot be read is ignored.
    pub(super) fn of(headers: &HeaderMap) -> Self {
        if let Some(value) = headers.get(GRPC_RETRY_PUSHBACK) {
            return match value.to_str().ok().and_then(|text| text.parse().ok()) {
                Some(ms) => Self::Exactly(Duration::from_millis(ms)),
                None => Self::Never,
            };
        }
        let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
        let Some(asked) = text(header::RETRY_AFTER) else { return Self::None };
        if let Ok(secs) = asked.trim().parse() {
            return Self::AtLeast(Duration::from_secs(secs));
        }
        // A date means something beside the answer's own date only: our wall clock need not agree
        // with the endpoint's, and rules have none.
        match (parse_date(asked), text(header::DATE).and_then(parse_date)) {
            (Some(then), Some(now)) => Self::AtLeast(Duration::from_secs(then.saturating_sub(now))),
            _ => Self::None,
        }
    }
}

/// Seconds since 1970 of a date such as `Sun, 06 Nov 1994 08:49:37 GMT`.
///
/// Source: RFC 9110, section 5.6.7, IMF-fixdate; its two obsolete forms are not read. Days from a
/// civil date after Howard Hinnant's algorithm, for the years 1970 to 9999.
fn parse_date(text: &str) -> Option<u64> {
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let (_, rest) = text.trim().split_once(", ")?;
    let mut words = rest.split(' ');
    let day: u64 = words.next()?.parse().ok().filter(|day| (1..=31).contains(day))?;
    let name = words.next()?;
    let month = MONTHS.iter().position(|month| *month == name)? as u64 + 1;
    let year: u64 = words.next()?.parse().ok().filter(|year| (1970..=9999).contains(year))?;
    let mut time = words.next()?.split(':');
    let mut next = |below: u64| time.next()?.parse::<u64>().ok().filter(|part| *part < below);
    let (hour, minute, second) = (next(24)?, next(60)?, next(61)?);
    if words.next()? != "GMT" || words.next().is_some() {
        return None;
    }
    // The year begins in March, so that the leap day is its last.
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let (era, of_era) = (year / 400, year % 400);
    let day_of_year = (153 * month + 2) / 5 + day - 1;
    let day_of_era = of_era * 365 + of_era / 4 - of_era / 100 + day_of_year;
    let days = (era * 146_097 + day_of_era).checked_sub(719_468)?;
    Some(days * 86_400 + hour * 3_600 + minute * 60 + second)
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;
    use proptest::prelude::*;

    fn wish(pairs: &[(http::HeaderName, &'static str)]) -> Wish {
        let pairs = pairs.iter().map(|(n, v)| (n.clone(), HeaderValue::from_static(v)));
        Wish::of(&pairs.collect())
    }

    #[test]
    fn seconds_are_waited_for_and_nonsense_is_ignored() {
        assert_eq!(wish(&[(header::RETRY_AFTER, "2")]), Wish::AtLeast(Duration::from_secs(2)));
        assert_eq!(wish(&[(header::RETRY_AFTER, "soon")]), Wish::None);
        assert_eq!(wish(&[]), Wish::None);
    }

    #[test]
    fn a_date_is_read_beside_the_answers_own_date() {
        let then = (header::RETRY_AFTER, "Sun, 06 Nov 1994 08:49:37 GMT");
        let now = (header::DATE, "Sun, 06 Nov 1994 08:49:30 GMT");
        assert_eq!(wish(&[then.clone(), now]), Wish::AtLeast(Duration::from_secs(7)));
        let later = (header::DATE, "Sun, 06 Nov 1994 09:00:00 GMT");
        assert_eq!(wish(&[then.clone(), later]), Wish::AtLeast(Duration::ZERO));
        assert_eq!(wish(&[then]), Wish::None, "without a date beside it, it says nothing");
    }

    #[test]
    fn dates_are_those_of_the_calendar() {
        for (text, secs) in [
            ("Thu, 01 Jan 1970 00:00:00 GMT", 0),
            ("Sun, 06 Nov 1994 08:49:37 GMT", 784_111_777),
            ("Tue, 29 Feb 2000 00:00:00 GMT", 951_782_400),
            ("Mon, 23 Nov 2026 12:00:00 GMT", 1_795_435_200),
        ] {
            assert_eq!(parse_date(text), Some(secs), "{text}");
        }
        for text in ["", "Sun, 32 Nov 1994 08:49:37 GMT", "Sun, 06 Nov 1994 08:49:37 UTC", "x, "] {
            assert_eq!(parse_date(text), None, "{text}");
        }
    }

    #[test]
    fn grpc_pushback_is_obeyed_to_the_letter() {
        let after = |text| wish(&[(GRPC_RETRY_PUSHBACK, text), (header::RETRY_AFTER, "9")]);
        assert_eq!(after("150"), Wish::Exactly(Duration::from_millis(150)));
        for never in ["-1", "x", "", "99999999999999999999999"] {
            assert_eq!(after(never), Wish::Never, "{never:?}");
        }
    }

    proptest! {
        #[test]
        fn no_date_makes_it_panic(text in ".{0,40}") {
            let _ = parse_date(&text);
        }
    }
}
