use super::*;

const W3C: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

fn headers(pairs: &[(&str, &str)]) -> HeaderMap {
    let mut map = HeaderMap::new();
    for (name, value) in pairs {
        let name = http::HeaderName::from_bytes(name.as_bytes()).expect("a name");
        map.append(name, HeaderValue::from_str(value).expect("a value"));
    }
    map
}

fn extract(pairs: &[(&str, &str)]) -> Extracted {
    Propagators::default().extract(&headers(pairs))
}

#[test]
fn two_traceparents_are_none_and_their_tracestate_is_dropped() {
    let found = extract(&[("traceparent", W3C), ("traceparent", W3C), ("tracestate", "a=1")]);
    assert!(!found.parent.is_valid() && found.tracestate.is_none());
}

#[test]
fn a_broken_traceparent_drops_the_tracestate_and_keeps_the_baggage() {
    let found = extract(&[("traceparent", "00-0-0-0"), ("tracestate", "a=1"), ("baggage", "k=v")]);
    assert!(!found.parent.is_valid() && found.tracestate.is_none());
    assert_eq!(found.baggage.as_ref().map(|b| b.as_bytes()), Some(&b"k=v"[..]));
}

#[test]
fn a_broken_tracestate_leaves_the_traceparent_alone() {
    let found = extract(&[("traceparent", W3C), ("tracestate", "A=1")]);
    assert!(found.parent.is_valid() && found.tracestate.is_none());
}

#[test]
fn w3c_comes_first_and_another_trace_becomes_a_link() {
    let b3 = "463ac35c9f6413ad48485a3953bb6124-0020000000000001-0";
    let found = extract(&[("traceparent", W3C), ("b3", b3)]);
    assert_eq!(found.parent.span_id, 0xb7ad_6b71_6920_3331);
    assert_eq!(found.sampled, Some(true), "W3C decides");
    assert_eq!(found.link.map(|l| l.span_id), Some(0x0020_0000_0000_0001));
}

#[test]
fn the_same_span_in_both_forms_is_no_link() {
    let same = "0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-1";
    assert_eq!(extract(&[("traceparent", W3C), ("b3", same)]).link, None);
    let short = "8448eb211c80319c-b7ad6b7169203331-1";
    assert_eq!(extract(&[("traceparent", W3C), ("b3", short)]).link, None, "64-bit ids too");
}

#[test]
fn b3_alone_is_continued_and_a_lone_decision_is_obeyed() {
    let found =
        extract(&[("x-b3-traceid", "8448eb211c80319c"), ("x-b3-spanid", "b7ad6b7169203331")]);
    assert!(found.parent.is_valid());
    assert_eq!(found.sampled, None, "the decision is left to us");
    let found = extract(&[("b3", "0")]);
    assert!(!found.parent.is_valid());
    assert_eq!(found.sampled, Some(false));
}

#[test]
fn formats_that_are_not_read_say_nothing() {
    let w3c_only = Propagators::both(Formats { w3c: true, ..Formats::default() });
    let found = w3c_only.extract(&headers(&[("b3", "1"), ("baggage", "k=v")]));
    assert!(found.sampled.is_none() && found.baggage.is_none());
}

#[test]
fn what_is_injected_is_extracted_in_every_format() {
    let context = TraceContext { trace_id: 0xabc, span_id: 0xdef, flags: 1 };
    for formats in [
        Formats { w3c: true, ..Formats::default() },
        Formats { b3: true, ..Formats::default() },
        Formats { b3_multi: true, ..Formats::default() },
    ] {
        let both = Propagators::both(formats);
        let mut map = HeaderMap::new();
        both.inject(&mut map, context);
        assert_eq!(both.extract(&map).parent, context, "{formats:?}");
    }
}

#[test]
fn headers_of_a_span_that_is_not_the_caller_are_taken_off() {
    let mut map = headers(&[
        ("traceparent", W3C),
        ("b3", "463ac35c9f6413ad48485a3953bb6124-0020000000000001-0"),
        ("x-b3-traceid", "463ac35c9f6413ad48485a3953bb6124"),
        ("x-b3-spanid", "0020000000000001"),
        ("x-b3-flags", "1"),
    ]);
    let context = TraceContext { trace_id: 1, span_id: 2, flags: 0 };
    Propagators::default().inject(&mut map, context);
    assert_eq!(map.len(), 1);
    assert_eq!(Propagators::default().extract(&map).parent, context);
}

#[test]
fn the_applications_own_baggage_stays() {
    let mut map = headers(&[("baggage", "mine=1")]);
    let inherited = HeaderValue::from_static("theirs=1");
    Propagators::default().inject_baggage(&mut map, None, Some(&inherited));
    assert_eq!(map.get("baggage"), Some(&HeaderValue::from_static("mine=1")));
}

#[test]
fn an_invalid_context_writes_nothing() {
    let mut map = HeaderMap::new();
    Propagators::default().inject(&mut map, TraceContext::NONE);
    assert!(map.is_empty());
}
