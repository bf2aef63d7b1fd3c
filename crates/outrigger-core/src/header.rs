//! The names of the headers that services exchange; `docs/contract.md` tells other languages.

use http::{HeaderMap, HeaderName};

/// Who calls: the name of the calling service.
pub const CALLER: HeaderName = HeaderName::from_static("x-outrigger-caller");
/// Milliseconds left before the caller stops waiting.
pub const DEADLINE: HeaderName = HeaderName::from_static("x-outrigger-deadline-ms");
/// Retries made for this request so far, 0 to 99.
pub const ATTEMPT: HeaderName = HeaderName::from_static("x-outrigger-attempt");
/// On an answer: how many tries were made below, when more than one.
pub const ATTEMPTS: HeaderName = HeaderName::from_static("x-outrigger-attempts");
/// On an answer that is ours: why.
pub const REASON: HeaderName = HeaderName::from_static("x-outrigger-reason");
/// The baggage key that mirrors [`ATTEMPT`].
pub const ATTEMPT_BAGGAGE_KEY: &str = "outrigger.attempt";

/// W3C trace context.
pub const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
/// W3C trace context, the vendors' part.
pub const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");
/// W3C baggage.
pub const BAGGAGE: HeaderName = HeaderName::from_static("baggage");
/// B3 in one header.
pub const B3: HeaderName = HeaderName::from_static("b3");

/// gRPC's deadline.
pub const GRPC_TIMEOUT: HeaderName = HeaderName::from_static("grpc-timeout");
/// Envoy's deadline, in milliseconds.
pub const ENVOY_EXPECTED_TIMEOUT: HeaderName =
    HeaderName::from_static("x-envoy-expected-rq-timeout-ms");
/// gRPC's verdict.
pub const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");
/// gRPC's verdict in words.
pub const GRPC_MESSAGE: HeaderName = HeaderName::from_static("grpc-message");
/// gRPC's wish about retries, in milliseconds; negative means "do not".
pub const GRPC_RETRY_PUSHBACK: HeaderName = HeaderName::from_static("grpc-retry-pushback-ms");

/// Requests allowed in the window.
pub const RATELIMIT_LIMIT: HeaderName = HeaderName::from_static("ratelimit-limit");
/// Requests left.
pub const RATELIMIT_REMAINING: HeaderName = HeaderName::from_static("ratelimit-remaining");
/// Seconds until there are more.
pub const RATELIMIT_RESET: HeaderName = HeaderName::from_static("ratelimit-reset");

/// Whether a request or an answer is gRPC's: its content type is `application/grpc`, alone or with
/// `+proto` and the like.
///
/// gRPC-Web is HTTP, and ends with its body: `application/grpc-web` is not meant.
#[must_use]
pub fn is_grpc(headers: &HeaderMap) -> bool {
    let kind = headers.get(http::header::CONTENT_TYPE).map(http::HeaderValue::as_bytes);
    let rest = kind.and_then(|kind| kind.strip_prefix(b"application/grpc"));
    rest.is_some_and(|rest| matches!(rest, [] | [b'+' | b';' | b' ', ..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grpc_is_told_by_its_content_type_and_grpc_web_is_none() {
        for (kind, wanted) in [
            ("application/grpc", true),
            ("application/grpc+proto", true),
            ("application/grpc; charset=utf-8", true),
            ("application/grpc-web", false),
            ("application/grpc-web+proto", false),
            ("application/json", false),
        ] {
            let value = http::HeaderValue::from_static(kind);
            let headers = HeaderMap::from_iter([(http::header::CONTENT_TYPE, value)]);
            assert_eq!(is_grpc(&headers), wanted, "{kind}");
        }
        assert!(!is_grpc(&HeaderMap::new()));
    }
}
