//! The chain-wide guard: retries made above are known below, and the other way round.
//!
//! Going down, a request carries `x-outrigger-attempt: N`, the retries made for it so far; baggage
//! mirrors it as `outrigger.attempt`, so that it survives services that forward baggage only.
//! Coming up, an answer for which more than one try was made carries `x-outrigger-attempts: N`.

use http::HeaderMap;
use outrigger_core::{MAX_ATTEMPT, header};

/// Retries made for a request above: the larger of the header and its mirror in the baggage.
///
/// What cannot be read counts as 0, what is above 99 as 99. Taken from anybody: it can only
/// forbid. Cost: one pass over the names; nothing is allocated.
#[must_use]
pub fn read_attempt(headers: &HeaderMap) -> u8 {
    let mut most = 0;
    for (name, value) in headers {
        let attempt = match name.as_str() {
            ATTEMPT => value.to_str().ok().and_then(number),
            BAGGAGE => {
                let members = value.to_str().unwrap_or_default().split(',');
                members.filter_map(attempt_member).filter_map(number).max()
            }
            _ => continue,
        };
        most = most.max(attempt.unwrap_or(0));
    }
    most
}

const ATTEMPT: &str = "x-outrigger-attempt";
const BAGGAGE: &str = "baggage";

/// Tries made below for an answer, when it says so; 1 otherwise.
#[must_use]
pub fn read_tries(headers: &HeaderMap) -> u8 {
    let all = headers.get_all(header::ATTEMPTS).iter().filter_map(|value| value.to_str().ok());
    all.filter_map(number).max().unwrap_or(1).max(1)
}

/// The baggage that mirrors `attempt`: the list as it was, with our member replaced or added.
///
/// Shape: `lists` are the values of the `baggage` headers as they came, in order; `None` when the
/// result is empty. Our member stands last. At 0 it is left out.
#[must_use]
pub fn mirror<'a>(lists: impl IntoIterator<Item = &'a str>, attempt: u8) -> Option<String> {
    let mut all = String::new();
    let others = lists.into_iter().flat_map(|list| list.split(',')).map(str::trim);
    for member in others.filter(|m| !m.is_empty() && attempt_member(m).is_none()) {
        if !all.is_empty() {
            all.push(',');
        }
        all.push_str(member);
    }
    if attempt > 0 {
        if !all.is_empty() {
            all.push(',');
        }
        all.push_str(header::ATTEMPT_BAGGAGE_KEY);
        all.push('=');
        all.push_str(&attempt.min(MAX_ATTEMPT).to_string());
    }
    (!all.is_empty()).then_some(all)
}

/// The value of our member of a baggage list, without its properties.
fn attempt_member(member: &str) -> Option<&str> {
    let (key, value) = member.split_once('=')?;
    (key.trim() == header::ATTEMPT_BAGGAGE_KEY).then(|| value.split(';').next().unwrap_or(value))
}

fn number(text: &str) -> Option<u8> {
    let text = text.trim();
    if text.is_empty() || !text.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    // So many digits that they do not fit are still a number, and a large one.
    Some(text.parse::<u8>().unwrap_or(u8::MAX).min(MAX_ATTEMPT))
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    #[test]
    fn the_names_are_those_of_the_words() {
        assert_eq!(header::ATTEMPT, ATTEMPT);
        assert_eq!(header::BAGGAGE, BAGGAGE);
    }

    fn with(name: http::HeaderName, values: &[&'static str]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for value in values {
            map.append(name.clone(), HeaderValue::from_static(value));
        }
        map
    }

    #[test]
    fn the_header_is_read_and_bounded() {
        for (text, attempt) in [
            ("0", 0),
            ("1", 1),
            ("99", 99),
            ("100", 99),
            ("4096", 99),
            ("x", 0),
            ("-1", 0),
            ("", 0),
        ] {
            assert_eq!(read_attempt(&with(header::ATTEMPT, &[text])), attempt, "{text:?}");
        }
        assert_eq!(read_attempt(&with(header::ATTEMPT, &["0", "3", "1"])), 3, "the largest counts");
    }

    #[test]
    fn baggage_alone_tells_it_too() {
        let map = with(header::BAGGAGE, &["user=7;p=1, outrigger.attempt = 2 ;x=y", "a=b"]);
        assert_eq!(read_attempt(&map), 2);
        assert_eq!(read_attempt(&with(header::BAGGAGE, &["xoutrigger.attempt=2"])), 0);
    }

    #[test]
    fn the_mirror_keeps_what_others_put_there() {
        let was = ["user=7;p=1, outrigger.attempt=1", "a=b"];
        assert_eq!(mirror(was, 2).as_deref(), Some("user=7;p=1,a=b,outrigger.attempt=2"));
        assert_eq!(mirror(was, 0).as_deref(), Some("user=7;p=1,a=b"));
        assert_eq!(mirror([], 3).as_deref(), Some("outrigger.attempt=3"));
        assert_eq!(mirror(["outrigger.attempt=9"], 0), None);
    }

    #[test]
    fn an_answer_that_says_nothing_took_one_try() {
        assert_eq!(read_tries(&HeaderMap::new()), 1);
        assert_eq!(read_tries(&with(header::ATTEMPTS, &["3"])), 3);
        assert_eq!(read_tries(&with(header::ATTEMPTS, &["0"])), 1);
        assert_eq!(read_tries(&with(header::ATTEMPTS, &["many"])), 1);
    }
}
