use std::sync::Arc;
use std::task::{Context as Task, Poll};
use std::time::Instant;

use http::{Request, Response};
use outrigger_core::{BoxError, Context, Decision, Event, Reason, Rejected};
use outrigger_limit::{Admitted, Limited};
use tower_service::Service;

use super::table::Rule;
use super::{RateRulesLayer, ResponseFuture, Tightest};
use crate::{HttpCall, clock};

/// Limits the rates of requests.
///
/// Cost: no allocation; a request that several limits match looks at each before it takes from
/// any.
///
/// # Cancel safety
/// Tokens are spent when a call is admitted; dropping the future does not bring them back.
#[derive(Clone, Debug)]
pub struct LimitRates<S> {
    inner: S,
    layer: Arc<RateRulesLayer>,
}

impl<S> LimitRates<S> {
    pub(super) const fn new(inner: S, layer: Arc<RateRulesLayer>) -> Self {
        Self { inner, layer }
    }

    /// Asks every limit that the request has to pass.
    fn ask<B>(
        &self,
        context: &Context,
        request: &Request<B>,
        now: Instant,
    ) -> Result<Option<Tightest>, Limited> {
        let layer = &*self.layer;
        let matching = || layer.rules.matching(request);
        if layer.rules.len() > 1 {
            let refusals = matching().filter_map(|rule| {
                let limited = rule.peek(context, request, now).err()?;
                tell(context, rule, Err(limited));
                Some(limited)
            });
            // The longest wait: whoever comes back after it is refused by none of them.
            if let Some(limited) = refusals.max_by_key(|limited| limited.retry_after) {
                return Err(limited);
            }
        }
        let mut tightest: Option<(Admitted, &Rule)> = None;
        for rule in matching() {
            let verdict = rule.try_acquire(context, request, now);
            tell(context, rule, verdict);
            let admitted = verdict?;
            if admitted.is_spared {
                layer.observers.emit(&Event::Spared {
                    service: context.service.as_ref().unwrap_or(&layer.service),
                    route: &context.route,
                    reason: Reason::RateLimited,
                    rule: &rule.about.name,
                });
            } else if tightest.is_none_or(|(other, _)| admitted.remaining < other.remaining) {
                tightest = Some((admitted, rule));
            }
        }
        let told = tightest.filter(|_| layer.tells);
        Ok(told.map(|(admitted, rule)| Tightest {
            limit: admitted.limit,
            remaining: admitted.remaining,
            reset: match admitted.remaining {
                0 => rule.peek(context, request, now).err().map(|next| next.retry_after),
                _ => None,
            }
            .unwrap_or_default(),
        }))
    }
}

fn tell(context: &Context, rule: &Rule, verdict: Result<Admitted, Limited>) {
    let Some(receipt) = &context.receipt else { return };
    let at = clock::now().saturating_duration_since(context.started);
    receipt.push(
        at,
        Decision::Rate {
            rule: Arc::clone(&rule.about.name),
            admitted: verdict.is_ok(),
            spared: verdict.is_ok_and(|admitted| admitted.is_spared),
            remaining: verdict.map_or(0, |admitted| admitted.remaining),
        },
    );
}

impl<S, R, B> Service<R> for LimitRates<S>
where
    R: HttpCall,
    S: Service<R, Response = Response<B>, Error: Into<BoxError>>,
{
    type Response = Response<B>;
    type Error = BoxError;
    type Future = ResponseFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Task<'_>) -> Poll<Result<(), BoxError>> {
        // The buckets are asked in `call`: readiness polled without a call must not spend a token.
        self.inner.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, mut request: R) -> Self::Future {
        if self.layer.rules.is_empty() {
            return ResponseFuture::admitted(self.inner.call(request), None);
        }
        let now = request.context_or_insert_with(|| Context::new(clock::now())).started;
        let verdict = match request.context() {
            Some(context) => self.ask(context, request.request(), now),
            None => self.ask(&Context::new(now), request.request(), now),
        };
        match verdict {
            Ok(tell) => ResponseFuture::admitted(self.inner.call(request), tell),
            Err(limited) => ResponseFuture::rejected(Rejected::RateLimited {
                service: self.layer.service.clone(),
                retry_after: limited.retry_after,
                limit: Some((limited.limit, limited.remaining)),
                grpc_status: self.layer.grpc_status,
            }),
        }
    }
}
