use std::sync::Arc;
use std::task::{Context as Task, Poll};

use http::{Method, Response};
use outrigger_core::{BoxError, Context};
use tower_service::Service;

use super::future::About;
use super::{ObserveLayer, ResponseFuture};
use crate::{HttpCall, clock};

/// Tells observers how each request ended.
#[derive(Clone, Debug)]
pub struct Observed<S> {
    inner: S,
    rule: Arc<ObserveLayer>,
}

impl<S> Observed<S> {
    pub(super) const fn new(inner: S, rule: Arc<ObserveLayer>) -> Self {
        Self { inner, rule }
    }

    /// What is to be told at the end, if anybody listens.
    pub(crate) fn about(&self, context: &Context, method: &Method) -> Option<About> {
        let listened = self.rule.observers.hears_requests();
        // A receipt is kept for sampled requests only, an observer for nearly all.
        (listened || context.receipt.is_some()).then(|| About {
            rule: Arc::clone(&self.rule),
            service: context.service.clone(),
            route: context.route.clone(),
            started: context.started,
            deadline: context.deadline,
            receipt: context.receipt.clone(),
            method: method_word(method),
        })
    }
}

impl<S, R, B> Service<R> for Observed<S>
where
    R: HttpCall,
    S: Service<R, Response = Response<B>, Error: Into<BoxError>>,
{
    type Response = Response<B>;
    type Error = BoxError;
    type Future = ResponseFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Task<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, mut request: R) -> Self::Future {
        let now = request.context_or_insert_with(|| Context::new(clock::now())).started;
        let method = request.request().method();
        let about = match request.context() {
            Some(context) => self.about(context, method),
            None => self.about(&Context::new(now), method),
        };
        ResponseFuture::new(self.inner.call(request), about)
    }
}

/// The method as metrics name it: one of the nine, so that nobody can make up more.
pub(crate) fn method_word(method: &Method) -> &'static str {
    const KNOWN: [(Method, &str); 9] = [
        (Method::GET, "GET"),
        (Method::POST, "POST"),
        (Method::PUT, "PUT"),
        (Method::DELETE, "DELETE"),
        (Method::HEAD, "HEAD"),
        (Method::PATCH, "PATCH"),
        (Method::OPTIONS, "OPTIONS"),
        (Method::CONNECT, "CONNECT"),
        (Method::TRACE, "TRACE"),
    ];
    KNOWN.iter().find(|(known, _)| known == method).map_or("_OTHER", |(_, word)| word)
}
