//! `baggage`, checked and kept within bounds.

use http::HeaderValue;
use http::header::GetAll;
use outrigger_core::MAX_ATTEMPT;
use outrigger_core::header::ATTEMPT_BAGGAGE_KEY;

/// Most members that are passed on; the specification asks for no more.
pub const MAX_MEMBERS: usize = 64;
/// Most bytes that are passed on; the specification asks for no more.
pub const MAX_BYTES: usize = 8192;

/// Reads all headers of that name and gives back what to pass on.
///
/// Shape: `None` when nothing valid is left. Members that break the grammar are left out, as are
/// those beyond 64 members or 8,192 bytes; order is kept, properties stay.
///
/// Cost: nothing is allocated for one valid header within the bounds; otherwise one buffer of at
/// most 8 KiB. Source: W3C Baggage, sections 3.2 and 3.3.
#[must_use]
pub fn merge(values: &GetAll<'_, HeaderValue>) -> Option<HeaderValue> {
    let mut headers = values.iter();
    let first = headers.next()?;
    if headers.next().is_none() && first.len() <= MAX_BYTES {
        let mut members = 0;
        if raw_members(first).all(|member| {
            members += 1;
            is_member(member)
        }) && (1..=MAX_MEMBERS).contains(&members)
        {
            return Some(first.clone());
        }
    }
    let mut joined = Vec::new();
    for member in values.iter().flat_map(raw_members).filter(|m| is_member(m)).take(MAX_MEMBERS) {
        let comma = usize::from(!joined.is_empty());
        if joined.len() + comma + member.len() > MAX_BYTES {
            break;
        }
        if comma == 1 {
            joined.push(b',');
        }
        joined.extend_from_slice(member);
    }
    if joined.is_empty() { None } else { HeaderValue::from_maybe_shared(joined).ok() }
}

/// The value of one key, as written (percent-encoded), without its properties.
#[must_use]
pub fn value<'b>(baggage: &'b HeaderValue, key: &str) -> Option<&'b [u8]> {
    raw_members(baggage).find_map(|member| {
        let (found, value) = split(member)?;
        (found == key.as_bytes()).then_some(value)
    })
}

/// Retries made so far, by the mirror of our header; more than 99 counts as 99.
#[must_use]
pub fn attempt(baggage: &HeaderValue) -> Option<u8> {
    let digits = value(baggage, ATTEMPT_BAGGAGE_KEY)?;
    parse_attempt(digits)
}

/// Reads a number of retries: 1 to 9 digits, saturating at 99.
pub(crate) fn parse_attempt(digits: &[u8]) -> Option<u8> {
    if !(1..=9).contains(&digits.len()) || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let number = digits.iter().fold(0_u32, |n, d| n * 10 + u32::from(d - b'0'));
    // `min` leaves two digits, which fit.
    Some(number.min(u32::from(MAX_ATTEMPT)) as u8)
}

/// The same baggage with the mirror of our retry header set, first in the list so that no hop's
/// limit cuts it off.
///
/// Cost: one allocation. Called for retries only.
#[must_use]
pub fn with_attempt(baggage: Option<&HeaderValue>, attempt: u8) -> HeaderValue {
    let mut text =
        Vec::with_capacity(ATTEMPT_BAGGAGE_KEY.len() + 4 + baggage.map_or(0, HeaderValue::len));
    text.extend_from_slice(ATTEMPT_BAGGAGE_KEY.as_bytes());
    text.push(b'=');
    text.extend_from_slice(attempt.min(MAX_ATTEMPT).to_string().as_bytes());
    let others = baggage.into_iter().flat_map(raw_members);
    for member in
        others.filter(|m| split(m).is_some_and(|(k, _)| k != ATTEMPT_BAGGAGE_KEY.as_bytes()))
    {
        if text.len() + 1 + member.len() > MAX_BYTES {
            break;
        }
        text.push(b',');
        text.extend_from_slice(member);
    }
    super::traceparent::ascii_header(&text)
}

fn raw_members(value: &HeaderValue) -> impl Iterator<Item = &[u8]> {
    value.as_bytes().split(|&b| b == b',').map(<[u8]>::trim_ascii)
}

/// Key and value of a member, without the white space around them and without properties.
fn split(member: &[u8]) -> Option<(&[u8], &[u8])> {
    let pair = member.split(|&b| b == b';').next()?;
    let equals = pair.iter().position(|&b| b == b'=')?;
    Some((pair[..equals].trim_ascii(), pair[equals + 1..].trim_ascii()))
}

fn is_member(member: &[u8]) -> bool {
    let Some((key, value)) = split(member) else { return false };
    let properties_are_visible = member.iter().all(|b| matches!(b, b'\t' | b' '..=b'~'));
    is_token(key) && value.iter().all(|&b| is_baggage_octet(b)) && properties_are_visible
}

fn is_token(key: &[u8]) -> bool {
    let tchar = |b: &u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(b);
    !key.is_empty() && key.iter().all(tchar)
}

const fn is_baggage_octet(byte: u8) -> bool {
    matches!(byte, 0x21 | 0x23..=0x2b | 0x2d..=0x3a | 0x3c..=0x5b | 0x5d..=0x7e)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn merged(headers: &[&str]) -> Option<String> {
        let mut map = http::HeaderMap::new();
        for header in headers {
            map.append("x", HeaderValue::from_str(header).expect("visible ASCII"));
        }
        merge(&map.get_all("x")).map(|v| v.to_str().expect("ASCII").to_owned())
    }

    #[test]
    fn the_specifications_examples_are_passed_on_as_they_came() {
        for list in [
            "key1=value1;property1;property2, key2 = value2, key3=value3; propertyKey=propertyValue",
            "userId=alice,serverNode=DF%2028,isProduction=false",
            "userId=Am%C3%A9lie",
        ] {
            assert_eq!(merged(&[list]).as_deref(), Some(list));
        }
    }

    #[test]
    fn several_headers_are_one_list_in_order() {
        assert_eq!(
            merged(&["userId=alice", "serverNode=DF%2028"]).as_deref(),
            Some("userId=alice,serverNode=DF%2028")
        );
    }

    #[test]
    fn only_members_that_break_the_grammar_are_left_out() {
        assert_eq!(merged(&["a=1,b c=2,=3,d,e=\"x\",f=1"]).as_deref(), Some("a=1,f=1"));
        assert_eq!(merged(&["no equals sign"]), None);
        assert_eq!(merged(&[]), None);
    }

    #[test]
    fn sixty_four_kilobytes_become_eight() {
        let many = (0..4000).map(|n| format!("key{n}=value{n}")).collect::<Vec<_>>().join(",");
        assert!(many.len() > 64 * 1024);
        let kept = merged(&[&many]).expect("the first ones fit");
        assert_eq!(kept.split(',').count(), MAX_MEMBERS);
        assert!(many.starts_with(&kept));

        let fat =
            (0..60).map(|n| format!("k{n}={}", "v".repeat(400))).collect::<Vec<_>>().join(",");
        let kept = merged(&[&fat]).expect("the first ones fit");
        assert!(kept.len() <= MAX_BYTES && kept.len() > MAX_BYTES - 410, "{}", kept.len());

        let one = format!("k={}", "v".repeat(64 * 1024));
        assert_eq!(merged(&[&one]), None, "a member is never cut in two");
    }

    #[test]
    fn the_mirror_of_the_retry_header_is_read_replaced_and_comes_first() {
        let before = HeaderValue::from_static("user=alice, outrigger.attempt=1;p ,node=7");
        assert_eq!(attempt(&before), Some(1));
        let after = with_attempt(Some(&before), 2);
        assert_eq!(after, "outrigger.attempt=2,user=alice,node=7");
        assert_eq!(attempt(&after), Some(2));
        assert_eq!(with_attempt(None, 200), "outrigger.attempt=99");
        for (text, wanted) in [
            ("outrigger.attempt=4711", Some(99)),
            ("outrigger.attempt=-1", None),
            ("outrigger.attempt=", None),
            ("outrigger.attempt=99999999999", None),
        ] {
            assert_eq!(attempt(&HeaderValue::from_static(text)), wanted, "{text}");
        }
    }
}
