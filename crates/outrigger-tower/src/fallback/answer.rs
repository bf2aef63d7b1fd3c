use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header as standard};
use outrigger_core::{Reason, header};

use crate::Elsewhere;

/// What is answered while the circuit is open.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum FallbackAnswer<B> {
    /// Always the same.
    Fixed(FixedAnswer),
    /// What another service answers.
    Service(Elsewhere<B>),
}

/// A whole answer that is known beforehand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FixedAnswer {
    status: StatusCode,
    body: Bytes,
    content_type: Option<HeaderValue>,
}

impl FixedAnswer {
    /// This status and body. What begins like a JSON object or array is said to be JSON, any other
    /// body plain text, and an empty one nothing.
    #[must_use]
    pub fn new(status: StatusCode, body: impl Into<Bytes>) -> Self {
        let body = body.into();
        let content_type = match body.trim_ascii_start().first() {
            None => None,
            Some(b'{' | b'[') => Some(HeaderValue::from_static("application/json")),
            Some(_) => Some(HeaderValue::from_static("text/plain; charset=utf-8")),
        };
        Self { status, body, content_type }
    }

    /// What the body is, where it is not what it looks like.
    #[must_use]
    pub fn with_content_type(mut self, content_type: HeaderValue) -> Self {
        self.content_type = Some(content_type);
        self
    }

    /// The answer; without its body to a HEAD.
    pub(super) fn response<B>(&self, head: bool, body: impl FnOnce(Bytes) -> B) -> Response<B> {
        let content = if head { Bytes::new() } else { self.body.clone() };
        let mut response = Response::new(body(content));
        *response.status_mut() = self.status;
        if let Some(content_type) = &self.content_type {
            response.headers_mut().insert(standard::CONTENT_TYPE, content_type.clone());
        }
        response.headers_mut().insert(standard::CONTENT_LENGTH, self.body.len().into());
        mark(&mut response);
        response
    }
}

/// Says that the answer is not that of the service that was called.
pub(super) fn mark<B>(response: &mut Response<B>) {
    let reason = HeaderValue::from_static(Reason::CircuitOpen.as_str());
    response.headers_mut().insert(header::REASON, reason);
}
