//! The body and the future that a span lives in.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Buf;
use http::Response;
use http_body::{Body, Frame, SizeHint};
use outrigger_core::BoxError;

use crate::server_trace::ServerEnd;
use crate::span::LiveSpan;

/// What ends with a response's body.
#[derive(Debug, Default)]
pub(crate) struct Ending {
    pub(crate) span: Option<Box<LiveSpan>>,
    pub(crate) server: Option<ServerEnd>,
    bytes: u64,
}

impl Ending {
    pub(crate) const fn new(span: Option<Box<LiveSpan>>, server: Option<ServerEnd>) -> Self {
        Self { span, server, bytes: 0 }
    }

    const fn is_empty(&self) -> bool {
        self.span.is_none() && self.server.is_none()
    }

    /// Ends what there is to end, at once.
    fn end(&mut self, broken: bool) {
        if let Some(mut span) = self.span.take() {
            span.set("http.response.body.size", i64::try_from(self.bytes).unwrap_or(i64::MAX));
            if broken {
                span.body_failed();
            }
        }
        self.server = None;
    }
}

pin_project_lite::pin_project! {
    /// A response's body; its span ends with it, by its end, its error or its drop.
    ///
    /// Cost: one branch a frame when the request is not sampled.
    #[derive(Debug)]
    pub struct TracedBody<B> {
        #[pin]
        inner: B,
        ending: Ending,
    }
}

impl<B: Body> TracedBody<B> {
    pub(crate) fn new(inner: B, ending: Ending) -> Self {
        let mut body = Self { inner, ending };
        if !body.ending.is_empty() && body.inner.is_end_stream() {
            body.ending.end(false);
        }
        body
    }

    /// The body as it was.
    pub fn into_inner(self) -> B {
        self.inner
    }
}

impl<B: Body + Default> Default for TracedBody<B> {
    fn default() -> Self {
        Self { inner: B::default(), ending: Ending::default() }
    }
}

impl<B: Body> Body for TracedBody<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        let mut this = self.project();
        let frame = ready!(this.inner.as_mut().poll_frame(cx));
        if !this.ending.is_empty() {
            match &frame {
                None => this.ending.end(false),
                Some(Err(_)) => this.ending.end(true),
                Some(Ok(frame)) => {
                    let data = frame.data_ref().map_or(0, Buf::remaining);
                    this.ending.bytes += data as u64;
                    // Whoever reads by length may never poll again.
                    if this.inner.is_end_stream() {
                        this.ending.end(false);
                    }
                }
            }
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

pin_project_lite::pin_project! {
    /// The future of a client layer: the inner one, and the span when there is one.
    #[derive(Debug)]
    pub struct TracedFuture<F> {
        #[pin]
        inner: F,
        span: Option<Box<LiveSpan>>,
    }
}

impl<F> TracedFuture<F> {
    pub(crate) const fn new(inner: F, span: Option<Box<LiveSpan>>) -> Self {
        Self { inner, span }
    }
}

impl<F, B, E> Future for TracedFuture<F>
where
    F: Future<Output = Result<Response<B>, E>>,
    B: Body,
    E: Into<BoxError>,
{
    type Output = Result<Response<TracedBody<B>>, BoxError>;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let result = ready!(this.inner.poll(cx)).map_err(Into::into);
        let mut span = this.span.take();
        match result {
            Ok(response) => {
                if let Some(span) = &mut span {
                    span.answered(response.status(), response.version());
                }
                let ending = Ending::new(span, None);
                Poll::Ready(Ok(response.map(|body| TracedBody::new(body, ending))))
            }
            Err(error) => {
                if let Some(span) = &mut span {
                    span.failed(&error);
                }
                Poll::Ready(Err(error))
            }
        }
    }
}
