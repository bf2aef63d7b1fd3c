use std::convert::Infallible;
use std::error::Error;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body::{Body, Frame, SizeHint};
use outrigger_core::{BoxError, Refusal, header};
use pin_project_lite::pin_project;
use tower_layer::Layer;
use tower_service::Service;

use crate::{AfterTries, tries};

/// Turns our errors into answers, by the one table of [`Refusal`].
///
/// An error that is not ours becomes a plain 500 (for gRPC, code 13) without a reason: nothing of
/// its text is told to the caller.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct RefuseLayer;

impl RefuseLayer {
    /// The layer.
    #[must_use]
    pub const fn new() -> Self {
        Self
    }
}

impl<S> Layer<S> for RefuseLayer {
    type Service = Refuse<S>;

    fn layer(&self, inner: S) -> Refuse<S> {
        Refuse { inner }
    }
}

/// Turns our errors into answers.
#[derive(Clone, Debug)]
pub struct Refuse<S> {
    inner: S,
}

impl<S, B, RB> Service<Request<B>> for Refuse<S>
where
    S: Service<Request<B>, Response = Response<RB>, Error: Into<BoxError>>,
{
    type Response = Response<RefusedBody<RB>>;
    type Error = Infallible;
    type Future = RefuseFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        // A service that cannot become ready says so in `call`, where it can be answered.
        match self.inner.poll_ready(cx) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(_) => Poll::Ready(Ok(())),
        }
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let grpc = header::is_grpc(request.headers());
        RefuseFuture { inner: self.inner.call(request), grpc }
    }
}

pin_project! {
    /// An answer, always.
    #[derive(Debug)]
    pub struct RefuseFuture<F> {
        #[pin]
        inner: F,
        grpc: bool,
    }
}

impl<F, B, E> Future for RefuseFuture<F>
where
    F: Future<Output = Result<Response<B>, E>>,
    E: Into<BoxError>,
{
    type Output = Result<Response<RefusedBody<B>>, Infallible>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        Poll::Ready(Ok(match ready!(this.inner.poll(cx)) {
            Ok(response) => response.map(|body| RefusedBody { state: State::Inner { body } }),
            Err(error) => answer(&*error.into(), *this.grpc),
        }))
    }
}

fn answer<B>(error: &(dyn Error + 'static), grpc: bool) -> Response<RefusedBody<B>> {
    let (mut head, ()) = Response::new(()).into_parts();
    let text = match Refusal::of(error) {
        Some(refusal) => {
            refusal.write_head(&mut head, grpc);
            refusal.reason.body()
        }
        None if grpc => {
            head.headers.insert(
                http::header::CONTENT_TYPE,
                http::HeaderValue::from_static("application/grpc"),
            );
            let internal = http::HeaderValue::from_static("13");
            head.headers.insert(outrigger_core::header::GRPC_STATUS, internal);
            ""
        }
        None => {
            head.status = StatusCode::INTERNAL_SERVER_ERROR;
            ""
        }
    };
    tries::write(&mut head.headers, AfterTries::count(error));
    // A gRPC refusal is all head: nothing may follow its status.
    let text = if grpc { "" } else { text };
    Response::from_parts(head, RefusedBody { state: State::Text { text } })
}

pin_project! {
    /// The service's body, or the short text of a refusal.
    pub struct RefusedBody<B> {
        #[pin]
        state: State<B>,
    }
}

pin_project! {
    #[project = StateProj]
    enum State<B> {
        Inner { #[pin] body: B },
        Text { text: &'static str },
    }
}

impl<B: Body<Data = Bytes>> Body for RefusedBody<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        match self.project().state.project() {
            StateProj::Inner { body } => body.poll_frame(cx),
            StateProj::Text { text: &mut "" } => Poll::Ready(None),
            StateProj::Text { text } => {
                let data = Bytes::from_static(std::mem::take(text).as_bytes());
                Poll::Ready(Some(Ok(Frame::data(data))))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.state {
            State::Inner { body } => body.is_end_stream(),
            State::Text { text } => text.is_empty(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.state {
            State::Inner { body } => body.size_hint(),
            State::Text { text } => SizeHint::with_exact(text.len() as u64),
        }
    }
}

impl<B: fmt::Debug> fmt::Debug for RefusedBody<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.state {
            State::Inner { body } => body.fmt(f),
            State::Text { text } => text.fmt(f),
        }
    }
}
