use std::sync::Arc;
use std::task::{Context as Task, Poll};
use std::time::Duration;

use http::Response;
use outrigger_core::{BoxError, Carry, Context, Decision, Event, Reason, Rejected};
use outrigger_limit::ShedVerdict;
use tower_service::Service;

use super::{ResponseFuture, ShedLayer};
use crate::clock;

/// Turns requests away while the machine has no CPU to spare.
///
/// Cost: one word is read; a draw only while load is shed.
///
/// # Cancel safety
/// It holds nothing.
#[derive(Clone, Debug)]
pub struct Shed<S> {
    inner: S,
    layer: Arc<ShedLayer>,
}

/// When to come back: the rule looks a few times a second, so that more may be let in by then.
const RETRY_AFTER: Duration = Duration::from_secs(1);

impl<S> Shed<S> {
    pub(super) const fn new(inner: S, layer: Arc<ShedLayer>) -> Self {
        Self { inner, layer }
    }
}

impl<S, R, B> Service<R> for Shed<S>
where
    R: Carry,
    S: Service<R, Response = Response<B>, Error: Into<BoxError>>,
{
    type Response = Response<B>;
    type Error = BoxError;
    type Future = ResponseFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Task<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, mut request: R) -> Self::Future {
        let layer = &*self.layer;
        if !layer.shed.is_shedding() {
            return ResponseFuture::admitted(self.inner.call(request), ());
        }
        let verdict = layer.shed.verdict(layer.dice.roll());
        let context = request.context_or_insert_with(|| Context::new(clock::now()));
        if let Some(receipt) = &context.receipt {
            let at = clock::now().saturating_duration_since(context.started);
            let admitted = verdict != ShedVerdict::Shed;
            receipt.push(at, Decision::Shed { admits: layer.shed.admits(), admitted });
        }
        match verdict {
            ShedVerdict::Shed => ResponseFuture::rejected(Rejected::Shed {
                service: layer.service.clone(),
                retry_after: RETRY_AFTER,
            }),
            verdict => {
                if verdict == ShedVerdict::Spared {
                    layer.observers.emit(&Event::Spared {
                        service: &layer.service,
                        route: &context.route,
                        reason: Reason::Overloaded,
                        rule: "shed",
                    });
                }
                ResponseFuture::admitted(self.inner.call(request), ())
            }
        }
    }
}
