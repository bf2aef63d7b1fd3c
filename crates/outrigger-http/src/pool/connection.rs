//! One connection, and the right to use it.

use std::future::{self, Future};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::client::conn::{TrySendError, http1, http2};
use hyper::rt::Executor;
use hyper_util::rt::TokioIo;
use outrigger_core::BoxError;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::runtime::{self, Handle};
use tokio::sync::oneshot;
use tokio_util::sync::ReusableBoxFuture;

use super::OutboundBody;
use super::endpoint::{EndpointPool, keep_secs};
use super::request_body::RequestBody;
use crate::io::{Tap, Wire};

/// What sending comes to: an answer, or the request again where no byte of it was written.
pub(crate) type Sent<B> = Result<Response<Incoming>, TrySendError<Request<RequestBody<B>>>>;

/// A connection for one request at a time: HTTP/1.1.
pub(crate) struct Single<B: OutboundBody> {
    send: http1::SendRequest<RequestBody<B>>,
    /// hyper's future has no name; kept here, its place in memory serves request after request.
    exchange: ReusableBoxFuture<'static, Sent<B>>,
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
        wire: Arc<Wire>,
        runtime: runtime::Id,
    ) -> Self {
        Self {
            send,
            exchange: ReusableBoxFuture::new(future::pending()),
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

    /// Units: seconds.
    pub(crate) fn keep_for(&self, idle_timeout: Duration) -> u32 {
        keep_secs(idle_timeout, self.endpoint_keeps)
    }

    pub(crate) fn send(&mut self, request: Request<RequestBody<B>>) {
        self.wire.limit(HEAD_BUDGET);
        self.written = self.wire.written();
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
        let sent = ready!(self.exchange.poll(cx));
        self.wire.lift();
        Poll::Ready(sent)
    }
}

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
    /// Gives it back for the next request, or closes it.
    fn give_back(self: Box<Self>);
}

impl<B: OutboundBody> Kept for Single<B> {
    fn give_back(mut self: Box<Self>) {
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
}

/// Waits until hyper is through with the request too, which an early answer may leave half sent.
async fn settle<B: OutboundBody>(mut single: Box<Single<B>>) {
    let Some(patience) = single.home.as_ref().map(|home| home.common.config.idle_timeout) else {
        return;
    };
    let is_ready = tokio::time::timeout(patience, single.send.ready()).await;
    if matches!(is_ready, Ok(Ok(())))
        && let Some(home) = single.home.take()
    {
        home.put_back(single);
    }
}

/// A connection for many requests at once: HTTP/2.
pub(crate) struct Multiplexed<B: OutboundBody> {
    send: http2::SendRequest<RequestBody<B>>,
    wire: Arc<Wire>,
    /// Changed only under the lock of its home.
    streams: AtomicU32,
    /// What the endpoint allows at present.
    allowed: Arc<AtomicUsize>,
    /// Nothing new is sent over it: the endpoint is about to close it.
    is_leaving: AtomicBool,
    /// The pool's tick at its last use.
    used: AtomicU32,
    pub(crate) runtime: runtime::Id,
    home: Weak<EndpointPool<B>>,
}

impl<B: OutboundBody> Multiplexed<B> {
    pub(crate) fn streams(&self) -> usize {
        self.streams.load(Ordering::Relaxed) as usize
    }

    pub(crate) fn limit(&self, most: usize) -> usize {
        // Never 0: an endpoint that allows nothing for a moment does not tell when it does again,
        // except to hyper, with whom one request waits for it.
        self.allowed.load(Ordering::Relaxed).clamp(1, most)
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.is_leaving.load(Ordering::Relaxed) || self.send.is_closed()
    }

    pub(crate) fn has_room(&self, most: usize) -> bool {
        !self.is_closed() && self.streams() < self.limit(most)
    }

    /// Units: `keep` in ticks.
    pub(crate) fn is_over(&self, tick: u32, keep: u32) -> bool {
        self.streams() == 0 && tick.saturating_sub(self.used.load(Ordering::Relaxed)) >= keep
    }

    pub(crate) fn use_at(&self, tick: u32) {
        let before = self.used.swap(tick, Ordering::Relaxed);
        if before != tick {
            self.wire.probe();
        }
    }

    pub(crate) fn end_stream(&self) {
        self.streams.fetch_sub(1, Ordering::Relaxed);
    }

    /// Sends nothing new over it; what is on its way may end.
    pub(crate) fn leave(&self) {
        self.is_leaving.store(true, Ordering::Relaxed);
    }
}

/// The right to one stream of a connection.
pub(crate) struct Stream<B: OutboundBody> {
    connection: Option<Arc<Multiplexed<B>>>,
    /// Bytes that had been written before its request.
    written: u64,
}

impl<B: OutboundBody> Stream<B> {
    /// To be called under the lock of its home.
    pub(crate) fn begin(connection: &Arc<Multiplexed<B>>) -> Self {
        connection.streams.fetch_add(1, Ordering::Relaxed);
        Self { connection: Some(Arc::clone(connection)), written: 0 }
    }

    /// Ends it where the lock of its home is held already.
    pub(crate) fn end_unused(mut self) {
        if let Some(connection) = self.connection.take() {
            connection.end_stream();
        }
    }

    pub(crate) fn send(
        &mut self,
        request: Request<RequestBody<B>>,
    ) -> Option<Pin<Box<dyn Future<Output = Sent<B>> + Send>>> {
        let connection = self.connection.as_ref()?;
        self.written = connection.wire.written();
        Some(Box::pin(connection.send.clone().try_send_request(request)))
    }

    /// Whether no byte was written since its request was handed over.
    pub(crate) fn is_unseen(&self) -> bool {
        self.connection.as_ref().is_some_and(|conn| conn.wire.written() == self.written)
    }

    pub(crate) fn leave(&self) {
        if let Some(connection) = &self.connection {
            connection.leave();
        }
    }
}

impl<B: OutboundBody> Drop for Stream<B> {
    fn drop(&mut self) {
        if let Some(connection) = self.connection.take()
            && let Some(home) = connection.home.upgrade()
        {
            home.release_stream(&connection);
        }
    }
}

/// Held as long as a response's body, whatever `B` is; its drop ends the stream.
pub(crate) trait Held: Send {}

impl<B: OutboundBody> Held for Stream<B> {}

/// The right to send one request.
pub(crate) enum Leased<B: OutboundBody> {
    Single(Box<Single<B>>),
    Stream(Stream<B>),
}

/// Starts HTTP/1.1 on a stream.
pub(crate) async fn handshake_http1<B: OutboundBody, T>(
    stream: T,
    wire: Arc<Wire>,
    max_head_bytes: u32,
    runtime: &Handle,
) -> Result<Box<Single<B>>, hyper::Error>
where
    T: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let tap = TokioIo::new(Tap::new(stream, Arc::clone(&wire)));
    let (send, connection) =
        http1::Builder::new().max_buf_size(max_head_bytes as usize).handshake(tap).await?;
    runtime.spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!(error = &error as &dyn std::error::Error, "connection ended");
        }
    });
    Ok(Box::new(Single::new(send, wire, runtime.id())))
}

/// Starts HTTP/2 on a stream, and waits for the endpoint's settings: only then is it known that it
/// speaks HTTP/2 at all, and how many streams it allows.
pub(crate) async fn handshake_http2<B: OutboundBody, T>(
    stream: T,
    wire: Arc<Wire>,
    runtime: &Handle,
    home: &Arc<EndpointPool<B>>,
) -> Result<Arc<Multiplexed<B>>, BoxError>
where
    T: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let tap = TokioIo::new(Tap::new(stream, Arc::clone(&wire)));
    let (tell, heard) = oneshot::channel();
    let ears = Ears(Arc::new(Mutex::new(Some((Arc::clone(&wire), tell)))));
    let (send, connection) = http2::Builder::new(ears)
        .max_header_list_size(home.common.config.max_head_bytes)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .handshake(tap)
        .await?;
    let allowed = Arc::new(AtomicUsize::new(usize::MAX));
    let (tell, told) = oneshot::channel();
    let driver =
        Driver { connection, allowed: Arc::clone(&allowed), heard: Some(heard), tell: Some(tell) };
    runtime.spawn(driver);
    told.await.map_err(|_| NoPreface)??;
    Ok(Arc::new(Multiplexed {
        send,
        wire,
        streams: AtomicU32::new(0),
        allowed,
        is_leaving: AtomicBool::new(false),
        used: AtomicU32::new(0),
        runtime: runtime.id(),
        home: Arc::downgrade(home),
    }))
}

/// Bytes that one response may be ahead of its reader: back-pressure, and a bound on what an
/// endpoint can make us hold.
const STREAM_WINDOW: u32 = 256 * 1024;
const CONNECTION_WINDOW: u32 = 1024 * 1024;

/// The endpoint ended the connection before it had said anything.
#[derive(Debug, thiserror::Error)]
#[error("the endpoint sent no HTTP/2 preface")]
struct NoPreface;

/// Spawns what hyper asks for, and listens to the first of it, which is the task that reads.
#[derive(Clone)]
struct Ears(Arc<Mutex<Option<FirstTask>>>);

/// What the first task is watched with.
type FirstTask = (Arc<Wire>, oneshot::Sender<()>);

impl<F: Future<Output = ()> + Send + 'static> Executor<F> for Ears {
    fn execute(&self, future: F) {
        let first = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        match first {
            None => drop(tokio::spawn(future)),
            Some((wire, tell)) => {
                tokio::spawn(Reading { future, wire, tell: Some(tell) });
            }
        }
    }
}

pin_project_lite::pin_project! {
    /// The task that reads; tells once it has read something, and has acted on it.
    struct Reading<F> {
        #[pin]
        future: F,
        wire: Arc<Wire>,
        tell: Option<oneshot::Sender<()>>,
    }
}

impl<F: Future<Output = ()>> Future for Reading<F> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.project();
        let polled = this.future.poll(cx);
        if this.tell.is_some() && this.wire.has_spoken() {
            // Whoever opened the connection may have run out of time.
            let _ = this.tell.take().map(|tell| tell.send(()));
        }
        polled
    }
}

pin_project_lite::pin_project! {
    /// Takes requests for an HTTP/2 connection, and follows what the endpoint allows.
    struct Driver<T, B>
    where
        B: OutboundBody,
        T: AsyncRead,
        T: AsyncWrite,
        T: Send,
        T: Unpin,
        T: 'static,
    {
        #[pin]
        connection: http2::Connection<TokioIo<Tap<T>>, RequestBody<B>, Ears>,
        allowed: Arc<AtomicUsize>,
        heard: Option<oneshot::Receiver<()>>,
        tell: Option<oneshot::Sender<Result<(), hyper::Error>>>,
    }
}

impl<T, B: OutboundBody> Future for Driver<T, B>
where
    T: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let mut this = self.project();
        let mut has_heard = false;
        if let Some(heard) = this.heard.as_mut() {
            match Pin::new(heard).poll(cx) {
                Poll::Ready(Ok(())) => has_heard = true,
                Poll::Ready(Err(_)) => *this.heard = None,
                Poll::Pending => {}
            }
        }
        let polled = this.connection.as_mut().poll(cx);
        this.allowed.store(this.connection.current_max_send_streams(), Ordering::Relaxed);
        let (ended, result) = match polled {
            Poll::Pending if !has_heard => return Poll::Pending,
            Poll::Pending => (Poll::Pending, Ok(())),
            Poll::Ready(Ok(())) if this.tell.is_some() => {
                // Ended before it had said anything.
                return Poll::Ready(());
            }
            Poll::Ready(result) => (Poll::Ready(()), result),
        };
        if has_heard {
            *this.heard = None;
        }
        match (this.tell.take(), result) {
            // Whoever opened the connection may have run out of time.
            (Some(tell), result) => drop(tell.send(result)),
            (None, Err(error)) => {
                tracing::debug!(error = &error as &dyn std::error::Error, "connection ended");
            }
            (None, Ok(())) => {}
        }
        ended
    }
}
