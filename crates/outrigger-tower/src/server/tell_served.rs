//! Who wants to know of each request that is served: the access log.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context as Task, Poll, ready};

use bytes::Buf;
use http::{HeaderMap, Method, Request, Response, StatusCode, Uri};
use http_body::{Body, Frame, SizeHint};
use outrigger_core::{
    BoxError, Carry, Context, Event, NormalPath, Observers, Outcome, Reason, Refusal, RouteName,
    header,
};
use outrigger_retry::{Classifier, GrpcCode, Signal, guard};
use pin_project_lite::pin_project;
use tower_layer::Layer;
use tower_service::Service;

use super::scope;
use crate::observe::method_word;
use crate::{AfterTries, RequestHead, clock};

/// Which requests are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Tells {
    /// None: the layer costs a branch.
    Nothing,
    /// Those that we refused, that were answered with a status of 500 or more or a gRPC code that
    /// blames the service, and those that were never answered as a whole.
    Failures,
    /// Every one.
    All,
}

/// Which route a request is on.
type RouteOf = Arc<dyn Fn(&RequestHead<'_>) -> RouteName + Send + Sync>;

/// Tells observers of each request that was served, as [`Event::Served`] at the end of its body.
///
/// Stands inside of whatever completes the context (caller, trace, policy), and outside of the
/// rules that refuse.
#[derive(Clone)]
pub struct TellServedLayer(Arc<About>);

#[derive(Clone)]
struct About {
    observers: Observers,
    tells: Tells,
    endpoint: Option<Arc<str>>,
    route_of: Option<RouteOf>,
}

impl TellServedLayer {
    /// Tells these of those requests.
    #[must_use]
    pub fn new(observers: Observers, tells: Tells) -> Self {
        Self(Arc::new(About { observers, tells, endpoint: None, route_of: None }))
    }

    /// Who serves: an address, mostly.
    #[must_use]
    pub fn with_endpoint(mut self, endpoint: Option<Arc<str>>) -> Self {
        Arc::make_mut(&mut self.0).endpoint = endpoint;
        self
    }

    /// Which route a request is on; asked only where requests are told. Default the context's.
    #[must_use]
    pub fn with_route_of(
        mut self,
        route_of: impl Fn(&RequestHead<'_>) -> RouteName + Send + Sync + 'static,
    ) -> Self {
        Arc::make_mut(&mut self.0).route_of = Some(Arc::new(route_of));
        self
    }
}

impl fmt::Debug for TellServedLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let About { tells, endpoint, .. } = &*self.0;
        f.debug_struct("TellServedLayer")
            .field("tells", tells)
            .field("endpoint", endpoint)
            .finish_non_exhaustive()
    }
}

impl<S> Layer<S> for TellServedLayer {
    type Service = TellServed<S>;

    fn layer(&self, inner: S) -> TellServed<S> {
        TellServed { inner, about: Arc::clone(&self.0) }
    }
}

/// Tells observers of each request that was served.
///
/// Cost: a branch while nothing is told; else one allocation a request, and what the observers do
/// for those that are told.
#[derive(Clone)]
pub struct TellServed<S> {
    inner: S,
    about: Arc<About>,
}

impl<S> TellServed<S> {
    fn begin<B>(&self, request: &mut Request<B>) -> Option<Box<Ending>> {
        if self.about.tells == Tells::Nothing || self.about.observers.is_empty() {
            return None;
        }
        let mut context = request.context_or_insert_with(|| Context::new(clock::now())).clone();
        if let Some(route_of) = &self.about.route_of {
            let path = NormalPath::new(request.uri().path()).ok();
            context.route = route_of(&RequestHead {
                method: request.method(),
                path: path.as_ref().map_or_else(|| request.uri().path(), |path| path.as_str()),
                query: request.uri().query(),
                headers: request.headers(),
            });
        }
        Some(Box::new(Ending {
            about: Arc::clone(&self.about),
            context,
            method: method_word(request.method()),
            uri: request.uri().clone(),
            is_head: *request.method() == Method::HEAD,
            is_grpc: header::is_grpc(request.headers()),
            status: None,
            grpc: None,
            reason: None,
            attempts: 1,
            bytes: 0,
            is_whole: false,
        }))
    }
}

impl<S, B, RB> Service<Request<B>> for TellServed<S>
where
    S: Service<Request<B>, Response = Response<RB>, Error: Into<BoxError>>,
    RB: Body,
{
    type Response = Response<ServedBody<RB>>;
    type Error = BoxError;
    type Future = TellServedFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Task<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        let ending = self.begin(&mut request);
        TellServedFuture { inner: self.inner.call(request), ending }
    }
}

impl<S: fmt::Debug> fmt::Debug for TellServed<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TellServed").field("inner", &self.inner).finish_non_exhaustive()
    }
}

pin_project! {
    /// The answer, told at the end of its body.
    pub struct TellServedFuture<F> {
        #[pin]
        inner: F,
        ending: Option<Box<Ending>>,
    }
}

impl<F, B, E> Future for TellServedFuture<F>
where
    F: Future<Output = Result<Response<B>, E>>,
    B: Body,
    E: Into<BoxError>,
{
    type Output = Result<Response<ServedBody<B>>, BoxError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Task<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let result = ready!(this.inner.poll(cx)).map_err(Into::into);
        let mut ending = this.ending.take();
        Poll::Ready(match result {
            Ok(response) => {
                if let Some(ending) = &mut ending {
                    ending.answered(response.status(), response.headers());
                }
                Ok(response.map(|body| ServedBody::new(body, ending)))
            }
            Err(error) => {
                if let Some(ending) = &mut ending {
                    ending.refused(&error);
                }
                Err(error)
            }
        })
    }
}

impl<F> fmt::Debug for TellServedFuture<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TellServedFuture").finish_non_exhaustive()
    }
}

/// What is told when it is dropped.
struct Ending {
    about: Arc<About>,
    context: Context,
    method: &'static str,
    /// Its query is never told.
    uri: Uri,
    is_head: bool,
    is_grpc: bool,
    status: Option<u16>,
    grpc: Option<GrpcCode>,
    reason: Option<&'static str>,
    attempts: u8,
    bytes: u64,
    is_whole: bool,
}

impl Ending {
    fn answered(&mut self, status: StatusCode, headers: &HeaderMap) {
        self.status = Some(status.as_u16());
        self.grpc = GrpcCode::of(headers);
        // Only our own words: a header's value is never told.
        let said = headers.get(header::REASON).and_then(|value| value.to_str().ok());
        self.reason = said.and_then(Reason::parse).map(Reason::as_str);
        self.attempts = guard::read_tries(headers).max(scope::tries());
        // Whoever sends them reads no body.
        self.is_whole = self.is_head || matches!(status.as_u16(), 204 | 304);
    }

    /// Takes down what a layer further out answers for the error.
    fn refused(&mut self, error: &BoxError) {
        let refusal = Refusal::of(&**error);
        self.reason = refusal.map(|refusal| refusal.reason.as_str());
        let status = refusal.map_or(500, |refusal| refusal.http_status());
        if self.is_grpc {
            self.status = Some(200);
            self.grpc = Some(GrpcCode::new(refusal.map_or(13, |refusal| refusal.grpc_status())));
        } else {
            self.status = Some(status);
            self.bytes = refusal.map_or(0, |refusal| refusal.reason.body().len() as u64);
        }
        self.attempts = AfterTries::count(&**error).max(scope::tries());
        self.is_whole = true;
    }

    fn is_failure(&self) -> bool {
        let blames = |code| Classifier::default().outcome(Signal::Grpc(code), None);
        self.reason.is_some()
            || self.status.is_none_or(|status| status >= 500)
            || self.grpc.is_some_and(|code| blames(code) == Outcome::Failure)
    }
}

impl Drop for Ending {
    fn drop(&mut self) {
        if !self.is_whole {
            self.reason = self.reason.or(Some("cancelled"));
        }
        if self.about.tells == Tells::Failures && !self.is_failure() {
            return;
        }
        self.about.observers.emit(&Event::Served {
            context: &self.context,
            method: self.method,
            path: self.uri.path(),
            status: self.status,
            grpc_status: self.grpc.map(GrpcCode::get),
            reason: self.reason,
            endpoint: self.about.endpoint.as_deref(),
            attempts: self.attempts,
            bytes: self.bytes,
            elapsed: clock::now().saturating_duration_since(self.context.started),
        });
    }
}

pin_project! {
    /// A body whose end is told.
    ///
    /// Cost: one branch a frame when it is not.
    pub struct ServedBody<B> {
        #[pin]
        inner: B,
        ending: Option<Box<Ending>>,
    }
}

impl<B: Body> ServedBody<B> {
    fn new(inner: B, mut ending: Option<Box<Ending>>) -> Self {
        if inner.is_end_stream()
            && let Some(mut ending) = ending.take()
        {
            ending.is_whole = true;
        }
        Self { inner, ending }
    }
}

impl<B: Body> Body for ServedBody<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Task<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        let mut this = self.project();
        let frame = ready!(this.inner.as_mut().poll_frame(cx));
        let Some(ending) = this.ending.as_mut() else { return Poll::Ready(frame) };
        let is_over = match &frame {
            None => {
                ending.is_whole = true;
                true
            }
            Some(Err(_)) => {
                (ending.is_whole, ending.reason) = (true, Some("broken"));
                true
            }
            Some(Ok(frame)) => {
                ending.bytes += frame.data_ref().map_or(0, Buf::remaining) as u64;
                if let Some(trailers) = frame.trailers_ref() {
                    ending.grpc = GrpcCode::of(trailers).or(ending.grpc);
                }
                // Whoever reads by length does not poll past the last frame.
                ending.is_whole = this.inner.is_end_stream();
                ending.is_whole
            }
        };
        if is_over {
            drop(this.ending.take());
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

impl<B: fmt::Debug> fmt::Debug for ServedBody<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServedBody").field("inner", &self.inner).finish_non_exhaustive()
    }
}
