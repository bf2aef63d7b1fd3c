use std::sync::Arc;
use std::task::{Context as Task, Poll};

use http::{Request, Response};
use outrigger_core::{BoxError, Context, Decision, Event, Reason, Rejected};
use tower_service::Service;

use super::layer::{Bucket, Rule};
use super::{ResponseFuture, Tell};
use crate::{HttpCall, clock};

/// Limits the rate of requests.
///
/// # Cancel safety
/// A token is spent when a call is admitted; dropping the future does not bring it back.
#[derive(Clone, Debug)]
pub struct LimitRate<S> {
    inner: S,
    rule: Arc<Rule>,
}

impl<S> LimitRate<S> {
    pub(super) const fn new(inner: S, rule: Arc<Rule>) -> Self {
        Self { inner, rule }
    }

    /// Takes a token; what comes back is to be told with the answer, if that was asked for.
    pub(crate) fn admit<B>(
        &self,
        context: &Context,
        request: &Request<B>,
    ) -> Result<Tell, Rejected> {
        let (now, rule) = (context.started, &*self.rule);
        let verdict = match &rule.bucket {
            Bucket::One(bucket) => bucket.try_acquire(now),
            Bucket::Keyed(buckets, by) => {
                buckets.try_acquire(by.key(buckets.key(), context, request), now)
            }
        };
        if let Some(receipt) = &context.receipt {
            let remaining = Some(verdict.as_ref().map_or(0, |admitted| admitted.remaining));
            let (limit, admitted) = (rule.name, verdict.is_ok());
            receipt.push(Default::default(), Decision::Limited { limit, admitted, remaining });
        }
        match verdict {
            Ok(admitted) => {
                if admitted.is_spared
                    && let Some((name, observers)) = &rule.spared
                {
                    observers.emit(&Event::Spared {
                        service: &rule.service,
                        route: &context.route,
                        reason: Reason::RateLimited,
                        rule: name,
                    });
                }
                Ok(Tell(rule.tells.then_some((admitted.limit, admitted.remaining))))
            }
            Err(limited) => Err(Rejected::RateLimited {
                service: rule.service.clone(),
                retry_after: limited.retry_after,
                limit: Some((limited.limit, limited.remaining)),
                grpc_status: rule.grpc_status,
            }),
        }
    }
}

impl<S, R, B> Service<R> for LimitRate<S>
where
    R: HttpCall,
    S: Service<R, Response = Response<B>, Error: Into<BoxError>>,
{
    type Response = Response<B>;
    type Error = BoxError;
    type Future = ResponseFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Task<'_>) -> Poll<Result<(), BoxError>> {
        // The bucket is asked in `call`: readiness polled without a call must not spend a token.
        self.inner.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, mut request: R) -> Self::Future {
        let now = request.context_or_insert_with(|| Context::new(clock::now())).started;
        let admitted = match request.context() {
            Some(context) => self.admit(context, request.request()),
            None => self.admit(&Context::new(now), request.request()),
        };
        match admitted {
            Ok(tell) => ResponseFuture::admitted(self.inner.call(request), tell),
            Err(rejected) => ResponseFuture::rejected(rejected),
        }
    }
}
