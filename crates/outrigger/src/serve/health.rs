//! The path that tells others whether the service takes requests.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};

use arc_swap::ArcSwapOption;
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
pub(crate) struct Ready(Arc<State>);

#[derive(Debug)]
struct State {
    drains: AtomicBool,
    /// Why nothing is accepted, though it does not drain.
    closed: ArcSwapOption<Arc<str>>,
}

impl Ready {
    pub(super) fn new() -> Self {
        Self(Arc::new(State { drains: AtomicBool::new(false), closed: ArcSwapOption::empty() }))
    }

    /// From now on it says that it drains.
    pub(super) fn drain(&self) {
        self.0.drains.store(true, Ordering::Relaxed);
    }

    /// From now on it says why nothing is accepted, or no longer.
    pub(super) fn close(&self, why: Option<Arc<str>>) {
        self.0.closed.store(why.map(Arc::new));
    }

    /// Why nothing is accepted, though it does not drain; `None` where it is.
    pub(crate) fn closed(&self) -> Option<Arc<str>> {
        self.0.closed.load().as_deref().cloned()
    }

    /// What it says: whether it takes requests, and in words.
    fn word(&self) -> (bool, Bytes) {
        if self.0.drains.load(Ordering::Relaxed) {
            return (false, Bytes::from_static(b"draining\n"));
        }
        match &*self.0.closed.load() {
            Some(why) => (false, format!("{why}\n").into()),
            None => (true, Bytes::from_static(b"ok\n")),
        }
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
            let (ready, text) = self.about.ready.word();
            return HealthFuture::Ours { ready, text };
        }
        HealthFuture::Theirs { inner: self.inner.call(request) }
    }
}

pin_project! {
    #[project = FutureProj]
    pub(super) enum HealthFuture<F> {
        Ours { ready: bool, text: Bytes },
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
            FutureProj::Ours { ready, text } => {
                let status = if *ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
                let body = Full::new(std::mem::take(text));
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
