//! Starting HTTP on a stream, and the tasks that run it from then on.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use hyper::client::conn::{http1, http2};
use hyper::rt::Executor;
use hyper_util::rt::TokioIo;
use outrigger_core::BoxError;
use tokio::runtime::Handle;
use tokio::sync::oneshot;

use super::OutboundBody;
use super::endpoint::EndpointPool;
use super::multiplexed::Multiplexed;
use super::request_body::RequestBody;
use super::single::Single;
use crate::io::{Probed, Stream, Tap, Wire};

/// Starts HTTP/1.1 on a stream.
pub(crate) async fn handshake_http1<B: OutboundBody>(
    stream: Stream<Probed>,
    wire: Arc<Wire>,
    max_head_bytes: u32,
    runtime: &Handle,
) -> Result<Box<Single<B>>, hyper::Error> {
    let tap = TokioIo::new(Tap::new(stream, Arc::clone(&wire)));
    let (send, connection) =
        http1::Builder::new().max_buf_size(max_head_bytes as usize).handshake(tap).await?;
    Ok(Box::new(Single::new(send, Box::pin(connection.with_upgrades()), wire, runtime.id())))
}

/// Starts HTTP/2 on a stream, and waits for the endpoint's settings: only then is it known that it
/// speaks HTTP/2 at all, and how many streams it allows.
pub(crate) async fn handshake_http2<B: OutboundBody>(
    stream: Stream<Probed>,
    wire: Arc<Wire>,
    runtime: &Handle,
    home: &Arc<EndpointPool<B>>,
) -> Result<Arc<Multiplexed<B>>, BoxError> {
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
    Ok(Arc::new(Multiplexed::new(send, wire, allowed, runtime.id(), home)))
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
    struct Driver<B>
    where
        B: OutboundBody,
    {
        #[pin]
        connection: http2::Connection<TokioIo<Tap<Stream<Probed>>>, RequestBody<B>, Ears>,
        allowed: Arc<AtomicUsize>,
        heard: Option<oneshot::Receiver<()>>,
        tell: Option<oneshot::Sender<Result<(), hyper::Error>>>,
    }
}

impl<B: OutboundBody> Future for Driver<B> {
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
