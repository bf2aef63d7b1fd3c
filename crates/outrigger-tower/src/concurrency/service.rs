use std::task::{Context as Task, Poll};

use http::Response;
use outrigger_core::{BoxError, Carry, Context, Decision, Rejected, ServiceName};
use tower_service::Service;

use super::permit::Bound;
use super::{ConcurrencyPermit, ResponseFuture};
use crate::{GuardedBody, clock};

/// Bounds the requests in flight.
///
/// # Cancel safety
/// The permit lives in the future and then in the response's body; dropping either gives it back.
#[derive(Clone, Debug)]
pub struct LimitConcurrency<S> {
    inner: S,
    service: ServiceName,
    name: &'static str,
    bound: Bound,
}

impl<S> LimitConcurrency<S> {
    pub(super) const fn new(
        inner: S,
        service: ServiceName,
        name: &'static str,
        bound: Bound,
    ) -> Self {
        Self { inner, service, name, bound }
    }

    /// Takes a permit.
    pub(crate) fn admit(&self, context: &Context) -> Result<ConcurrencyPermit, Rejected> {
        let admitted = self.bound.try_acquire(context.started);
        if let Some(receipt) = &context.receipt {
            let (limit, remaining) = (self.name, Some(self.bound.left()));
            let at = clock::now().saturating_duration_since(context.started);
            let admitted = admitted.is_ok();
            receipt.push(at, Decision::Limited { limit, admitted, remaining });
        }
        admitted.map_err(|full| Rejected::Overloaded {
            service: self.service.clone(),
            limit: full.limit,
            retry_after: None,
        })
    }
}

impl<S, R, B> Service<R> for LimitConcurrency<S>
where
    R: Carry,
    B: http_body::Body,
    S: Service<R, Response = Response<B>, Error: Into<BoxError>>,
{
    type Response = Response<GuardedBody<B, ConcurrencyPermit>>;
    type Error = BoxError;
    type Future = ResponseFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Task<'_>) -> Poll<Result<(), BoxError>> {
        // The permit is taken in `call`: one taken here would sit on a connection that nobody uses.
        self.inner.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, mut request: R) -> Self::Future {
        let context = request.context_or_insert_with(|| Context::new(clock::now()));
        match self.admit(context) {
            Ok(permit) => ResponseFuture::admitted(self.inner.call(request), permit),
            Err(rejected) => ResponseFuture::rejected(rejected),
        }
    }
}
