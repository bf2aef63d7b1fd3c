//! One request on its way through the pool.

use std::error::Error;
use std::fmt;
use std::future::Future;
use std::iter;
use std::mem;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};

use http::{Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper::client::conn::TrySendError;
use outrigger_core::{BoxError, Failed, FailureKind};
use tokio::sync::oneshot;

use super::OutboundBody;
use super::body::{Lease, PoolBody};
use super::connection::{Leased, Sent};
use super::endpoint::{Checkout, EndpointPool, Handed};
use super::multiplexed::Stream;
use super::request_body::{self, RequestBody};
use super::single::Single;
use crate::hygiene;
use crate::upgrade::{Switch, Switched};

/// The future of [`Pool`](super::Pool)'s service.
///
/// # Cancel safety
/// Dropping it gives everything back: a place in the queue, a stream; an HTTP/1.1 connection that
/// the request was written to is closed.
#[must_use = "futures do nothing unless polled"]
pub struct ResponseFuture<B: OutboundBody> {
    endpoint: Arc<EndpointPool<B>>,
    state: State<B>,
    /// A kept connection turned out closed, and a fresh one was asked for.
    is_second: bool,
    /// What the endpoint was asked to switch to.
    switch: Option<Switch>,
}

enum State<B: OutboundBody> {
    /// Waits for a connection. Boxed: the request is large, and a kept connection is the rule.
    Waiting(Box<Waiting<B>>),
    Single(Box<Single<B>>),
    Stream(Stream<B>, Box<Exchange<B>>),
    Failed(Failed),
    Done,
}

struct Waiting<B: OutboundBody> {
    handed: oneshot::Receiver<Handed<B>>,
    request: Request<RequestBody<B>>,
}

/// A request on a stream of HTTP/2.
struct Exchange<B: OutboundBody> {
    sent: Pin<Box<dyn Future<Output = Sent<B>> + Send>>,
    /// Whether the caller's own body failed.
    broken: Arc<AtomicBool>,
}

impl<B: OutboundBody> ResponseFuture<B> {
    #[inline]
    pub(crate) fn start(endpoint: Arc<EndpointPool<B>>, request: Request<B>) -> Self {
        let mut future = Self { endpoint, state: State::Done, is_second: false, switch: None };
        if request.method() == Method::CONNECT {
            future.fail(FailureKind::ConnectFailure, NoConnect);
        } else {
            future.check_out(request.map(RequestBody::new));
        }
        future
    }

    fn fail(&mut self, kind: FailureKind, cause: impl Into<BoxError>) {
        self.state = State::Failed(self.endpoint.failed(kind).with_cause(cause));
    }

    #[inline]
    fn check_out(&mut self, request: Request<RequestBody<B>>) {
        match self.endpoint.checkout(self.is_second) {
            Checkout::Ready(leased) => self.send(leased, request),
            Checkout::Wait(handed) => {
                self.state = State::Waiting(Box::new(Waiting { handed, request }));
            }
            Checkout::Overloaded(failed) => self.state = State::Failed(failed),
        }
    }

    #[inline]
    fn send(&mut self, leased: Leased<B>, mut request: Request<RequestBody<B>>) {
        let is_tls = self.endpoint.protocol().is_tls();
        let is_http2 = matches!(leased, Leased::Stream(_));
        let waits = hygiene::prepare(&mut request, &self.endpoint.own_name, is_http2, is_tls);
        self.switch = request.extensions_mut().remove::<Switch>();
        if let Some(switch) = &self.switch {
            if is_http2 {
                return self.fail(FailureKind::ConnectFailure, NoUpgrade);
            }
            switch.ask(request.headers_mut());
        }
        match leased {
            Leased::Single(mut single) => {
                if waits {
                    request_body::hold_back(&mut request);
                }
                single.send(request);
                self.state = State::Single(single);
            }
            Leased::Stream(mut stream) => {
                let broken = Arc::new(AtomicBool::new(false));
                request.body_mut().note_failure(Arc::clone(&broken));
                if let Some(sent) = stream.send(request) {
                    self.state = State::Stream(stream, Box::new(Exchange { sent, broken }));
                }
            }
        }
    }

    #[inline]
    fn answer_single(
        &self,
        mut single: Box<Single<B>>,
        mut response: Response<Incoming>,
    ) -> Result<Response<PoolBody>, Failed> {
        if response.status() == StatusCode::SWITCHING_PROTOCOLS {
            return self.switched(single, response);
        }
        match hygiene::clean_answer(response.headers_mut()) {
            Ok(Some(secs)) => single.endpoint_keeps = Some(secs),
            Ok(None) => {}
            // Dropped, the connection is closed.
            Err(error) => {
                return Err(self.endpoint.failed(FailureKind::Reset).with_cause(error));
            }
        }
        Ok(self.answer(response, Lease::Single(single)))
    }

    /// The endpoint speaks another protocol from now on: the one that it was asked for, or none.
    #[cold]
    fn switched(
        &self,
        mut single: Box<Single<B>>,
        mut response: Response<Incoming>,
    ) -> Result<Response<PoolBody>, Failed> {
        let is_granted =
            self.switch.as_ref().is_some_and(|switch| switch.is_granted(response.headers()));
        if !is_granted {
            // Dropped, the connection is closed.
            return Err(self.endpoint.failed(FailureKind::Reset).with_cause(UnaskedUpgrade));
        }
        let on = hyper::upgrade::on(&mut response);
        if let Err(error) = hygiene::clean_answer(response.headers_mut()) {
            return Err(self.endpoint.failed(FailureKind::Reset).with_cause(error));
        }
        single.let_go();
        response.extensions_mut().insert(Switched::new(on, single));
        Ok(self.answer(response, Lease::None))
    }

    #[inline]
    fn answer(&self, response: Response<Incoming>, lease: Lease) -> Response<PoolBody> {
        let address = self.endpoint.address();
        response.map(|body| PoolBody::new(body, lease, address))
    }

    #[cold]
    fn single_in_vain(&mut self, single: Box<Single<B>>, error: Unsent<B>) {
        let blame = if single.is_unseen() { Blame::Unseen } else { Blame::Wire };
        drop(single);
        self.sent_in_vain(error, blame);
    }

    #[cold]
    fn stream_in_vain(&mut self, stream: Stream<B>, error: Unsent<B>, is_own_fault: bool) {
        let blame = match is_own_fault {
            true => Blame::Caller,
            false if stream.is_unseen() => Blame::Unseen,
            false => Blame::Wire,
        };
        drop(stream);
        self.sent_in_vain(error, blame);
    }

    /// Sending failed: the request goes again where no byte of it was written, once.
    fn sent_in_vain(&mut self, mut error: Unsent<B>, blame: Blame) {
        let request = error.take_message();
        let error = error.into_error();
        match request {
            Some(request) if !self.is_second => {
                self.is_second = true;
                self.check_out(request);
            }
            // Whatever the error is called, hyper has not written anything.
            Some(_) => self.fail(FailureKind::ConnectFailure, error),
            None => {
                let kind = match (blame, kind_of(&error)) {
                    (Blame::Caller, _) => FailureKind::RequestBody,
                    (Blame::Unseen, FailureKind::Reset) => FailureKind::ConnectFailure,
                    (_, kind) => kind,
                };
                self.fail(kind, error);
            }
        }
    }
}

type Unsent<B> = TrySendError<Request<RequestBody<B>>>;

impl<B: OutboundBody> Future for ResponseFuture<B> {
    type Output = Result<Response<PoolBody>, Failed>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        loop {
            match &mut this.state {
                State::Single(single) => {
                    let sent = ready!(single.poll_sent(cx));
                    let State::Single(single) = mem::replace(&mut this.state, State::Done) else {
                        unreachable!("the state was just looked at")
                    };
                    match sent {
                        Ok(response) => return Poll::Ready(this.answer_single(single, response)),
                        Err(error) => this.single_in_vain(single, error),
                    }
                }
                State::Stream(stream, exchange) => {
                    let sent = ready!(exchange.sent.as_mut().poll(cx));
                    let is_own_fault = exchange.broken.load(Ordering::Acquire);
                    if sent.is_err() && !is_own_fault {
                        note_goodbye(stream, &sent);
                    }
                    let State::Stream(stream, _) = mem::replace(&mut this.state, State::Done)
                    else {
                        unreachable!("the state was just looked at")
                    };
                    match sent {
                        Ok(mut response) => {
                            // h2 has refused what frames otherwise; equal lengths are its own.
                            let _of_http1 = hygiene::clean_answer(response.headers_mut());
                            let lease = Lease::Stream(Box::new(stream));
                            return Poll::Ready(Ok(this.answer(response, lease)));
                        }
                        Err(error) => this.stream_in_vain(stream, error, is_own_fault),
                    }
                }
                State::Waiting(waiting) => {
                    let handed = ready!(Pin::new(&mut waiting.handed).poll(cx));
                    let State::Waiting(waiting) = mem::replace(&mut this.state, State::Done) else {
                        unreachable!("the state was just looked at")
                    };
                    match handed {
                        Ok(Ok(leased)) => this.send(leased, waiting.request),
                        Ok(Err(failed)) => return Poll::Ready(Err(failed)),
                        Err(_) => this.fail(FailureKind::ConnectFailure, PoolGone),
                    }
                }
                State::Failed(_) => {
                    let State::Failed(failed) = mem::replace(&mut this.state, State::Done) else {
                        unreachable!("the state was just looked at")
                    };
                    return Poll::Ready(Err(failed));
                }
                // Polled again after its end: nothing more comes.
                State::Done => return Poll::Pending,
            }
        }
    }
}

impl<B: OutboundBody> fmt::Debug for ResponseFuture<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match &self.state {
            State::Waiting(_) => "waiting",
            State::Single(_) | State::Stream(..) => "sent",
            State::Failed(_) | State::Done => "done",
        };
        f.debug_struct("ResponseFuture")
            .field("endpoint", &self.endpoint)
            .field("state", &state)
            .finish_non_exhaustive()
    }
}

/// What is known of a failure besides hyper's error.
enum Blame {
    /// The caller's own body failed.
    Caller,
    /// Not a byte was written since the request was handed over.
    Unseen,
    /// Neither.
    Wire,
}

/// `CONNECT` opens a tunnel, which the pool does not do.
#[derive(Debug, thiserror::Error)]
#[error("CONNECT is not supported")]
struct NoConnect;

/// HTTP/2 has no upgrade.
#[derive(Debug, thiserror::Error)]
#[error("an endpoint that speaks HTTP/2 cannot be asked to upgrade")]
struct NoUpgrade;

/// The endpoint switched protocols unasked.
#[derive(Debug, thiserror::Error)]
#[error("the endpoint switched protocols unasked")]
struct UnaskedUpgrade;

/// The runtime that was to open the connection was shut down.
#[derive(Debug, thiserror::Error)]
#[error("the runtime that was opening the connection has ended")]
struct PoolGone;

/// What an error of hyper's, after the first byte was written, means for the request.
fn kind_of(error: &hyper::Error) -> FailureKind {
    if error.is_user() {
        return FailureKind::RequestBody;
    }
    match h2_error(error) {
        Some(h2) if is_unseen(h2) => FailureKind::RefusedStream,
        _ => FailureKind::Reset,
    }
}

fn h2_error(error: &hyper::Error) -> Option<&h2::Error> {
    iter::successors(Some(error as &dyn Error), |&e| e.source()).find_map(|e| e.downcast_ref())
}

/// Whether the endpoint said that it has not looked at the stream: REFUSED_STREAM, or a GOAWAY
/// whose last stream came before it (h2 tells only such streams of a GOAWAY).
fn is_unseen(error: &h2::Error) -> bool {
    error.is_remote() && (error.is_go_away() || error.reason() == Some(h2::Reason::REFUSED_STREAM))
}

/// After a GOAWAY nothing new is sent over the connection, even if it stays open for a while.
fn note_goodbye<B: OutboundBody>(stream: &Stream<B>, sent: &Sent<B>) {
    // A request that comes back unsent says the same: the connection takes no more.
    let is_goodbye = sent.as_ref().err().is_some_and(|error| {
        error.message().is_some() || h2_error(error.error()).is_some_and(h2::Error::is_go_away)
    });
    if is_goodbye {
        stream.leave();
    }
}
