use std::task::{Context as Task, Poll};

use http::Response;
use http_body::Body;
use outrigger_core::{BoxError, Context, Rejected, ServiceName};
use tower_service::Service;

use super::{Counted, LimitedBody, ResponseFuture};
use crate::{HttpCall, clock};

/// Bounds the bodies of requests.
///
/// Cost: a body of a known length is looked at once; one of unknown length is counted, and costs
/// one allocation.
///
/// # Cancel safety
/// It holds nothing.
#[derive(Clone, Debug)]
pub struct LimitBody<S> {
    inner: S,
    service: ServiceName,
    limit: u64,
}

impl<S> LimitBody<S> {
    pub(super) const fn new(inner: S, service: ServiceName, limit: u64) -> Self {
        Self { inner, service, limit }
    }
}

impl<S, R, B, RB> Service<R> for LimitBody<S>
where
    R: HttpCall<Body = B>,
    B: Body,
    S: Service<R::With<LimitedBody<B>>, Response = Response<RB>, Error: Into<BoxError>>,
{
    type Response = Response<RB>;
    type Error = BoxError;
    type Future = ResponseFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Task<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, request: R) -> Self::Future {
        let rejected =
            || Rejected::BodyTooLarge { service: self.service.clone(), limit: self.limit };
        // The hint of a body that came with `content-length` is that length.
        let hint = request.request().body().size_hint();
        if hint.lower() > self.limit {
            return ResponseFuture::rejected(rejected());
        }
        let call = request.take_apart(|| Context::new(clock::now()));
        let counted = self.limit < u64::MAX && hint.upper().is_none_or(|upper| upper > self.limit);
        let over = counted.then(|| (Default::default(), rejected()));
        let call = call.map(|request| {
            request.map(|body| match &over {
                None => LimitedBody::whole(body),
                Some((over, rejected)) => LimitedBody::counted(body, self.limit, over, rejected),
            })
        });
        ResponseFuture::admitted(self.inner.call(R::put_together(call)), Counted(over))
    }
}
