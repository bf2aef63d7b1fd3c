//! The path that tells others whether the service takes requests.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body::{Body, Frame, SizeHint};
use http_body_util::Full;
use outrigger_core::BoxError;
use pin_project_lite::pin_project;
use tower_layer::Layer;
use tower_service::Service;

/// Whether the service takes requests; clones are the same.
#[derive(Clone, Debug)]
pub(super) struct Ready(Arc<AtomicBool>);

impl Ready {
    pub(super) fn new() -> Self {
        Self(Arc::new(AtomicBool::new(true)))
    }

    /// From now on it says that it drains.
    pub(super) fn drain(&self) {
        self.0.store(false, Ordering::Relaxed);
    }
}

/// Answers the health path before the application sees it.
#[derive(Clone, Debug)]
pub(super) struct Health<S> {
    inner: S,
    about: HealthLayer,
}

#[derive(Clone, Debug)]
pub(super) struct HealthLayer {
    path: Option<Arc<str>>,
    ready: Ready,
}

impl Health<()> {
    pub(super) fn layer(path: Option<&str>, ready: Ready) -> HealthLayer {
        HealthLayer { path: path.map(Into::into), ready }
    }
}

impl<S> Layer<S> for HealthLayer {
    type Service = Health<S>;

    fn layer(&self, inner: S) -> Health<S> {
        Health { inner, about: self.clone() }
    }
}

impl<S, R, B> Service<Request<R>> for Health<S>
where
    S: Service<Request<R>, Response = Response<B>, Error: Into<BoxError>>,
{
    type Response = Response<HealthBody<B>>;
    type Error = BoxError;
    type Future = HealthFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, request: Request<R>) -> Self::Future {
        let is_asked = self.about.path.as_deref() == Some(request.uri().path())
            && matches!(*request.method(), Method::GET | Method::HEAD);
        if is_asked {
            let ready = self.about.ready.0.load(Ordering::Relaxed);
            return HealthFuture::Ours { ready };
        }
        HealthFuture::Theirs { inner: self.inner.call(request) }
    }
}

pin_project! {
    #[project = FutureProj]
    pub(super) enum HealthFuture<F> {
        Ours { ready: bool },
        Theirs { #[pin] inner: F },
    }
}

impl<F, B, E> Future for HealthFuture<F>
where
    F: Future<Output = Result<Response<B>, E>>,
    E: Into<BoxError>,
{
    type Output = Result<Response<HealthBody<B>>, BoxError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project() {
            FutureProj::Ours { ready } => {
                let (status, text) = match *ready {
                    true => (StatusCode::OK, "ok\n"),
                    false => (StatusCode::SERVICE_UNAVAILABLE, "draining\n"),
                };
                let body = Full::new(Bytes::from_static(text.as_bytes()));
                let mut response = Response::new(HealthBody::Ours { body });
                *response.status_mut() = status;
                let plain = HeaderValue::from_static("text/plain");
                response.headers_mut().insert(header::CONTENT_TYPE, plain);
                Poll::Ready(Ok(response))
            }
            FutureProj::Theirs { inner } => {
                let response = ready!(inner.poll(cx)).map_err(Into::into)?;
                Poll::Ready(Ok(response.map(|body| HealthBody::Theirs { body })))
            }
        }
    }
}

pin_project! {
    #[project = BodyProj]
    pub(super) enum HealthBody<B> {
        Ours { #[pin] body: Full<Bytes> },
        Theirs { #[pin] body: B },
    }
}

impl<B: Body<Data = Bytes>> Body for HealthBody<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        match self.project() {
            BodyProj::Ours { body } => body
                .poll_frame(cx)
                .map(|frame| frame.map(|frame| frame.map_err(|never| match never {}))),
            BodyProj::Theirs { body } => body.poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Ours { body } => body.is_end_stream(),
            Self::Theirs { body } => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Ours { body } => body.size_hint(),
            Self::Theirs { body } => body.size_hint(),
        }
    }
}
