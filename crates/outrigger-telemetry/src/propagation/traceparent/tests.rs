use proptest::prelude::*;

use super::*;

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const SPAN: &str = "b7ad6b7169203331";

fn read(text: &str) -> Option<TraceContext> {
    parse(text.as_bytes())
}

#[test]
fn the_specifications_example_is_read_and_written() {
    let text = format!("00-{TRACE}-{SPAN}-01");
    let context = read(&text).expect("the specification's own example");
    assert_eq!(context.trace_id, 0x0af7_6519_16cd_43dd_8448_eb21_1c80_319c);
    assert_eq!(context.span_id, 0xb7ad_6b71_6920_3331);
    assert!(context.is_sampled());
    assert_eq!(&super::format(context), text.as_bytes());
    assert_eq!(header_value(context), text.as_str());
}

#[test]
fn what_the_specification_refuses_is_refused() {
    for (why, text) in [
        ("empty", String::new()),
        ("version ff", format!("ff-{TRACE}-{SPAN}-01")),
        ("version with a letter", format!("0g-{TRACE}-{SPAN}-01")),
        ("version of one digit", format!("0-{TRACE}-{SPAN}-01")),
        ("version of three digits", format!("000-{TRACE}-{SPAN}-01")),
        ("version 00 with more behind it", format!("00-{TRACE}-{SPAN}-01-extra")),
        ("version 00 with a bare dash behind it", format!("00-{TRACE}-{SPAN}-01-")),
        ("version 00 with a dot behind it", format!("00-{TRACE}-{SPAN}-01.")),
        ("later version without a dash", format!("cc-{TRACE}-{SPAN}-01.what-the-future")),
        ("later version too short", format!("cc-{TRACE}-{SPAN}-0")),
        ("trace id of zero", format!("00-{}-{SPAN}-01", "0".repeat(32))),
        ("span id of zero", format!("00-{TRACE}-{}-01", "0".repeat(16))),
        ("upper case trace id", format!("00-{}-{SPAN}-01", TRACE.to_uppercase())),
        ("upper case span id", format!("00-{TRACE}-{}-01", SPAN.to_uppercase())),
        ("upper case flags", format!("00-{TRACE}-{SPAN}-0A")),
        ("dot in trace id", format!("00-.{}-{SPAN}-01", &TRACE[1..])),
        ("dot in span id", format!("00-{TRACE}-.{}-01", &SPAN[1..])),
        ("dot in flags", format!("00-{TRACE}-{SPAN}-.1")),
        ("trace id too long", format!("00-{TRACE}0-{SPAN}-01")),
        ("trace id too short", format!("00-{}-{SPAN}-01", &TRACE[1..])),
        ("span id too long", format!("00-{TRACE}-{SPAN}0-01")),
        ("span id too short", format!("00-{TRACE}-{}-01", &SPAN[1..])),
        ("flags too long", format!("00-{TRACE}-{SPAN}-001")),
        ("flags too short", format!("00-{TRACE}-{SPAN}-1")),
        ("underscores", format!("00_{TRACE}_{SPAN}_01")),
    ] {
        assert_eq!(read(&text), None, "{why}: {text}");
    }
}

#[test]
fn a_later_version_is_read_as_far_as_ours_goes() {
    for tail in ["", "-", "-what-the-future-will-be-like"] {
        let context = read(&format!("cc-{TRACE}-{SPAN}-01{tail}")).expect(tail);
        assert!(context.is_sampled(), "{tail}");
    }
    let other_flags = read(&format!("01-{TRACE}-{SPAN}-fe")).expect("flags of the future");
    assert_eq!(other_flags.flags, 0, "only the sampled bit keeps its meaning");
}

#[test]
fn white_space_around_the_value_is_forgiven() {
    for (before, behind) in [(" ", ""), ("\t", ""), ("", " "), ("\t ", " \t")] {
        assert!(read(&format!("{before}00-{TRACE}-{SPAN}-01{behind}")).is_some());
    }
}

#[test]
fn unknown_flags_are_sent_as_zero_and_the_random_flag_is_kept() {
    let context = read(&format!("00-{TRACE}-{SPAN}-ff")).expect("all flags set");
    assert!(super::format(context).ends_with(b"-03"));
    let random = read(&format!("00-{TRACE}-{SPAN}-02")).expect("random only");
    assert!(!random.is_sampled() && super::format(random).ends_with(b"-02"));
}

proptest! {
    #[test]
    fn what_is_written_is_read(trace_id in 1_u128.., span_id in 1_u64.., flags in 0_u8..4) {
        let context = TraceContext { trace_id, span_id, flags };
        prop_assert_eq!(parse(&super::format(context)), Some(context));
    }

    #[test]
    fn whatever_is_read_is_written_as_a_valid_header(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
        if let Some(context) = parse(&bytes) {
            prop_assert_eq!(parse(&super::format(context)), Some(context));
        }
    }

    #[test]
    fn a_changed_byte_never_panics(at in 0_usize..55, byte in any::<u8>()) {
        let mut text = super::format(TraceContext { trace_id: 7, span_id: 9, flags: 1 });
        text[at] = byte;
        let _ = parse(&text);
    }
}
