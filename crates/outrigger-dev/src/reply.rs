//! Answers in Consul's form: JSON with the headers of a query, or a refusal in plain text.

use bytes::Bytes;
use http::header::{ALLOW, CONTENT_TYPE, HeaderName, HeaderValue, LOCATION};
use http::{HeaderMap, Response, StatusCode};
use http_body_util::Full;
use serde::Serialize;

use crate::acl::Denied;
use crate::decode::DecodeError;
use crate::filter::FilterError;

/// An answer before it is on the wire.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

/// Everything that ends a request without its answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refusal {
    #[error("{0}")]
    Bad(String),
    #[error("{0}")]
    NotFound(String),
    #[error("{0}")]
    TooLarge(String),
    /// Consul answers many mistakes of the asker with 500, and clients rely on it.
    #[error("{0}")]
    Server(String),
    #[error("{0}")]
    Unauthorized(String),
    #[error(transparent)]
    Denied(#[from] Denied),
    #[error("method {method} not allowed")]
    Method { method: String, allowed: &'static [&'static str] },
}

impl From<FilterError> for Refusal {
    fn from(error: FilterError) -> Self {
        Self::Server(error.to_string())
    }
}

impl From<DecodeError> for Refusal {
    fn from(error: DecodeError) -> Self {
        Self::Bad(format!("Request decode failed: {}", error.0))
    }
}

impl Refusal {
    pub(crate) fn bad(text: impl Into<String>) -> Self {
        Self::Bad(text.into())
    }

    pub(crate) fn server(text: impl Into<String>) -> Self {
        Self::Server(text.into())
    }

    fn status(&self) -> StatusCode {
        match self {
            Self::Bad(_) => StatusCode::BAD_REQUEST,
            Self::NotFound(_) => StatusCode::NOT_FOUND,
            Self::TooLarge(_) => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Server(_) => StatusCode::INTERNAL_SERVER_ERROR,
            Self::Unauthorized(_) => StatusCode::UNAUTHORIZED,
            Self::Denied(_) => StatusCode::FORBIDDEN,
            Self::Method { .. } => StatusCode::METHOD_NOT_ALLOWED,
        }
    }
}

impl From<Refusal> for Reply {
    fn from(refusal: Refusal) -> Self {
        let mut reply = Self::text(refusal.status(), refusal.to_string());
        if let Refusal::Method { allowed, .. } = refusal {
            reply.set_text(ALLOW, &allowed_methods(allowed));
        }
        reply
    }
}

/// The value of an `Allow` header.
pub(crate) fn allowed_methods(allowed: &[&str]) -> String {
    std::iter::once("OPTIONS").chain(allowed.iter().copied()).collect::<Vec<_>>().join(",")
}

impl Reply {
    pub(crate) fn empty(status: StatusCode) -> Self {
        Self { status, headers: HeaderMap::new(), body: Bytes::new() }
    }

    pub(crate) fn ok() -> Self {
        Self::empty(StatusCode::OK)
    }

    pub(crate) fn text(status: StatusCode, text: impl Into<String>) -> Self {
        let mut reply = Self::empty(status);
        reply.set(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
        reply.body = Bytes::from(text.into());
        reply
    }

    pub(crate) fn json(value: &impl Serialize) -> Self {
        let mut reply = Self::ok();
        reply.set(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        // Only maps with keys that are no strings could fail, and there are none.
        reply.body = Bytes::from(serde_json::to_vec(value).unwrap_or_default());
        reply
    }

    pub(crate) fn redirect(to: &str) -> Self {
        let mut reply = Self::empty(StatusCode::TEMPORARY_REDIRECT);
        reply.set_text(LOCATION, to);
        reply
    }

    /// A word that is meant for programs, without a character set, as Consul sends it.
    pub(crate) fn word(status: StatusCode, word: &str) -> Self {
        let mut reply = Self::text(status, word);
        reply.set(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
        reply
    }

    pub(crate) fn with_status(mut self, status: StatusCode) -> Self {
        self.status = status;
        self
    }

    pub(crate) fn set(&mut self, name: HeaderName, value: HeaderValue) {
        self.headers.insert(name, value);
    }

    /// Sets a header whose value may hold anything; what HTTP does not allow is left out.
    pub(crate) fn set_text(&mut self, name: HeaderName, value: &str) {
        let clean: String = value.chars().filter(|c| !c.is_control()).collect();
        if let Ok(value) = HeaderValue::from_bytes(clean.as_bytes()) {
            self.headers.insert(name, value);
        }
    }

    pub(crate) fn into_response(self) -> Response<Full<Bytes>> {
        let mut response = Response::new(Full::new(self.body));
        *response.status_mut() = self.status;
        *response.headers_mut() = self.headers;
        response
    }
}
