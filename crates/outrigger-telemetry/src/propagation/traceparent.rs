//! `traceparent`, read and written by hand.

use std::cell::RefCell;

use bytes::BytesMut;
use http::HeaderValue;
use outrigger_core::TraceContext;

/// Bytes of a version 00 header: `00-` trace id `-` span id `-` flags.
pub const LEN: usize = 55;

/// The flags that level 2 knows: sampled and random; others are sent as zero.
const KNOWN_FLAGS: u8 = 0b11;

/// Reads a header's value.
///
/// Shape: white space around it is forgiven, upper case is not. A version above 00 may be longer
/// and is read as far as version 00 goes. `None` for version `ff`, for an id of zero, and for
/// anything that is not the form: the caller then starts a new trace.
///
/// Cost: one pass over 55 bytes; allocates nothing. Source: W3C Trace Context level 2, section
/// 3.2, and the specification's own validation cases.
#[must_use]
pub fn parse(value: &[u8]) -> Option<TraceContext> {
    let value = value.trim_ascii();
    let head: &[u8; LEN] = value.first_chunk()?;
    let version = hex_u64(&head[..2])?;
    match version {
        0xff => return None,
        0 if value.len() != LEN => return None,
        _ if value.len() > LEN && value[LEN] != b'-' => return None,
        _ => {}
    }
    if head[2] != b'-' || head[35] != b'-' || head[52] != b'-' {
        return None;
    }
    let high = hex_u64(&head[3..19])?;
    let low = hex_u64(&head[19..35])?;
    let span_id = hex_u64(&head[36..52])?;
    // Two digits always fit.
    let flags = hex_u64(&head[53..55])? as u8 & KNOWN_FLAGS;
    let context = TraceContext {
        trace_id: u128::from(high) << 64 | u128::from(low),
        span_id,
        // A later version may give bit 1 another meaning; the sampled bit is promised to stay.
        flags: if version == 0 { flags } else { flags & 1 },
    };
    context.is_valid().then_some(context)
}

/// Writes version 00 into a buffer.
///
/// Shape: `context` is valid; with an id of zero the text says so too, and no reader takes it.
/// Cost: allocates nothing.
#[must_use]
pub fn format(context: TraceContext) -> [u8; LEN] {
    let mut text = *b"00-00000000000000000000000000000000-0000000000000000-00";
    put_hex(&mut text[3..19], (context.trace_id >> 64) as u64);
    put_hex(&mut text[19..35], context.trace_id as u64);
    put_hex(&mut text[36..52], context.span_id);
    put_hex(&mut text[53..55], u64::from(context.flags & KNOWN_FLAGS));
    text
}

/// The header's value.
///
/// Cost: its storage is cut from a page of 4 KiB that the thread keeps; an allocation happens once
/// in about 70 headers, and not even then when the earlier ones are gone.
#[must_use]
pub fn header_value(context: TraceContext) -> HeaderValue {
    ascii_header(&format(context))
}

thread_local! {
    /// Where the text of short headers is cut from.
    static PAGE: RefCell<BytesMut> = RefCell::new(BytesMut::new());
}

/// A header's value of text that is visible ASCII by construction.
pub(super) fn ascii_header(text: &[u8]) -> HeaderValue {
    // Text that is longer would only pin a page for itself.
    if text.len() > 64 {
        return HeaderValue::from_bytes(text).unwrap_or_else(|_| HeaderValue::from_static(""));
    }
    let cut = PAGE.with_borrow_mut(|page| {
        if page.capacity() < text.len() {
            // Takes the old page back when no header of it is left.
            page.reserve(PAGE_SIZE);
        }
        page.extend_from_slice(text);
        page.split().freeze()
    });
    HeaderValue::from_maybe_shared(cut).unwrap_or_else(|_| HeaderValue::from_static(""))
}

const PAGE_SIZE: usize = 4096;

const BAD: u8 = 0xff;

/// The value of each lower-case hex digit, [`BAD`] for anything else.
const DIGITS: [u8; 256] = {
    let mut table = [BAD; 256];
    let mut value = 0;
    while value < 16 {
        table[b"0123456789abcdef"[value] as usize] = value as u8;
        value += 1;
    }
    table
};

/// Reads at most 16 lower-case hex digits.
pub(super) fn hex_u64(digits: &[u8]) -> Option<u64> {
    debug_assert!(digits.len() <= 16, "more digits than a u64 has");
    let mut value = 0_u64;
    let mut seen = 0_u8;
    for &digit in digits {
        let nibble = DIGITS[usize::from(digit)];
        // One branch at the end instead of one a digit: `BAD` sets bits no nibble has.
        seen |= nibble;
        value = value << 4 | u64::from(nibble & 0xf);
    }
    (seen < 16).then_some(value)
}

/// Writes the low digits of a number in lower-case hex, filling the buffer.
pub(super) fn put_hex(into: &mut [u8], mut value: u64) {
    for byte in into.iter_mut().rev() {
        *byte = b"0123456789abcdef"[(value & 0xf) as usize];
        value >>= 4;
    }
}

#[cfg(test)]
mod tests;
