//! One call on its way, in one place in memory.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context as Task, Poll, ready};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use outrigger_core::{BoxError, Call, Dispatch, Failed, FailureKind, MAX_ATTEMPT};
use outrigger_retry::{InFlight, Reservation, RetryPermit, Stop, Verdict};
use pin_project_lite::pin_project;
use tokio::time::{Sleep, sleep};
use tower_service::Service;

use super::layer::Plan;
use crate::balance::{Flight, Seat};
use crate::circuit_breaker::{CircuitGuard, Flight as CircuitFlight};
use crate::concurrency::ConcurrencyPermit;
use crate::observe::About;
use crate::retry::{Kept, Next, RetryGuard, decide, remember, tell_forbidden, tell_retried};
use crate::signal::signal_of;
use crate::timeout::Bounds;
use crate::timer::Timer;
use crate::{GuardedBody, ReplayBody, TimedBody, clock, rate_limit, tries};

/// The body of an answer, with what the request holds until its end; innermost first.
pub(super) type HeldBody<B> = TimedBody<GuardedBody<B, (Held, (RetryGuard, Option<CircuitGuard>))>>;

/// What a try holds until its body's end.
type Held = (Option<ConcurrencyPermit>, Option<Seat>);

/// A try's answer, and what comes with it.
type Answer<RB> = (Result<Response<RB>, BoxError>, Held);

pin_project! {
    /// One call on its way: its request, then its tries, then the body of its answer.
    ///
    /// It is some 1,500 bytes, which stay where they are; once its call has ended the place is
    /// another call's.
    // The fields are in the order in which a drop gives them back: from the wire outwards.
    pub(super) struct Exchange<S, B, RB>
    where
        S: Service<Dispatch<Request<ReplayBody<B>>>>,
    {
        #[pin]
        state: State<S::Future, B, RB>,
        #[pin]
        body: Option<HeldBody<RB>>,
        tried: Try,
        kept: Option<Kept<B>>,
        in_flight: Option<InFlight>,
        permit: Option<RetryPermit>,
        circuit: Option<CircuitFlight>,
        about: Option<About>,
        tell: Option<(u32, u32)>,
        bounds: Bounds,
        #[pin]
        timer: Timer<FailureKind>,
        retries: u8,
        // Asked whether it is ready, and not called since: it may have taken something for a call.
        is_asked: bool,
        service: S,
        plan: Arc<Plan>,
    }
}

/// What a try holds until its head.
#[derive(Default)]
struct Try {
    permit: Option<ConcurrencyPermit>,
    flight: Option<Flight>,
}

pin_project! {
    #[project = StateProj]
    enum State<F, B, RB> {
        // Not polled yet.
        Called { request: Option<Request<B>> },
        // Waits for the service to be ready.
        Readying { request: Option<Request<ReplayBody<B>>> },
        Trying { #[pin] inner: F },
        Waiting { #[pin] sleep: Sleep, next: Option<Next<Answer<RB>>> },
        Between,
    }
}

impl<S, B, RB> Exchange<S, B, RB>
where
    S: Service<Dispatch<Request<ReplayBody<B>>>>,
{
    /// Place for a call.
    pub(super) const fn new(service: S, plan: Arc<Plan>) -> Self {
        Self {
            state: State::Between,
            body: None,
            tried: Try { permit: None, flight: None },
            kept: None,
            in_flight: None,
            permit: None,
            circuit: None,
            about: None,
            tell: None,
            bounds: Bounds { ends: None, deadline: None, idle: None },
            timer: Timer::new(None),
            retries: 0,
            is_asked: false,
            service,
            plan,
        }
    }

    /// Whether another call may have this place. Not one whose service still holds what it took
    /// for a call that never came, a permit or a place in a queue, nor one that panicked over it.
    pub(super) const fn is_reusable(&self) -> bool {
        !self.is_asked
    }

    /// The body of the answer, once there is one.
    pub(super) fn body(self: Pin<&mut Self>) -> Option<Pin<&mut HeldBody<RB>>> {
        self.project().body.as_pin_mut()
    }

    pub(super) const fn body_ref(&self) -> Option<&HeldBody<RB>> {
        self.body.as_ref()
    }

    /// Gives back whatever the call still holds, from the wire outwards; the timer stays.
    pub(super) fn clear(self: Pin<&mut Self>) {
        let mut this = self.project();
        this.state.set(State::Between);
        this.body.set(None);
        *this.tried = Try::default();
        *this.kept = None;
        *this.in_flight = None;
        *this.permit = None;
        *this.circuit = None;
        *this.about = None;
        *this.tell = None;
        this.timer.rest();
    }
}

impl<S, B, RB> Exchange<S, B, RB>
where
    S: Service<Dispatch<Request<ReplayBody<B>>>>,
    B: Body<Data = Bytes> + Unpin,
{
    /// Puts a call in this place.
    #[inline]
    pub(super) fn put(self: Pin<&mut Self>, call: Call<Request<B>>) {
        let mut this = self.project();
        *this.kept = Some(Kept::of(call.context));
        this.state.set(State::Called { request: Some(call.request) });
        *this.retries = 0;
    }
}

impl<S, B, RB> Exchange<S, B, RB>
where
    B: Body<Data = Bytes> + Unpin,
    RB: Body<Error: Into<BoxError>>,
    S: Service<Dispatch<Request<ReplayBody<B>>>, Response = Response<RB>, Error: Into<BoxError>>,
{
    /// The head of the answer; its body is there from then on.
    pub(super) fn poll(
        mut self: Pin<&mut Self>,
        cx: &mut Task<'_>,
    ) -> Poll<Result<Response<()>, BoxError>> {
        loop {
            let mut this = self.as_mut().project();
            let answer: Answer<RB> = match this.state.as_mut().project() {
                StateProj::Called { request } => {
                    let request = request.take().expect("a call begins once");
                    match self.as_mut().begin(request) {
                        Ok(request) => {
                            let request = Some(request);
                            self.as_mut().project().state.set(State::Readying { request });
                            continue;
                        }
                        Err(error) => {
                            return Poll::Ready(self.finish((Err(error), (None, None))));
                        }
                    }
                }
                StateProj::Readying { request } => {
                    *this.is_asked = true;
                    match this.service.poll_ready(cx) {
                        Poll::Ready(Ok(())) => {}
                        Poll::Ready(Err(error)) => {
                            return Poll::Ready(self.finish((Err(error.into()), (None, None))));
                        }
                        Poll::Pending => {
                            ready!(self.as_mut().poll_time(cx));
                            return Poll::Ready(self.out_of_time());
                        }
                    }
                    let request = request.take().expect("a try begins once");
                    match self.as_mut().send(request) {
                        Ok(()) => continue,
                        Err(error) => self.as_mut().land(Err(error)),
                    }
                }
                StateProj::Trying { inner } => match inner.poll(cx) {
                    Poll::Ready(result) => self.as_mut().land(result.map_err(Into::into)),
                    Poll::Pending => match ready!(self.as_mut().poll_time(cx)) {
                        FailureKind::TryTimeout => {
                            // The connection is given up before anybody decides on another try.
                            self.as_mut().project().state.set(State::Between);
                            self.as_mut().land(Err(Failed::new(FailureKind::TryTimeout).into()))
                        }
                        _ => return Poll::Ready(self.out_of_time()),
                    },
                },
                StateProj::Waiting { sleep, next } => {
                    if sleep.poll(cx).is_pending() {
                        ready!(self.as_mut().poll_time(cx));
                        return Poll::Ready(self.out_of_time());
                    }
                    let next = next.take().expect("a wait ends once, and the state with it");
                    this.state.set(State::Between);
                    let Next { reservation, last } = next;
                    match self.as_mut().again(reservation, &last.0) {
                        Some(request) => {
                            // Its body may be what the connection waits for.
                            drop(last);
                            let request = Some(request);
                            self.as_mut().project().state.set(State::Readying { request });
                            continue;
                        }
                        None => return Poll::Ready(self.finish(last)),
                    }
                }
                StateProj::Between => panic!("a future is not polled after it is ready"),
            };
            match self.as_mut().judge(&answer.0) {
                Some((after, reservation)) => {
                    let next = Some(Next { reservation, last: answer });
                    let mut this = self.as_mut().project();
                    this.timer.as_mut().reset(this.bounds.ends);
                    this.state.set(State::Waiting { sleep: sleep(after), next });
                }
                None => return Poll::Ready(self.finish(answer)),
            }
        }
    }
    /// Everything in front of the first try.
    #[inline]
    fn begin(
        self: Pin<&mut Self>,
        request: Request<B>,
    ) -> Result<Request<ReplayBody<B>>, BoxError> {
        let this = self.project();
        let plan = &**this.plan;
        let kept = this.kept.as_mut().expect("the context is there until the answer");
        *this.about = plan.observed.about(&kept.context, request.method());
        for limit in &plan.limits {
            let tell = limit.admit(&kept.context, &request)?;
            // The outermost writes last.
            *this.tell = this.tell.or(tell.0);
        }
        *this.bounds = plan.timeout.bound(&mut kept.context)?;
        this.timer.wake(this.bounds.ends);
        if let Some(circuit) = &plan.circuit {
            *this.circuit = Some(circuit.admit(&kept.context)?);
        }
        let rule = &plan.retry.rule;
        if rule.is_off() {
            return Ok(request.map(ReplayBody::once));
        }
        let request = kept.keep(request, rule.body_limit());
        *this.in_flight = Some(plan.retry.budget.begin_request());
        Ok(request)
    }

    /// Begins a try.
    #[inline]
    fn send(self: Pin<&mut Self>, mut request: Request<ReplayBody<B>>) -> Result<(), BoxError> {
        let mut this = self.project();
        let plan = &**this.plan;
        let kept = this.kept.as_ref().expect("the context is there until the answer");
        let mut context = kept.context.clone();
        context.attempt = context.attempt.saturating_add(*this.retries).min(MAX_ATTEMPT);
        let flight = plan.balance.pick(&context, &request)?;
        let endpoint = flight.endpoint().clone();
        this.tried.flight = Some(flight);
        if let Some(capacity) = &plan.capacity {
            this.tried.permit = Some(capacity.admit(&context)?);
        }
        if let Some(until) = plan.per_try.until() {
            this.timer.as_mut().reset(Some(sooner(until, this.bounds.ends)));
        } else if *this.retries > 0 {
            this.timer.as_mut().reset(this.bounds.ends);
        }
        plan.stamp.stamp(&context, &mut request);
        let dispatch = Dispatch { context, endpoint, request };
        let inner = this.service.call(dispatch);
        *this.is_asked = false;
        this.state.set(State::Trying { inner });
        Ok(())
    }

    /// Tells capacity and balancer what became of a try.
    #[inline]
    fn land(self: Pin<&mut Self>, mut result: Result<Response<RB>, BoxError>) -> Answer<RB> {
        let mut this = self.project();
        // The try is dropped before the decision: only then is its body free.
        this.state.set(State::Between);
        let mut permit = this.tried.permit.take();
        if let Err(error) = &result
            && let Some(permit) = permit.take()
        {
            permit.fail(error);
        }
        let flight = this.tried.flight.take();
        let mut seat = flight.and_then(|flight| flight.land(&mut result, clock::now()));
        if result.is_err() {
            seat = None;
        }
        (result, (permit, seat))
    }

    /// Decides on another try, and how long it is put off; `None` when this was the last.
    #[inline]
    fn judge(
        self: Pin<&mut Self>,
        result: &Result<Response<RB>, BoxError>,
    ) -> Option<(Duration, Reservation)> {
        let this = self.project();
        let retry = &*this.plan.retry;
        if retry.rule.is_off() {
            return None;
        }
        match decide(retry, this.kept.as_mut()?, result, *this.retries) {
            Some(Verdict::Retry { after, reservation }) => {
                *this.permit = None;
                Some((after, reservation))
            }
            _ => None,
        }
    }

    /// The request once more, after its wait, unless nothing is left for it by now.
    #[cold]
    fn again(
        self: Pin<&mut Self>,
        reservation: Reservation,
        last: &Result<Response<RB>, BoxError>,
    ) -> Option<Request<ReplayBody<B>>> {
        let this = self.project();
        let retry = &*this.plan.retry;
        let kept = this.kept.as_mut()?;
        let Some(permit) = reservation.start() else {
            tell_forbidden(retry, kept, Stop::Budget);
            return None;
        };
        *this.permit = Some(permit);
        remember(Some(kept), last);
        let retries = *this.retries + 1;
        *this.retries = retries;
        let request = kept.again(retries);
        let call = request.expect("a retry is decided on for what can be replayed");
        tell_retried(retry, kept, retries);
        Some(call.request)
    }

    fn poll_time(self: Pin<&mut Self>, cx: &mut Task<'_>) -> Poll<FailureKind> {
        self.project().timer.poll(cx)
    }

    /// The request's time is over. All that it holds is given back now, so that its endpoint, its
    /// permits and its circuit hear of it while the clock still says what ended it.
    #[cold]
    fn out_of_time(self: Pin<&mut Self>) -> Result<Response<()>, BoxError> {
        let mut this = self.project();
        let kind = this.bounds.ends.map_or(FailureKind::Timeout, |(_, kind)| kind);
        this.state.set(State::Between);
        *this.tried = Try::default();
        *this.kept = None;
        *this.in_flight = None;
        *this.permit = None;
        *this.circuit = None;
        let result = Err(Failed::new(kind).into());
        if let Some(about) = this.about.take() {
            about.tell(&result, clock::now());
        }
        result
    }

    /// Tells everybody else what became of the request.
    #[inline]
    fn finish(self: Pin<&mut Self>, answer: Answer<RB>) -> Result<Response<()>, BoxError> {
        let mut this = self.project();
        this.state.set(State::Between);
        let (result, held) = answer;
        // Gives the copy of the head back before the body is read.
        *this.kept = None;
        let mut result = tries::tell(result, *this.retries);
        let retry = (this.in_flight.take(), this.permit.take());
        let now = clock::now();
        let circuit = this.circuit.take().map(|flight| flight.land(signal_of(&result), now));
        if let Ok(response) = &mut result {
            rate_limit::Tell(*this.tell).write(response.headers_mut());
        }
        if let Some(about) = this.about.take() {
            about.tell(&result, now);
        }
        let (head, body) = result?.into_parts();
        let response = Response::from_parts(head, ());
        let bounds = this.bounds.of(&response);
        let guarded = GuardedBody::new(body, (held, (retry, circuit)));
        this.body.set(Some(TimedBody::new(guarded, bounds)));
        Ok(response)
    }
}

/// What comes first, and what it means.
fn sooner(until: Instant, ends: Option<(Instant, FailureKind)>) -> (Instant, FailureKind) {
    match ends {
        Some(ends) if ends.0 < until => ends,
        _ => (until, FailureKind::TryTimeout),
    }
}

impl<S, B, RB> fmt::Debug for Exchange<S, B, RB>
where
    S: Service<Dispatch<Request<ReplayBody<B>>>>,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Exchange").field("retries", &self.retries).finish_non_exhaustive()
    }
}
