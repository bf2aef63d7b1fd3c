//! A connection for one request at a time.

use std::future::{self, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body::{Body, Frame};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use tokio::runtime::{self, Handle};
use tokio_util::sync::ReusableBoxFuture;

use super::OutboundBody;
use super::body::MAX_REST;
use super::connection::Sent;
use super::driver::{Connection, Driver};
use super::endpoint::{EndpointPool, keep_secs};
use super::multiplexed::Held;
use super::request_body::RequestBody;
use crate::io::Wire;

/// A connection for one request at a time: HTTP/1.1.
pub(crate) struct Single<B: OutboundBody> {
    send: http1::SendRequest<RequestBody<B>>,
    /// hyper's future has no name; kept here, its place in memory serves request after request.
    exchange: ReusableBoxFuture<'static, Sent<B>>,
    driver: Driver,
    wire: Arc<Wire>,
    /// Bytes that had been written before the present request.
    written: u64,
    pub(crate) runtime: runtime::Id,
    /// The pool's tick when it was given back.
    pub(crate) used: u32,
    /// The pool's tick at which it is too old to be used.
    pub(crate) expires: u32,
    /// Units: seconds, as the endpoint's `Keep-Alive` said.
    pub(crate) endpoint_keeps: Option<u64>,
    /// Where it belongs; `None` while it is there, or the two would keep each other for ever.
    pub(crate) home: Option<Arc<EndpointPool<B>>>,
}

impl<B: OutboundBody> Single<B> {
    pub(crate) fn new(
        send: http1::SendRequest<RequestBody<B>>,
        connection: Connection,
        wire: Arc<Wire>,
        runtime: runtime::Id,
    ) -> Self {
        let mut driver = Driver::new(connection);
        // From now on `send` is ready.
        driver.run_idle();
        Self {
            send,
            exchange: ReusableBoxFuture::new(future::pending()),
            driver,
            wire,
            written: 0,
            runtime,
            used: 0,
            expires: u32::MAX,
            endpoint_keeps: None,
            home: None,
        }
    }

    pub(crate) fn is_usable(&self, tick: u32) -> bool {
        tick < self.expires && self.send.is_ready()
    }

    /// Sees whether the endpoint has closed it: nobody else runs it while it is idle.
    pub(crate) fn look(&mut self) {
        self.driver.forget_waker();
        self.driver.run_idle();
    }

    /// Units: seconds.
    pub(crate) fn keep_for(&self, idle_timeout: Duration) -> u32 {
        keep_secs(idle_timeout, self.endpoint_keeps)
    }

    pub(crate) fn send(&mut self, mut request: Request<RequestBody<B>>) {
        self.wire.limit(HEAD_BUDGET);
        self.written = self.wire.written();
        if !request.body().is_end_stream() {
            request.body_mut().note_upload(Arc::clone(&self.wire));
        }
        self.exchange.set(self.send.try_send_request(request));
    }

    /// To be called when it is taken from where it was kept.
    pub(crate) fn wake_up(&self, tick: u32) {
        if self.used != tick {
            self.wire.probe();
        }
    }

    /// Whether no byte of the present request was written.
    pub(crate) fn is_unseen(&self) -> bool {
        self.wire.written() == self.written
    }

    pub(crate) fn poll_sent(&mut self, cx: &mut Context<'_>) -> Poll<Sent<B>> {
        let exchange = &mut self.exchange;
        let sent = ready!(self.driver.poll(cx, true, |cx| exchange.poll(cx)));
        self.wire.lift();
        if self.wire.is_uploading() {
            // The rest of the request must not wait for somebody who reads the answer.
            self.driver.detach();
        }
        Poll::Ready(sent)
    }
}

impl<B: OutboundBody> Single<B> {
    /// Lets the connection go on by itself: it is no HTTP any more.
    pub(crate) fn let_go(&mut self) {
        self.driver.detach();
    }
}

/// Held as long as a tunnel over it lasts.
impl<B: OutboundBody> Held for Single<B> {}

/// Bytes that may come before the response's head: room for a head of the largest size that can
/// be configured and for what is read ahead of the body, and an end to a flood of 1xx answers.
const HEAD_BUDGET: i64 = 2 * 1_048_576;

impl<B: OutboundBody> Drop for Single<B> {
    fn drop(&mut self) {
        if let Some(home) = self.home.take() {
            home.release();
        }
    }
}

/// An HTTP/1.1 connection whose response has been read to its end, whatever `B` is.
pub(crate) trait Kept: Send {
    /// The next frame of the body that comes over it.
    fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
        body: &mut Incoming,
    ) -> Poll<Option<hyper::Result<Frame<Bytes>>>>;

    /// Gives it back for the next request, or closes it.
    fn give_back(self: Box<Self>);

    /// Gives it back once the rest of the body has been read and thrown away, or closes it when
    /// that is long or does not come.
    fn drain(self: Box<Self>, rest: Incoming);
}

impl<B: OutboundBody> Kept for Single<B> {
    fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
        body: &mut Incoming,
    ) -> Poll<Option<hyper::Result<Frame<Bytes>>>> {
        self.driver.poll(cx, false, |cx| Pin::new(&mut *body).poll_frame(cx))
    }

    fn give_back(mut self: Box<Self>) {
        if !self.send.is_ready() {
            // An end that is told by a chunk comes before hyper is through with it.
            self.driver.run_idle();
        }
        if self.send.is_ready() {
            if let Some(home) = self.home.take() {
                home.put_back(self);
            }
        } else if !self.send.is_closed()
            && let Ok(runtime) = Handle::try_current()
            && runtime.id() == self.runtime
        {
            runtime.spawn(settle(self));
        }
    }

    fn drain(mut self: Box<Self>, mut rest: Incoming) {
        let mut left = MAX_REST;
        let mut cx = Context::from_waker(Waker::noop());
        match self.poll_rest(&mut cx, &mut rest, &mut left) {
            Poll::Ready(Drained::Whole) => self.give_back(),
            Poll::Ready(Drained::Never) => {}
            Poll::Pending => {
                if let Ok(runtime) = Handle::try_current()
                    && runtime.id() == self.runtime
                {
                    runtime.spawn(drain(self, rest, left));
                }
            }
        }
    }
}

impl<B: OutboundBody> Single<B> {
    /// Reads and throws away.
    fn poll_rest(
        &mut self,
        cx: &mut Context<'_>,
        rest: &mut Incoming,
        left: &mut u64,
    ) -> Poll<Drained> {
        loop {
            if rest.is_end_stream() {
                return Poll::Ready(Drained::Whole);
            }
            match ready!(self.poll_frame(cx, rest)) {
                None => return Poll::Ready(Drained::Whole),
                Some(Ok(frame)) => {
                    let length = frame.data_ref().map_or(0, |data| data.len() as u64);
                    let Some(less) = left.checked_sub(length) else {
                        return Poll::Ready(Drained::Never);
                    };
                    *left = less;
                }
                Some(Err(_)) => return Poll::Ready(Drained::Never),
            }
        }
    }

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<hyper::Result<()>> {
        let send = &mut self.send;
        self.driver.poll(cx, true, |cx| send.poll_ready(cx))
    }
}

/// What became of the rest of a body.
enum Drained {
    Whole,
    Never,
}

/// Reads the rest, as long as it comes quickly.
async fn drain<B: OutboundBody>(mut single: Box<Single<B>>, mut rest: Incoming, mut left: u64) {
    let reading = poll_fn(|cx| single.poll_rest(cx, &mut rest, &mut left));
    if matches!(tokio::time::timeout(DRAIN, reading).await, Ok(Drained::Whole)) {
        single.give_back();
    }
}

/// Longer, and a new connection is had sooner.
const DRAIN: Duration = Duration::from_millis(100);

/// Waits until hyper is through with the request too, which an early answer may leave half sent.
async fn settle<B: OutboundBody>(mut single: Box<Single<B>>) {
    let Some(patience) = single.home.as_ref().map(|home| home.common.config.idle_timeout) else {
        return;
    };
    let is_ready = tokio::time::timeout(patience, poll_fn(|cx| single.poll_ready(cx))).await;
    if matches!(is_ready, Ok(Ok(())))
        && let Some(home) = single.home.take()
    {
        home.put_back(single);
    }
}
