use std::time::Duration;

use http::{HeaderValue, Response};
use outrigger_core::{BoxError, header};

use crate::admission::{Admission, AtHead};

/// The answer, or the refusal of an empty bucket.
pub type ResponseFuture<F> = Admission<F, Option<Tightest>>;

/// The limit that is nearest to its end: what the answer's headers tell.
#[derive(Clone, Copy, Debug)]
pub struct Tightest {
    pub(super) limit: u32,
    pub(super) remaining: u32,
    /// Until there is another token; zero while there is one.
    pub(super) reset: Duration,
}

impl<B> AtHead<Response<B>> for Option<Tightest> {
    type Response = Response<B>;

    fn at_head(self, result: Result<Response<B>, BoxError>) -> Result<Response<B>, BoxError> {
        let mut response = result?;
        if let Some(Tightest { limit, remaining, reset }) = self {
            let headers = response.headers_mut();
            // Whole seconds, rounded up: whoever waits as told is admitted.
            let reset = reset.as_secs() + u64::from(reset.subsec_nanos() > 0);
            headers.insert(header::RATELIMIT_LIMIT, HeaderValue::from(limit));
            headers.insert(header::RATELIMIT_REMAINING, HeaderValue::from(remaining));
            headers.insert(header::RATELIMIT_RESET, HeaderValue::from(reset));
        }
        Ok(response)
    }
}
