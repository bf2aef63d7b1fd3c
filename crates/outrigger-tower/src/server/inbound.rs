use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context as Task, Poll, ready};

use http::{Extensions, HeaderMap, Request, Response};
use outrigger_core::{BoxError, Carry, Context, ServiceName, header};
use outrigger_retry::guard;
use pin_project_lite::pin_project;
use tokio::task::futures::TaskLocalFuture;
use tower_layer::Layer;
use tower_service::Service;

use super::scope::{SERVED, Served};
use crate::context::tighten;
use crate::{AfterTries, clock, tries};

/// Whose word about who they are counts.
#[derive(Clone, Copy, Default)]
#[non_exhaustive]
pub enum Trust {
    /// Nobody's: callers have no name.
    Nobody,
    /// Everybody's. For a server that only its own fleet can reach.
    #[default]
    Everybody,
    /// Those whose request's extensions (the peer's address, say) pass this test.
    Those(fn(&Extensions) -> bool),
}

impl fmt::Debug for Trust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Nobody => "Nobody",
            Self::Everybody => "Everybody",
            Self::Those(_) => "Those",
        })
    }
}

/// Makes the context of requests that are served.
///
/// Deadline and attempt are taken from anybody, for they can only tighten; the caller's name only
/// from those that are trusted. A context that a layer further out has made is completed.
#[derive(Clone, Debug)]
pub struct InboundLayer {
    service: ServiceName,
    trust: Trust,
}

impl InboundLayer {
    /// For requests to `service`, which is this process's own.
    #[must_use]
    pub fn new(service: ServiceName) -> Self {
        Self { service, trust: Trust::default() }
    }

    /// Whose word counts. Default everybody's.
    #[must_use]
    pub const fn with_trust(mut self, trust: Trust) -> Self {
        self.trust = trust;
        self
    }
}

impl<S> Layer<S> for InboundLayer {
    type Service = Inbound<S>;

    fn layer(&self, inner: S) -> Inbound<S> {
        Inbound { inner, about: self.clone() }
    }
}

/// Makes the context of requests that are served, and the scope of the calls made for them.
#[derive(Clone, Debug)]
pub struct Inbound<S> {
    inner: S,
    about: InboundLayer,
}

impl<S> Inbound<S> {
    fn caller(&self, headers: &HeaderMap, extensions: &Extensions) -> Option<ServiceName> {
        let name = headers.get(header::CALLER)?;
        let trusted = match self.about.trust {
            Trust::Nobody => false,
            Trust::Everybody => true,
            Trust::Those(test) => test(extensions),
        };
        if trusted { name.to_str().ok()?.parse().ok() } else { None }
    }
}

impl<S, B, RB> Service<Request<B>> for Inbound<S>
where
    S: Service<Request<B>, Response = Response<RB>, Error: Into<BoxError>>,
{
    type Response = Response<RB>;
    type Error = BoxError;
    type Future = InboundFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Task<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        let present = request.context().cloned();
        let mut context = present.unwrap_or_else(|| Context::new(clock::now()));
        tighten(&mut context, request.headers());
        if context.caller.is_none() {
            context.caller = self.caller(request.headers(), request.extensions());
        }
        context.service.get_or_insert_with(|| self.about.service.clone());
        let served = Served::new(&context);
        request.extensions_mut().insert(context);
        let inner = self.inner.call(request);
        InboundFuture { inner: SERVED.scope(served, inner) }
    }
}

pin_project! {
    /// The handler's answer, with the tries that were made for it below.
    pub struct InboundFuture<F> {
        #[pin]
        inner: TaskLocalFuture<Served, F>,
    }
}

impl<F, B, E> Future for InboundFuture<F>
where
    F: Future<Output = Result<Response<B>, E>>,
    E: Into<BoxError>,
{
    type Output = Result<Response<B>, BoxError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Task<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        let result = ready!(this.inner.as_mut().poll(cx)).map_err(Into::into);
        let below = this.inner.take_value().map_or(1, |served| served.tries());
        Poll::Ready(match result {
            Ok(mut response) => {
                if below > guard::read_tries(response.headers()) {
                    tries::write(response.headers_mut(), below);
                }
                Ok(response)
            }
            Err(error) if below > AfterTries::count(&*error) => Err(AfterTries::wrap(below, error)),
            Err(error) => Err(error),
        })
    }
}

impl<F: fmt::Debug> fmt::Debug for InboundFuture<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InboundFuture").finish_non_exhaustive()
    }
}
