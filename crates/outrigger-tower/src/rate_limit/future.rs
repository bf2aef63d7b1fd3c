use http::{HeaderMap, HeaderValue, Response};
use outrigger_core::{BoxError, header};

use crate::admission::{Admission, AtHead};

/// The answer, or the refusal of an empty bucket.
pub type ResponseFuture<F> = Admission<F, Tell>;

/// The bucket's size and what is left in it, where the answer is to tell them.
#[derive(Clone, Copy, Debug)]
pub struct Tell(pub(crate) Option<(u32, u32)>);

impl Tell {
    #[inline]
    pub(crate) fn write(self, headers: &mut HeaderMap) {
        let Some((limit, remaining)) = self.0 else { return };
        headers.insert(header::RATELIMIT_LIMIT, HeaderValue::from(limit));
        headers.insert(header::RATELIMIT_REMAINING, HeaderValue::from(remaining));
    }
}

impl<B> AtHead<Response<B>> for Tell {
    type Response = Response<B>;

    fn at_head(self, result: Result<Response<B>, BoxError>) -> Result<Response<B>, BoxError> {
        let mut response = result?;
        self.write(response.headers_mut());
        Ok(response)
    }
}
