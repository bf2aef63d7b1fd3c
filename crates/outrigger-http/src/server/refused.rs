//! Why a request is refused before any rule sees it, and the answer to it.

use http::header::CONNECTION;
use http::{HeaderValue, Response, StatusCode};
use outrigger_core::{Reason, Refusal};

/// Why a request is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Refused {
    status: u16,
    /// For the log; the caller is told the status and the reason only.
    pub(crate) why: &'static str,
}

impl Refused {
    pub(crate) const BAD_LINE_END: Self = Self::bad("a line that does not end in CR LF");
    pub(crate) const BAD_REQUEST_LINE: Self = Self::bad("a request line that is not three words");
    pub(crate) const BAD_VERSION: Self = Self::bad("a version other than HTTP/1.0 and HTTP/1.1");
    pub(crate) const BAD_TARGET: Self = Self::bad("a target that is none");
    pub(crate) const BAD_HEADER: Self = Self::bad("a header line without a clean name");
    pub(crate) const SEVERAL_LENGTHS: Self = Self::bad("more than one Content-Length");
    pub(crate) const BAD_LENGTH: Self = Self::bad("a Content-Length that is no number");
    pub(crate) const BAD_CODING: Self = Self::bad("a Transfer-Encoding that is not one `chunked`");
    pub(crate) const TWO_FRAMINGS: Self = Self::bad("a length where none may be");
    pub(crate) const BAD_CHUNK: Self = Self::bad("a chunk that is none");
    pub(crate) const BAD_TRAILER: Self = Self::bad("a trailer that may only be a header");
    pub(crate) const BAD_HOST: Self = Self::bad("not exactly one valid host");
    pub(crate) const NO_NORMAL_PATH: Self = Self::bad("a path that two readers could read as two");
    pub(crate) const TWO_HOSTS: Self = Self::bad("a Host that is not the authority");
    pub(crate) const TWIN: Self = Self::bad("a framing header spelt with an underscore");
    pub(crate) const HEAD_TOO_LARGE: Self = Self { status: 431, why: "a head over the bounds" };
    pub(crate) const URI_TOO_LONG: Self = Self { status: 414, why: "a target over the bounds" };

    const fn bad(why: &'static str) -> Self {
        Self { status: 400, why }
    }

    /// The answer; for gRPC its own form of it.
    #[cold]
    pub(crate) fn answer(self, is_http2: bool, is_grpc: bool) -> Response<()> {
        tracing::debug!(why = self.why, status = self.status, "refused");
        let (mut head, ()) = Response::new(()).into_parts();
        Refusal::new(Reason::BadRequest).write_head(&mut head, is_grpc);
        if !is_grpc {
            head.status = StatusCode::from_u16(self.status).unwrap_or(head.status);
            head.headers.remove(http::header::CONTENT_TYPE);
        }
        if !is_http2 {
            head.headers.insert(CONNECTION, HeaderValue::from_static("close"));
        }
        Response::from_parts(head, ())
    }
}
