//! `tracestate`, checked and kept within bounds.

use http::HeaderValue;
use http::header::GetAll;

/// Most members of a list; a longer one is dropped whole, as the specification has it.
pub const MAX_MEMBERS: usize = 32;
/// Most bytes that are passed on.
pub const MAX_BYTES: usize = 512;
/// Members longer than this go first when there is not enough room.
const LARGE_MEMBER: usize = 128;

/// Reads all headers of that name and gives back what to pass on.
///
/// Shape: `None` when there is none, when any member breaks the grammar, and for more than 32
/// members. Members of more than 128 bytes, then members from the end, are left out until the rest
/// fits in 512 bytes. Order is kept; a key that occurs twice stays as it came.
///
/// Cost: nothing is allocated for one valid header within the bounds; otherwise one header.
/// Source: W3C Trace Context level 2, sections 3.3 and 4.3.
#[must_use]
pub fn merge(values: &GetAll<'_, HeaderValue>) -> Option<HeaderValue> {
    let mut members = 0_usize;
    let mut bytes = 0_usize;
    let mut headers = 0_usize;
    for value in values {
        headers += 1;
        for member in members_of(value) {
            check(member)?;
            members += 1;
            bytes += member.len() + 1;
        }
    }
    if members == 0 || members > MAX_MEMBERS {
        return None;
    }
    let all = values.iter().flat_map(members_of);
    if headers == 1 {
        let only = values.iter().next()?;
        // White space and empty members may make the header longer than what it says.
        if only.len() <= MAX_BYTES {
            return Some(only.clone());
        }
    }
    // One comma less than members.
    let crowded = bytes - 1 > MAX_BYTES;
    let mut joined = [0_u8; MAX_BYTES];
    let mut used = 0;
    for member in all {
        if crowded && member.len() > LARGE_MEMBER {
            continue;
        }
        let comma = usize::from(used > 0);
        let Some(room) = joined.get_mut(used..used + comma + member.len()) else { break };
        if comma == 1 {
            room[0] = b',';
        }
        room[comma..].copy_from_slice(member);
        used += room.len();
    }
    if used == 0 { None } else { HeaderValue::from_bytes(&joined[..used]).ok() }
}

/// The members of one header, without the white space around them; empty ones are allowed and
/// say nothing.
fn members_of(value: &HeaderValue) -> impl Iterator<Item = &[u8]> {
    value.as_bytes().split(|&b| b == b',').map(<[u8]>::trim_ascii).filter(|m| !m.is_empty())
}

/// `Some` for a member that keeps to the grammar.
fn check(member: &[u8]) -> Option<()> {
    let equals = member.iter().position(|&b| b == b'=')?;
    let (key, value) = (&member[..equals], &member[equals + 1..]);
    let valid_value = (1..=256).contains(&value.len())
        && value.iter().all(|b| matches!(b, b' '..=b'~') && !matches!(b, b',' | b'='));
    (is_key(key) && valid_value).then_some(())
}

fn is_key(key: &[u8]) -> bool {
    let mut parts = key.splitn(2, |&b| b == b'@');
    match (parts.next(), parts.next()) {
        (Some(simple), None) => is_key_part(simple, 256, true),
        (Some(tenant), Some(system)) => {
            is_key_part(tenant, 241, true) && is_key_part(system, 14, false)
        }
        _ => false,
    }
}

fn is_key_part(part: &[u8], most: usize, digit_first: bool) -> bool {
    let Some((&first, rest)) = part.split_first() else { return false };
    let starts = first.is_ascii_lowercase() || digit_first && first.is_ascii_digit();
    let follows = |b: &u8| {
        b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'_' | b'-' | b'*' | b'/')
    };
    starts && part.len() <= most && rest.iter().all(follows)
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

    fn numbered(count: usize) -> String {
        (0..count).map(|n| format!("k{n}=v{n}")).collect::<Vec<_>>().join(",")
    }

    #[test]
    fn a_valid_list_is_passed_on_as_it_came() {
        for list in
            ["foo=1", "foo=1,bar=2", "foo=1 \t , \t bar=2", "foo=1,", "rojo=00f067aa0ba902b7"]
        {
            assert_eq!(merged(&[list]).as_deref(), Some(list), "{list}");
        }
    }

    #[test]
    fn several_headers_are_one_list_in_order() {
        assert_eq!(merged(&["foo=1", "bar=2"]).as_deref(), Some("foo=1,bar=2"));
        assert_eq!(
            merged(&["foo=1,", "", "bar=2, rojo=1", "baz=3"]).as_deref(),
            Some("foo=1,bar=2,rojo=1,baz=3")
        );
    }

    #[test]
    fn a_key_that_occurs_twice_stays_as_it_came() {
        assert_eq!(merged(&["foo=1,foo=2"]).as_deref(), Some("foo=1,foo=2"));
    }

    #[test]
    fn one_member_that_breaks_the_grammar_drops_the_list() {
        for bad in [
            "foo =1",
            "FOO=1",
            "foo.bar=1",
            "foo@=1,bar=2",
            "@foo=1,bar=2",
            "foo@@bar=1,bar=2",
            "foo@bar@baz=1,bar=2",
            "foo=1=2",
            "foo,bar=3",
            "foo=,bar=3",
            "=1",
            "foo=bar=baz",
            "foo@1a=1",
            "fOo=1",
        ] {
            assert_eq!(merged(&[bad]), None, "{bad}");
        }
        let long = |key: String| merged(&[&format!("{key}=1")]).is_some();
        assert!(long("z".repeat(256)) && !long("z".repeat(257)), "a key has 256 bytes at most");
        let tenant = |t: usize, v: usize| long(format!("{}@{}", "t".repeat(t), "v".repeat(v)));
        assert!(tenant(241, 14) && !tenant(242, 14) && !tenant(241, 15), "tenant and system too");
        let value = |n: usize| merged(&[&format!("a={}", "v".repeat(n))]);
        assert!(value(256).is_some() && value(257).is_none(), "a value has 256 bytes at most");
    }

    #[test]
    fn thirty_two_members_pass_and_thirty_three_do_not() {
        assert_eq!(merged(&[&numbered(32)]), Some(numbered(32)));
        assert_eq!(merged(&[&numbered(33)]), None);
        assert_eq!(merged(&[&numbered(600)]), None, "600 members are dropped whole");
        assert_eq!(merged(&[&numbered(20), &numbered(20)]), None, "also spread over two headers");
    }

    #[test]
    fn what_does_not_fit_is_left_out_large_members_first() {
        let large = format!("large={}", "x".repeat(200));
        let small: Vec<_> = (0..30).map(|n| format!("k{n:02}={}", "y".repeat(11))).collect();
        let list = format!("{large},{}", small.join(","));
        let kept = merged(&[&list]).expect("something fits");
        assert!(kept.len() <= MAX_BYTES && !kept.contains("large"), "{kept}");
        assert_eq!(kept, small.join(","), "what fits without the large one all stays");

        let all_small: Vec<_> = (0..32).map(|n| format!("k{n:02}={}", "y".repeat(60))).collect();
        let kept = merged(&[&all_small.join(",")]).expect("something fits");
        assert!(kept.len() <= MAX_BYTES && all_small.join(",").starts_with(&kept), "{kept}");
    }

    #[test]
    fn no_text_makes_it_panic_or_grow() {
        let mut rng = fastrand::Rng::with_seed(1);
        for _ in 0..20_000 {
            let text: String = (0..rng.usize(..700))
                .map(|_| *rng.choice(b"ab=,@ _1zA").expect("some") as char)
                .collect();
            if let Some(kept) = merged(&[&text]) {
                assert!(kept.len() <= MAX_BYTES, "{text}");
            }
        }
    }
}
