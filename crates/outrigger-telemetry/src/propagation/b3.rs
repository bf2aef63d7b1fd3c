//! B3, single and multi, read and written by hand.

use http::{HeaderMap, HeaderName, HeaderValue};
use outrigger_core::TraceContext;
use outrigger_core::header::B3;

use super::traceparent::{ascii_header, hex_u64, put_hex};

/// The trace's id, in B3's form of several headers.
pub const TRACE_ID: HeaderName = HeaderName::from_static("x-b3-traceid");
/// The caller's span.
pub const SPAN_ID: HeaderName = HeaderName::from_static("x-b3-spanid");
/// The span above the caller's; written by nobody here, removed when we write.
pub const PARENT_SPAN_ID: HeaderName = HeaderName::from_static("x-b3-parentspanid");
/// The decision: `1`, `0`, and `true`, `false` of old tracers.
pub const SAMPLED: HeaderName = HeaderName::from_static("x-b3-sampled");
/// `1` asks for a trace whatever the sampler says.
pub const FLAGS: HeaderName = HeaderName::from_static("x-b3-flags");

/// What B3 headers say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct B3Context {
    /// The ids, when both were sent; the sampled flag follows `sampled`.
    pub trace: Option<TraceContext>,
    /// The decision; `None` leaves it to whoever reads, which is us.
    pub sampled: Option<bool>,
}

/// Reads the single header, and the several ones where it is missing or broken.
///
/// Shape: ids are lower-case hex; a trace id has 16 or 32 digits. `None` when there is nothing
/// that can be read. A lone decision (`b3: 0`) comes without ids.
/// Cost: allocates nothing. Source: openzipkin/b3-propagation.
#[must_use]
pub fn read(headers: &HeaderMap) -> Option<B3Context> {
    headers.get(B3).and_then(|v| parse_single(v.as_bytes())).or_else(|| read_multi(headers))
}

/// Reads the single header's value: `{trace id}-{span id}[-{decision}[-{parent}]]`, or a decision.
#[must_use]
pub fn parse_single(value: &[u8]) -> Option<B3Context> {
    let value = value.trim_ascii();
    if value.len() <= 1 {
        return Some(B3Context { trace: None, sampled: Some(decision(value)?) });
    }
    let mut parts = value.split(|&b| b == b'-');
    let trace_id = trace_id(parts.next()?)?;
    let span_id = span_id(parts.next()?)?;
    let sampled = match parts.next() {
        Some(word) => Some(decision(word)?),
        None => None,
    };
    if let Some(parent) = parts.next() {
        // Its value does not matter to us; a broken one says that the header is not B3.
        span_id_digits(parent)?;
    }
    parts.next().is_none().then(|| B3Context::new(trace_id, span_id, sampled))
}

pub(super) fn read_multi(headers: &HeaderMap) -> Option<B3Context> {
    let text = |name: HeaderName| headers.get(name).map(|v| v.as_bytes().trim_ascii());
    let debug = text(FLAGS) == Some(b"1");
    let sampled = match text(SAMPLED) {
        _ if debug => Some(true),
        Some(b"1" | b"true") => Some(true),
        Some(b"0" | b"false") => Some(false),
        _ => None,
    };
    let ids = text(TRACE_ID).and_then(trace_id).zip(text(SPAN_ID).and_then(span_id));
    match ids {
        Some((trace_id, span_id)) => Some(B3Context::new(trace_id, span_id, sampled)),
        None => sampled.map(|sampled| B3Context { trace: None, sampled: Some(sampled) }),
    }
}

impl B3Context {
    fn new(trace_id: u128, span_id: u64, sampled: Option<bool>) -> Self {
        let flags = u8::from(sampled == Some(true));
        Self { trace: Some(TraceContext { trace_id, span_id, flags }), sampled }
    }
}

/// The single header's value.
///
/// Cost: one allocation, which is the header's own storage.
#[must_use]
pub fn single_value(context: TraceContext) -> HeaderValue {
    let mut text = *b"00000000000000000000000000000000-0000000000000000-0";
    put_hex(&mut text[..16], (context.trace_id >> 64) as u64);
    put_hex(&mut text[16..32], context.trace_id as u64);
    put_hex(&mut text[33..49], context.span_id);
    text[50] = b'0' + u8::from(context.is_sampled());
    ascii_header(&text)
}

/// Writes the several headers, and removes what else of B3 came with the request.
pub fn write_multi(headers: &mut HeaderMap, context: TraceContext) {
    let mut trace = [0; 32];
    put_hex(&mut trace[..16], (context.trace_id >> 64) as u64);
    put_hex(&mut trace[16..], context.trace_id as u64);
    let mut span = [0; 16];
    put_hex(&mut span, context.span_id);
    headers.insert(TRACE_ID, ascii_header(&trace));
    headers.insert(SPAN_ID, ascii_header(&span));
    let sampled = if context.is_sampled() { "1" } else { "0" };
    headers.insert(SAMPLED, HeaderValue::from_static(sampled));
    headers.remove(PARENT_SPAN_ID);
    headers.remove(FLAGS);
}

/// Takes the several headers off.
pub(super) fn remove_multi(headers: &mut HeaderMap) {
    for name in [TRACE_ID, SPAN_ID, PARENT_SPAN_ID, SAMPLED, FLAGS] {
        headers.remove(name);
    }
}

fn decision(word: &[u8]) -> Option<bool> {
    match word {
        b"1" | b"d" => Some(true),
        b"0" => Some(false),
        _ => None,
    }
}

fn trace_id(digits: &[u8]) -> Option<u128> {
    let id = match digits.len() {
        16 => u128::from(hex_u64(digits)?),
        32 => u128::from(hex_u64(&digits[..16])?) << 64 | u128::from(hex_u64(&digits[16..])?),
        _ => return None,
    };
    (id != 0).then_some(id)
}

fn span_id(digits: &[u8]) -> Option<u64> {
    span_id_digits(digits).filter(|&id| id != 0)
}

fn span_id_digits(digits: &[u8]) -> Option<u64> {
    if digits.len() == 16 { hex_u64(digits) } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: &str = "80f198ee56343ba864fe8b2a57d3eff7";
    const SHORT: &str = "64fe8b2a57d3eff7";
    const SPAN: &str = "e457b5a2e4d86bd1";

    fn single(text: &str) -> Option<B3Context> {
        parse_single(text.as_bytes())
    }

    fn multi(pairs: &[(HeaderName, &str)]) -> Option<B3Context> {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.insert(name, HeaderValue::from_str(value).expect("ASCII"));
        }
        read(&headers)
    }

    #[test]
    fn the_published_examples_are_read() {
        let whole = single(&format!("{LONG}-{SPAN}-1-05e3ac9a4f6e3b90")).expect("valid");
        let trace = whole.trace.expect("ids");
        assert_eq!(trace.trace_id, 0x80f1_98ee_5634_3ba8_64fe_8b2a_57d3_eff7);
        assert_eq!(trace.span_id, 0xe457_b5a2_e4d8_6bd1);
        assert_eq!((whole.sampled, trace.is_sampled()), (Some(true), true));

        let deferred = single(&format!("{SHORT}-{SPAN}")).expect("valid");
        assert_eq!(deferred.sampled, None, "the decision is ours");
        assert_eq!(deferred.trace.map(|t| t.trace_id), Some(0x64fe_8b2a_57d3_eff7));

        assert_eq!(single(&format!("{LONG}-{SPAN}-d")).and_then(|b| b.sampled), Some(true));
        assert_eq!(single(&format!("{LONG}-{SPAN}-0")).and_then(|b| b.sampled), Some(false));
        assert_eq!(single("0"), Some(B3Context { trace: None, sampled: Some(false) }));
        assert_eq!(single("d").and_then(|b| b.sampled), Some(true));
    }

    #[test]
    fn what_is_not_b3_is_refused() {
        let zero = "0".repeat(32);
        for bad in [
            String::new(),
            "2".into(),
            "x".into(),
            "b3".into(),
            LONG.into(),
            format!("{LONG}-"),
            format!("{LONG}-{SPAN}-"),
            format!("{LONG}-{SPAN}-2"),
            format!("{LONG}-{SPAN}-true"),
            format!("{LONG}-{SPAN}-1-"),
            format!("{LONG}-{SPAN}-1-xyz"),
            format!("{LONG}-{SPAN}-1-{SPAN}-1"),
            format!("{zero}-{SPAN}-1"),
            format!("{LONG}-0000000000000000-1"),
            format!("{}-{SPAN}-1", LONG.to_uppercase()),
            format!("{}-{SPAN}-1", &LONG[1..]),
            format!("{LONG}-{}-1", &SPAN[1..]),
        ] {
            assert_eq!(single(&bad), None, "{bad}");
        }
    }

    #[test]
    fn several_headers_say_the_same_as_one() {
        let one = single(&format!("{LONG}-{SPAN}-1"));
        assert_eq!(multi(&[(TRACE_ID, LONG), (SPAN_ID, SPAN), (SAMPLED, "1")]), one);
        assert_eq!(multi(&[(TRACE_ID, LONG), (SPAN_ID, SPAN), (SAMPLED, "true")]), one);
        assert_eq!(multi(&[(TRACE_ID, LONG), (SPAN_ID, SPAN), (FLAGS, "1")]), one);
        assert_eq!(multi(&[(SAMPLED, "0")]), single("0"));
        assert_eq!(multi(&[(TRACE_ID, LONG)]), None, "half a context is none");
        assert_eq!(multi(&[]), None);
    }

    #[test]
    fn the_single_header_wins_unless_it_is_broken() {
        let other = (TRACE_ID, "463ac35c9f6413ad48485a3953bb6124");
        let good = format!("{LONG}-{SPAN}-1");
        let both = multi(&[(B3, &good), other.clone(), (SPAN_ID, SPAN), (SAMPLED, "0")]);
        assert_eq!(both, single(&good));
        let broken = multi(&[(B3, "nonsense"), other, (SPAN_ID, SPAN)]);
        assert_eq!(
            broken.and_then(|b| b.trace).map(|t| t.trace_id),
            Some(0x463a_c35c_9f64_13ad_4848_5a39_53bb_6124)
        );
    }

    #[test]
    fn what_is_written_is_read() {
        let mut rng = fastrand::Rng::with_seed(7);
        for _ in 0..1000 {
            let context =
                TraceContext { trace_id: rng.u128(1..), span_id: rng.u64(1..), flags: rng.u8(..2) };
            let value = single_value(context);
            assert_eq!(parse_single(value.as_bytes()).and_then(|b| b.trace), Some(context));
            let mut headers = HeaderMap::new();
            headers.insert(PARENT_SPAN_ID, HeaderValue::from_static(SPAN));
            headers.insert(FLAGS, HeaderValue::from_static("1"));
            write_multi(&mut headers, context);
            assert_eq!(read(&headers).and_then(|b| b.trace), Some(context));
            assert_eq!(headers.len(), 3, "what came with the request is gone");
        }
    }
}
