//! The headers that services exchange. An input is lines of `name: value`, or bytes for one value.

use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue};
use outrigger_core::{MAX_ATTEMPT, header};
use outrigger_retry::{deadline, guard};
use outrigger_telemetry::propagation::{Propagators, b3, baggage, traceparent, tracestate};

/// Lines with one of these names, whatever else stands in them.
fn map(input: &[u8], names: &[HeaderName]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for line in input.split(|&byte| byte == b'\n').take(64) {
        let cut = line.iter().position(|&byte| byte == b':').unwrap_or(0);
        let given = HeaderName::from_bytes(&line[..cut]).ok();
        // A line without a name that is known goes to one by its length.
        let name = given.filter(|name| names.contains(name));
        let name = name.unwrap_or_else(|| names[line.len() % names.len()].clone());
        let value = line.get(cut + 1..).unwrap_or_default().trim_ascii();
        if let Ok(value) = HeaderValue::from_bytes(value) {
            headers.append(name, value);
        }
    }
    headers
}

/// What is read of a trace is valid, is written as it was read, and never grows past its bounds.
pub fn trace(input: &[u8]) {
    if let Some(context) = traceparent::parse(input) {
        assert!(context.is_valid(), "{input:?}");
        let written = traceparent::format(context);
        assert_eq!(traceparent::parse(&written), Some(context), "{input:?}");
    }
    if let Some(read) = b3::parse_single(input) {
        if let Some(context) = read.trace {
            assert!(context.is_valid(), "{input:?}");
            let written = b3::single_value(context);
            let again = b3::parse_single(written.as_bytes()).expect("what is written can be read");
            let again = again.trace.expect("with its ids");
            assert_eq!((again.trace_id, again.span_id), (context.trace_id, context.span_id));
        }
    }
    let names = [
        header::TRACEPARENT,
        header::TRACESTATE,
        header::BAGGAGE,
        header::B3,
        HeaderName::from_static("x-b3-traceid"),
        HeaderName::from_static("x-b3-spanid"),
        HeaderName::from_static("x-b3-sampled"),
        HeaderName::from_static("x-b3-flags"),
    ];
    let headers = map(input, &names);
    if let Some(state) = tracestate::merge(&headers.get_all(header::TRACESTATE)) {
        let members = state.as_bytes().split(|&byte| byte == b',').count();
        assert!(state.len() <= 8_192 && members <= 32, "{} bytes, {members} members", state.len());
        let mut once = HeaderMap::new();
        once.insert(header::TRACESTATE, state.clone());
        assert_eq!(tracestate::merge(&once.get_all(header::TRACESTATE)), Some(state));
    }
    if let Some(list) = baggage::merge(&headers.get_all(header::BAGGAGE)) {
        let members = list.as_bytes().split(|&byte| byte == b',').count();
        assert!(list.len() <= 8_192 && members <= 180, "{} bytes, {members} members", list.len());
        let mut once = HeaderMap::new();
        once.insert(header::BAGGAGE, list.clone());
        assert_eq!(baggage::merge(&once.get_all(header::BAGGAGE)), Some(list.clone()));
        for attempt in [0, 1, MAX_ATTEMPT] {
            let told = baggage::with_attempt(Some(&list), attempt);
            let read = baggage::attempt(&told);
            assert_eq!(read, Some(attempt), "{told:?}");
        }
    }
    let propagators = Propagators::default();
    let found = propagators.extract(&headers);
    if found.parent.is_valid() {
        let mut onward = HeaderMap::new();
        propagators.inject(&mut onward, found.parent);
        propagators.inject_baggage(&mut onward, found.tracestate.as_ref(), found.baggage.as_ref());
        let again = propagators.extract(&onward);
        assert_eq!(again.parent.trace_id, found.parent.trace_id, "{headers:?}");
        assert_eq!(again.parent.span_id, found.parent.span_id, "{headers:?}");
        assert_eq!((again.tracestate, again.baggage), (found.tracestate, found.baggage));
        assert!(again.link.is_none(), "a second trace out of one: {headers:?}");
    } else {
        assert!(found.link.is_none() && found.tracestate.is_none(), "{headers:?}");
    }
}

/// Deadline and attempt can only tighten, and what is written is read back as no more.
pub fn call(input: &[u8]) {
    if let Ok(text) = std::str::from_utf8(input) {
        for left in
            [deadline::parse_ms(text), deadline::parse_grpc_timeout(text)].into_iter().flatten()
        {
            assert!(left <= deadline::MAX, "{text:?}");
            let written = deadline::to_ms(left).to_string();
            let read = deadline::parse_ms(&written).expect("what is written can be read");
            assert!(
                read <= left && left - read <= Duration::from_millis(1),
                "{text:?}: {left:?}, {read:?}"
            );
            let grpc = deadline::GrpcTimeout::new(left).to_string();
            let read = deadline::parse_grpc_timeout(&grpc);
            assert!(
                read.is_some_and(|read| read <= left),
                "{left:?} is written as {grpc:?}, read as {read:?}"
            );
        }
    }
    let names = [
        header::DEADLINE,
        header::GRPC_TIMEOUT,
        header::ENVOY_EXPECTED_TIMEOUT,
        header::ATTEMPT,
        header::ATTEMPTS,
        header::BAGGAGE,
        header::CALLER,
        header::GRPC_RETRY_PUSHBACK,
    ];
    let headers = map(input, &names);
    let left = deadline::read(&headers);
    assert!(left.is_none_or(|left| left <= deadline::MAX), "{headers:?}");
    let attempt = guard::read_attempt(&headers);
    assert!(attempt <= MAX_ATTEMPT, "{headers:?}");
    let _tries = guard::read_tries(&headers);
    // One more header never loosens what the others say.
    let mut more = headers.clone();
    more.append(header::DEADLINE, HeaderValue::from_static("250"));
    let tightened = deadline::read(&more).expect("250 ms can be read");
    assert!(tightened <= Duration::from_millis(250) && left.is_none_or(|left| tightened <= left));
    more.append(header::ATTEMPT, HeaderValue::from_static("3"));
    assert!(guard::read_attempt(&more) >= attempt, "{headers:?}");
    let lists = headers.get_all(header::BAGGAGE);
    let lists: Vec<&str> = lists.iter().filter_map(|value| value.to_str().ok()).collect();
    if let Some(mirrored) = guard::mirror(lists, 7) {
        let mut onward = HeaderMap::new();
        if let Ok(value) = HeaderValue::from_str(&mirrored) {
            onward.insert(header::BAGGAGE, value);
            assert_eq!(guard::read_attempt(&onward), 7, "{mirrored:?}");
        }
    }
}
