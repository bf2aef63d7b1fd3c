//! The body of an answer.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use http_body_util::{BodyExt, Limited};
use outrigger_core::BoxError;
use pin_project_lite::pin_project;
use serde::de::DeserializeOwned;

use crate::Error;
use crate::stack::StackBody;

/// Most bytes that [`ResponseBody::bytes`] and its relatives read, 16 MiB.
pub const MAX_COLLECTED: usize = 16 * 1024 * 1024;

pin_project! {
    /// The body of an answer, as it comes.
    ///
    /// The request ends with it: what the request holds (its place on the endpoint, permits, its
    /// span) is given back when the body ends, breaks or is dropped. Read it or drop it.
    pub struct ResponseBody {
        #[pin]
        inner: StackBody,
    }
}

impl ResponseBody {
    pub(crate) const fn new(inner: StackBody) -> Self {
        Self { inner }
    }

    /// The whole body, at most [`MAX_COLLECTED`].
    ///
    /// # Errors
    /// [`Error`] when the body breaks off or is larger.
    ///
    /// # Cancel safety
    /// Dropped half-way, what was read is lost and the request ends.
    pub async fn bytes(self) -> Result<Bytes, Error> {
        let limited = Limited::new(self, MAX_COLLECTED);
        Ok(limited.collect().await.map_err(Error::new)?.to_bytes())
    }

    /// The whole body as text.
    ///
    /// # Errors
    /// As [`ResponseBody::bytes`], and for what is not UTF-8.
    ///
    /// # Cancel safety
    /// As [`ResponseBody::bytes`].
    pub async fn text(self) -> Result<String, Error> {
        String::from_utf8(self.bytes().await?.into()).map_err(Error::new)
    }

    /// The whole body, read as JSON.
    ///
    /// # Errors
    /// As [`ResponseBody::bytes`], and for what is not the JSON that was expected.
    ///
    /// # Cancel safety
    /// As [`ResponseBody::bytes`].
    pub async fn json<T: DeserializeOwned>(self) -> Result<T, Error> {
        serde_json::from_slice(&self.bytes().await?).map_err(Error::new)
    }
}

impl fmt::Debug for ResponseBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ResponseBody").field(&self.size_hint()).finish()
    }
}

impl HttpBody for ResponseBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        self.project().inner.poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
