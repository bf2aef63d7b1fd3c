use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context as Task, Poll, ready};

use bytes::Bytes;
use http::Response;
use http_body::Body;
use outrigger_core::{BoxError, Decision, Event, Failed, Tried};
use outrigger_retry::{InFlight, Reservation, RetryPermit, RetryRule, Situation, Stop, Verdict};
use pin_project_lite::pin_project;
use tokio::time::{Sleep, sleep};
use tower_service::Service;

use super::{Kept, ReplayBody, RetryLayer};
use crate::signal::signal_of;
use crate::{AfterTries, GuardedBody, HttpCall, ServedBy, clock, server, tries};

/// What a request holds of its destination's budget until its response's body ends: its place
/// among those in flight, and the permit of its last retry.
pub type RetryGuard = (Option<InFlight>, Option<RetryPermit>);

pin_project! {
    /// The answer of the last try.
    pub struct ResponseFuture<S, R, RB>
    where
        R: HttpCall,
        S: Service<R::With<ReplayBody<R::Body>>>,
    {
        #[pin]
        state: State<S::Future, RB>,
        service: S,
        rule: Arc<RetryLayer>,
        // Of a rule that is off, nothing.
        kept: Option<Kept<R::Body>>,
        in_flight: Option<InFlight>,
        permit: Option<RetryPermit>,
        retries: u8,
    }
}

pin_project! {
    #[project = StateProj]
    enum State<F, RB> {
        Trying { #[pin] inner: F },
        Waiting { #[pin] sleep: Sleep, next: Option<Next<Result<Response<RB>, BoxError>>> },
        // Another try was decided on, and waits for the service to be ready.
        Readying,
        Between,
    }
}

/// What is decided while the other try has not begun: its token, and what is answered if it
/// cannot begin.
pub(crate) struct Next<T> {
    pub(crate) reservation: Reservation,
    pub(crate) last: T,
}

impl<S, R, RB> ResponseFuture<S, R, RB>
where
    R: HttpCall,
    S: Service<R::With<ReplayBody<R::Body>>>,
{
    pub(super) const fn new(
        service: S,
        first: S::Future,
        rule: Arc<RetryLayer>,
        kept: Option<Kept<R::Body>>,
        in_flight: Option<InFlight>,
    ) -> Self {
        let state = State::Trying { inner: first };
        Self { state, service, rule, kept, in_flight, permit: None, retries: 0 }
    }
}

impl<S, R, B, RB> Future for ResponseFuture<S, R, RB>
where
    R: HttpCall<Body = B>,
    B: Body<Data = Bytes> + Unpin,
    RB: Body,
    S: Service<R::With<ReplayBody<B>>, Response = Response<RB>, Error: Into<BoxError>>,
{
    type Output = Result<Response<GuardedBody<RB, RetryGuard>>, BoxError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Task<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        loop {
            let result = match this.state.as_mut().project() {
                StateProj::Trying { inner } => {
                    let result = ready!(inner.poll(cx)).map_err(Into::into);
                    // The try is dropped before the decision: only then is its body free.
                    this.state.set(State::Between);
                    let Some(kept) = this.kept.as_mut() else {
                        return Poll::Ready(finish(result, None, None, 0));
                    };
                    match decide(this.rule, kept, &result, *this.retries) {
                        Some(Verdict::Retry { after, reservation }) => {
                            *this.permit = None;
                            let next = Some(Next { reservation, last: result });
                            this.state.set(State::Waiting { sleep: sleep(after), next });
                            continue;
                        }
                        _ => result,
                    }
                }
                StateProj::Waiting { sleep, next } => {
                    ready!(sleep.poll(cx));
                    let Next { reservation, last } =
                        next.take().expect("a wait ends once, and the state with it");
                    match reservation.start() {
                        Some(permit) => {
                            *this.permit = Some(permit);
                            remember(this.kept.as_mut(), &last);
                            this.state.set(State::Readying);
                            continue;
                        }
                        None => {
                            this.state.set(State::Between);
                            if let Some(kept) = this.kept.as_ref() {
                                tell_forbidden(this.rule, kept, Stop::Budget);
                            }
                            last
                        }
                    }
                }
                StateProj::Readying => match ready!(this.service.poll_ready(cx)) {
                    Ok(()) => {
                        let retries = *this.retries + 1;
                        let kept = this.kept.as_ref();
                        let call = kept.and_then(|kept| kept.again(retries));
                        let call = call.expect("a retry is decided on for what can be replayed");
                        *this.retries = retries;
                        if let Some(kept) = kept {
                            tell_retried(this.rule, kept, retries);
                        }
                        let inner = this.service.call(R::put_together(call));
                        this.state.set(State::Trying { inner });
                        continue;
                    }
                    Err(error) => Err(error.into()),
                },
                StateProj::Between => panic!("a future is not polled after it is ready"),
            };
            let (in_flight, permit) = (this.in_flight.take(), this.permit.take());
            // Gives the copy of the head back before the body is read.
            *this.kept = None;
            return Poll::Ready(finish(result, in_flight, permit, *this.retries));
        }
    }
}

/// Decides on another try; `None` when the try showed nothing that is ever retried, which is found
/// out without reading the clock.
pub(crate) fn decide<B, RB>(
    layer: &RetryLayer,
    kept: &Kept<B>,
    result: &Result<Response<RB>, BoxError>,
    retries: u8,
) -> Option<Verdict>
where
    B: Body<Data = Bytes> + Unpin,
{
    let signal = signal_of(result);
    let rule: &RetryRule = &layer.rule;
    if !rule.wants(signal) {
        return None;
    }
    if let Err(error) = result
        && AfterTries::count(&**error) > 1
    {
        // A hedge further in has sent it twice already.
        tell_forbidden(layer, kept, Stop::Below);
        return None;
    }
    let mut situation = Situation::new(clock::now(), signal, &kept.method);
    situation.path = kept.uri.path();
    situation.above = kept.context.attempt;
    situation.retries = retries;
    situation.replayable = kept.is_replayable();
    situation.until = kept.context.ends().map(|(until, _)| until);
    situation.headers = result.as_ref().ok().map(Response::headers);
    situation.random = fastrand::f64();
    let verdict = rule.decide(&situation, &layer.budget);
    match &verdict {
        Verdict::Retry { after, .. } => {
            if let Some(receipt) = &kept.context.receipt {
                let at = situation.now.saturating_duration_since(kept.context.started);
                receipt.push(at, Decision::Retried { attempt: retries + 1, backoff: *after });
            }
        }
        Verdict::Stop { why } => tell_forbidden(layer, kept, *why),
        _ => {}
    }
    Some(verdict)
}

/// Makes the next try go elsewhere than the last.
pub(crate) fn remember<B, RB>(kept: Option<&mut Kept<B>>, last: &Result<Response<RB>, BoxError>) {
    let Some(kept) = kept else { return };
    if kept.context.tried.is_some() {
        // From the second try on the balancer writes it down itself.
        return;
    }
    let tried = Tried::new();
    let endpoint = match last {
        Ok(response) => response.extensions().get::<ServedBy>().map(|by| by.0),
        Err(error) => Failed::find(&**error).and_then(|failed| failed.endpoint),
    };
    if let Some(endpoint) = endpoint {
        tried.push(endpoint);
    }
    kept.context.tried = Some(Arc::new(tried));
}

pub(crate) fn tell_retried<B>(layer: &RetryLayer, kept: &Kept<B>, retries: u8) {
    let attempt = kept.context.attempt.saturating_add(retries);
    let service = kept.context.service.as_ref().unwrap_or(&layer.service);
    layer.observers.emit(&Event::Retried { service, attempt, hedge: false });
}

pub(crate) fn tell_forbidden<B>(layer: &RetryLayer, kept: &Kept<B>, why: Stop) {
    let Some(by) = why.forbidden_by() else { return };
    if matches!(why, Stop::Budget) {
        // What the budget forbids here nobody above may do instead: each hop has a budget of its
        // own, and over a chain they would add up at the one who fails.
        server::note_tries(2);
    }
    if let Some(receipt) = &kept.context.receipt {
        let at = clock::now().saturating_duration_since(kept.context.started);
        receipt.push(at, Decision::NotRetried { why: by });
    }
    // That attempts are used up, or that a method has no leave, is what the policy asks for.
    if !matches!(why, Stop::Attempts | Stop::Method) {
        let service = kept.context.service.as_ref().unwrap_or(&layer.service);
        layer.observers.emit(&Event::RetryForbidden { service, why: by });
    }
}

fn finish<RB: Body>(
    result: Result<Response<RB>, BoxError>,
    in_flight: Option<InFlight>,
    permit: Option<RetryPermit>,
    retries: u8,
) -> Result<Response<GuardedBody<RB, RetryGuard>>, BoxError> {
    let response = tries::tell(result, retries)?;
    Ok(response.map(|body| GuardedBody::new(body, (in_flight, permit))))
}

impl<S, R, RB> fmt::Debug for ResponseFuture<S, R, RB>
where
    R: HttpCall,
    S: Service<R::With<ReplayBody<R::Body>>>,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture").field("retries", &self.retries).finish_non_exhaustive()
    }
}
