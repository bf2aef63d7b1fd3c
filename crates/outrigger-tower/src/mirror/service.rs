use std::sync::Arc;
use std::task::{Context as Task, Poll};

use bytes::Bytes;
use http::{Method, Request, Response, header};
use http_body::Body;
use outrigger_core::{BoxError, Context, Decision};
use tower_service::Service;

use super::copy::Copy;
use super::watch::Watch;
use super::{MirrorLayer, ResponseFuture, TeeBody, WatchedBody};
use crate::{HttpCall, clock};

/// Sends copies of requests elsewhere.
///
/// Cost: a draw for a request that is not copied. A copy costs its head's clone and a task; of the
/// body references only are counted.
///
/// # Cancel safety
/// A request dropped before its body was sent is not copied; a copy that is under way goes on.
#[derive(Clone, Debug)]
pub struct Mirror<S> {
    inner: S,
    layer: Arc<MirrorLayer>,
}

impl<S> Mirror<S> {
    pub(super) const fn new(inner: S, layer: Arc<MirrorLayer>) -> Self {
        Self { inner, layer }
    }

    /// The copy of a request, if there is to be one, and what watches the caller's answer.
    fn copy<B: Body>(
        &self,
        context: &Context,
        request: &Request<B>,
    ) -> Option<(Copy, Option<Watch>)> {
        let layer = &self.layer;
        let switches =
            *request.method() == Method::CONNECT || request.headers().contains_key(header::UPGRADE);
        if switches || !layer.dice.hits(layer.rule.ratio) {
            return None;
        }
        if request.body().size_hint().lower() > layer.rule.body_limit as u64 {
            Copy::tell(layer, context, "too_large");
            return None;
        }
        let Ok(permit) = layer.seen.bound.try_acquire() else {
            Copy::tell(layer, context, "full");
            return None;
        };
        if let Some(receipt) = &context.receipt {
            let at = clock::now().saturating_duration_since(context.started);
            receipt.push(at, Decision::Mirrored);
        }
        let (watch, told) = match layer.rule.compare {
            None => (None, None),
            Some(_) => {
                let (watch, told) = Watch::new(Arc::clone(layer));
                (Some(watch), Some(told))
            }
        };
        Some((Copy::new(Arc::clone(layer), context, request, permit, told), watch))
    }
}

impl<S, R, B, RB> Service<R> for Mirror<S>
where
    R: HttpCall<Body = B>,
    B: Body<Data = Bytes>,
    RB: Body<Data = Bytes>,
    S: Service<R::With<TeeBody<B>>, Response = Response<RB>, Error: Into<BoxError>>,
{
    type Response = Response<WatchedBody<RB>>;
    type Error = BoxError;
    type Future = ResponseFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Task<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, request: R) -> Self::Future {
        let call = request.take_apart(|| Context::new(clock::now()));
        let (copy, watch) = match self.copy(&call.context, &call.request) {
            Some((copy, watch)) => (Some(copy), watch),
            None => (None, None),
        };
        let call = call.map(|request| request.map(|body| TeeBody::new(body, copy)));
        ResponseFuture::new(self.inner.call(R::put_together(call)), watch)
    }
}
