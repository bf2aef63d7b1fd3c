//! Another place that a request can be sent to, whatever its type.

use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::{Request, Response};
use http_body::{Body, Frame, SizeHint};
use outrigger_core::BoxError;
use pin_project_lite::pin_project;
use tower_service::Service;

/// Another place that a request can be sent to: the service of a fallback, the target of a mirror.
///
/// Shape: the request comes with its [`Context`](outrigger_core::Context) in the extensions, from
/// where a [`ContextLayer`](crate::ContextLayer) takes deadline, attempt and trace, and any other
/// layer all of it. A clone is another handle to the same place.
pub struct Elsewhere<B>(Arc<Sending<B>>);

type Sending<B> = dyn Fn(Request<B>) -> Answer + Send + Sync;

/// An answer on its way.
pub(crate) type Answer =
    Pin<Box<dyn Future<Output = Result<Response<ElsewhereBody>, BoxError>> + Send>>;

impl<B: Send + 'static> Elsewhere<B> {
    /// Sends requests to a service, each to a clone of it.
    ///
    /// Cost: a request costs two boxes, its answer's body one.
    pub fn new<S, RB>(service: S) -> Self
    where
        S: Service<Request<B>, Response = Response<RB>> + Clone + Send + Sync + 'static,
        S::Error: Into<BoxError>,
        S::Future: Send,
        RB: Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
    {
        Self(Arc::new(move |request| {
            let mut service = service.clone();
            Box::pin(async move {
                poll_fn(|cx| service.poll_ready(cx)).await.map_err(Into::into)?;
                let response = service.call(request).await.map_err(Into::into)?;
                Ok(response.map(|body| ElsewhereBody(Box::pin(OurError { body }))))
            })
        }))
    }

    pub(crate) fn send(&self, request: Request<B>) -> Answer {
        (self.0)(request)
    }
}

impl<B> Clone for Elsewhere<B> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<B> fmt::Debug for Elsewhere<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Elsewhere").finish_non_exhaustive()
    }
}

/// The body of an answer from elsewhere.
pub struct ElsewhereBody(Pin<Box<dyn Body<Data = Bytes, Error = BoxError> + Send>>);

impl Body for ElsewhereBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        self.0.as_mut().poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.0.size_hint()
    }
}

impl fmt::Debug for ElsewhereBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ElsewhereBody").field(&self.size_hint()).finish()
    }
}

pin_project! {
    /// A body whose errors are boxed.
    struct OurError<B> {
        #[pin]
        body: B,
    }
}

impl<B> Body for OurError<B>
where
    B: Body<Data = Bytes, Error: Into<BoxError>>,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let frame = ready!(self.project().body.poll_frame(cx));
        Poll::Ready(frame.map(|frame| frame.map_err(Into::into)))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
