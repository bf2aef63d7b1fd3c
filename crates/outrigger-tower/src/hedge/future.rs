use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context as Task, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::Response;
use http_body::Body;
use outrigger_core::{BoxError, Decision, Event, Outcome};
use outrigger_retry::{InFlight, RetryPermit, Signal};
use pin_project_lite::pin_project;
use tower_service::Service;

use super::HedgeLayer;
use crate::retry::Kept;
use crate::signal::signal_of;
use crate::timer::Timer;
use crate::{GuardedBody, HttpCall, ReplayBody, clock, tries};

/// What a request holds of its destination's budget until its response's body ends.
pub type HedgeGuard = (Option<InFlight>, Option<RetryPermit>);

pin_project! {
    /// The answer that comes first.
    pub struct ResponseFuture<S, R, RB>
    where
        R: HttpCall,
        S: Service<R::With<ReplayBody<R::Body>>>,
    {
        #[pin]
        first: Option<S::Future>,
        hedges: Vec<(Pin<Box<S::Future>>, RetryPermit)>,
        #[pin]
        timer: Timer<()>,
        service: S,
        rule: Arc<HedgeLayer>,
        // While another hedge may follow.
        kept: Option<Kept<R::Body>>,
        in_flight: Option<InFlight>,
        sent: u8,
        // A failure that waits for what the others bring.
        failure: Option<Result<Response<RB>, BoxError>>,
    }
}

impl<S, R, RB> ResponseFuture<S, R, RB>
where
    R: HttpCall,
    S: Service<R::With<ReplayBody<R::Body>>>,
{
    pub(super) fn new(
        service: S,
        first: S::Future,
        rule: Arc<HedgeLayer>,
        kept: Option<Kept<R::Body>>,
        after: Option<Duration>,
        in_flight: Option<InFlight>,
    ) -> Self {
        let timer = Timer::new(after.map(|after| (clock::now() + after, ())));
        Self {
            first: Some(first),
            hedges: Vec::new(),
            timer,
            service,
            rule,
            kept,
            in_flight,
            sent: 0,
            failure: None,
        }
    }
}

impl<S, R, B, RB> Future for ResponseFuture<S, R, RB>
where
    R: HttpCall<Body = B>,
    B: Body<Data = Bytes> + Unpin,
    RB: Body,
    S: Service<R::With<ReplayBody<B>>, Response = Response<RB>, Error: Into<BoxError>>,
{
    type Output = Result<Response<GuardedBody<RB, HedgeGuard>>, BoxError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Task<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        loop {
            let mut ended = None;
            if let Some(first) = this.first.as_mut().as_pin_mut()
                && let Poll::Ready(result) = first.poll(cx)
            {
                this.first.set(None);
                ended = Some((result.map_err(Into::into), None));
            }
            if ended.is_none() {
                let poll =
                    this.hedges.iter_mut().enumerate().find_map(|(place, (hedge, _))| match hedge
                        .as_mut()
                        .poll(cx)
                    {
                        Poll::Ready(result) => Some((place, result)),
                        Poll::Pending => None,
                    });
                if let Some((place, result)) = poll {
                    let (_, permit) = this.hedges.swap_remove(place);
                    ended = Some((result.map_err(Into::into), Some(permit)));
                }
            }
            if let Some((result, permit)) = ended {
                let alone = this.first.is_none() && this.hedges.is_empty();
                if alone || is_good(this.rule, &result) {
                    // The others are dropped before the answer's body is read.
                    this.first.set(None);
                    this.hedges.clear();
                    *this.kept = None;
                    return Poll::Ready(finish(result, this.in_flight.take(), permit, *this.sent));
                }
                *this.failure = Some(result);
                continue;
            }
            // Nothing is sent to join a request of which one try has already failed: whether to go
            // on after a failure is a retry's decision.
            let (None, Some(kept)) = (&this.failure, this.kept.as_mut()) else {
                return Poll::Pending;
            };
            if this.timer.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            match this.service.poll_ready(cx) {
                Poll::Ready(Ok(())) => {}
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Err(_)) => {
                    *this.kept = None;
                    continue;
                }
            }
            let Some((call, permit)) = join(this.rule, kept, *this.sent) else {
                *this.kept = None;
                continue;
            };
            *this.sent += 1;
            let hedge = Box::pin(this.service.call(R::put_together(call)));
            this.hedges.push((hedge, permit));
            let above = kept.context.attempt;
            let more = this.rule.rule.wait(&kept.method, kept.uri.path(), above, *this.sent);
            match more {
                Some(after) => this.timer.as_mut().reset(Some((clock::now() + after, ()))),
                None => *this.kept = None,
            }
        }
    }
}

/// The request of the next hedge and its permit, unless something forbids it.
fn join<B: Body<Data = Bytes> + Unpin>(
    layer: &HedgeLayer,
    kept: &Kept<B>,
    sent: u8,
) -> Option<(outrigger_core::Call<http::Request<ReplayBody<B>>>, RetryPermit)> {
    let now = clock::now();
    let service = kept.context.service.as_ref().unwrap_or(&layer.service);
    let forbidden = |why| {
        layer.observers.emit(&Event::RetryForbidden { service, why });
        if let Some(receipt) = &kept.context.receipt {
            let at = now.saturating_duration_since(kept.context.started);
            receipt.push(at, Decision::NotRetried { why });
        }
    };
    if !kept.is_complete() {
        forbidden("body");
        return None;
    }
    let Some(permit) = layer.budget.try_retry(now) else {
        forbidden("budget");
        return None;
    };
    let call = kept.again(sent + 1)?;
    let attempt = call.context.attempt;
    layer.observers.emit(&Event::Retried { service, attempt, hedge: true });
    if let Some(receipt) = &kept.context.receipt {
        let at = now.saturating_duration_since(kept.context.started);
        receipt.push(at, Decision::Retried { attempt, backoff: Duration::ZERO });
    }
    Some((call, permit))
}

fn is_good<RB>(layer: &HedgeLayer, result: &Result<Response<RB>, BoxError>) -> bool {
    let signal = signal_of(result);
    signal != Signal::Rejected && layer.classifier.outcome(signal, None) == Outcome::Success
}

fn finish<RB: Body>(
    result: Result<Response<RB>, BoxError>,
    in_flight: Option<InFlight>,
    permit: Option<RetryPermit>,
    sent: u8,
) -> Result<Response<GuardedBody<RB, HedgeGuard>>, BoxError> {
    let response = tries::tell(result, sent)?;
    Ok(response.map(|body| GuardedBody::new(body, (in_flight, permit))))
}

impl<S, R, RB> fmt::Debug for ResponseFuture<S, R, RB>
where
    R: HttpCall,
    S: Service<R::With<ReplayBody<R::Body>>>,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture").field("sent", &self.sent).finish_non_exhaustive()
    }
}
