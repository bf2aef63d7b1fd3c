use std::sync::Arc;
use std::task::{Context as Task, Poll};

use http::{Request, Response};
use outrigger_balance::{Pick, PickRequest};
use outrigger_core::{BoxError, Call, Context, Decision, Dispatch, Rejected};
use tower_service::Service;

use super::flight::{Flight, Seat};
use super::{BalanceLayer, ResponseFuture};
use crate::{GuardedBody, HttpCall, clock};

/// Sends each try to an endpoint of a set.
///
/// # Cancel safety
/// A try dropped in flight is no longer in flight on its endpoint and says nothing about it,
/// unless the policy's timeout ended it, which is a failure.
#[derive(Clone, Debug)]
pub struct Balance<S> {
    inner: S,
    rule: Arc<BalanceLayer>,
}

impl<S> Balance<S> {
    pub(super) const fn new(inner: S, rule: Arc<BalanceLayer>) -> Self {
        Self { inner, rule }
    }

    pub(crate) fn pick<B>(
        &self,
        context: &Context,
        request: &Request<B>,
    ) -> Result<Flight, Rejected> {
        // Before the first try nothing was waited for, so the request's start is now.
        let now = if context.tried.is_none() { context.started } else { clock::now() };
        let rule = &*self.rule;
        let ask = PickRequest::new(now)
            .with_subset(context.subset.as_deref().or(rule.subset.as_deref()))
            .with_hash(rule.hash_on.as_ref().and_then(|on| on.hash(request)));
        let mut chance = fastrand::Rng::with_seed(fastrand::u64(..));
        let pick = match &context.tried {
            None => rule.set.pick(&ask, &mut chance)?,
            Some(tried) => {
                let pick =
                    tried.with(|tried| rule.set.pick(&ask.with_avoid(tried), &mut chance))?;
                tried.push(pick.endpoint().address());
                pick
            }
        };
        if let Some(receipt) = &context.receipt {
            let at = now.saturating_duration_since(context.started);
            receipt.push(at, picked(&pick));
        }
        Ok(Flight::new(Arc::clone(&self.rule), pick, now, context))
    }
}

fn picked(pick: &Pick) -> Decision {
    Decision::Picked {
        candidates: pick.candidates(),
        endpoint: pick.endpoint().address(),
        load: pick.load(),
        panicking: pick.is_panicking(),
    }
}

impl<S, R, B> Service<R> for Balance<S>
where
    R: HttpCall,
    B: http_body::Body,
    S: Service<Dispatch<Request<R::Body>>, Response = Response<B>, Error: Into<BoxError>>,
{
    type Response = Response<GuardedBody<B, Seat>>;
    type Error = BoxError;
    type Future = ResponseFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Task<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, request: R) -> Self::Future {
        let Call { context, request } = request.take_apart(|| Context::new(clock::now()));
        match self.pick(&context, &request) {
            Ok(flight) => {
                let endpoint = flight.endpoint().clone();
                let dispatch = Dispatch { context, endpoint, request };
                ResponseFuture::admitted(self.inner.call(dispatch), flight)
            }
            Err(rejected) => ResponseFuture::rejected(rejected),
        }
    }
}
