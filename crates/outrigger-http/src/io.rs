//! A stream that is watched on its way into hyper.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// What is seen on a connection from outside of hyper.
#[derive(Debug)]
pub(crate) struct Wire {
    /// Bytes that may still be read before the response's head is there. Bounds an endless row of
    /// 1xx answers, which hyper skips for as long as they come.
    budget: AtomicI64,
    /// Whether the endpoint has sent anything.
    spoken: AtomicBool,
}

impl Wire {
    pub(crate) const fn new() -> Self {
        Self { budget: AtomicI64::new(i64::MAX), spoken: AtomicBool::new(false) }
    }

    /// Allows `bytes` until [`Wire::lift`].
    pub(crate) fn limit(&self, bytes: i64) {
        self.budget.store(bytes, Ordering::Relaxed);
    }

    /// The head is there: its body is bounded by back-pressure instead.
    pub(crate) fn lift(&self) {
        self.budget.store(i64::MAX, Ordering::Relaxed);
    }

    pub(crate) fn has_spoken(&self) -> bool {
        self.spoken.load(Ordering::Acquire)
    }
}

/// More came before the response's head than any honest endpoint sends.
#[derive(Debug, thiserror::Error)]
#[error("too many bytes before the response's head")]
pub(crate) struct HeadFlood;

/// A stream whose reads are counted.
#[derive(Debug)]
pub(crate) struct Tap<T> {
    inner: T,
    wire: Arc<Wire>,
}

impl<T> Tap<T> {
    pub(crate) const fn new(inner: T, wire: Arc<Wire>) -> Self {
        Self { inner, wire }
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Tap<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.inner).poll_read(cx, buf))?;
        let read = buf.filled().len() - before;
        if read > 0 {
            if !self.wire.spoken.load(Ordering::Relaxed) {
                self.wire.spoken.store(true, Ordering::Release);
            }
            let read = i64::try_from(read).unwrap_or(i64::MAX);
            // A `lift` that comes between two reads stands, since this only subtracts; from
            // `i64::MAX` no connection lives long enough to reach zero.
            if self.wire.budget.fetch_sub(read, Ordering::Relaxed) < read {
                return Poll::Ready(Err(io::Error::other(HeadFlood)));
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Tap<T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write_vectored(cx, bufs)
    }
}
