//! A stream that is watched on its way into hyper.

use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

mod socket;
mod stream;

pub(crate) use socket::Socket;
pub(crate) use stream::Stream;

/// What is seen on a connection from outside of hyper.
#[derive(Debug)]
pub(crate) struct Wire {
    /// Bytes that may still be read before the response's head is there. Bounds an endless row of
    /// 1xx answers, which hyper skips for as long as they come.
    budget: AtomicI64,
    /// Whether the endpoint has sent anything.
    spoken: AtomicBool,
    /// Bytes written so far. What was asked for while this stood still was never seen.
    written: AtomicU64,
    /// Look at the socket itself before the next write.
    probe: AtomicBool,
    /// Whether a request's body is still being sent.
    uploading: AtomicBool,
    /// Whether the socket has no room for what there is to write.
    is_full: AtomicBool,
}

impl Wire {
    pub(crate) const fn new() -> Self {
        Self {
            budget: AtomicI64::new(i64::MAX),
            spoken: AtomicBool::new(false),
            written: AtomicU64::new(0),
            probe: AtomicBool::new(false),
            uploading: AtomicBool::new(false),
            is_full: AtomicBool::new(false),
        }
    }

    pub(crate) fn set_uploading(&self, is: bool) {
        self.uploading.store(is, Ordering::Release);
    }

    /// Whether a part of the request is on its way still: with its body, or with hyper, which lets
    /// go of a body long before the socket has taken all of it.
    pub(crate) fn is_uploading(&self) -> bool {
        self.uploading.load(Ordering::Acquire) || self.is_full.load(Ordering::Acquire)
    }

    /// Takes note of what became of a write.
    fn note<T>(&self, wrote: &Poll<T>) {
        // Whoever writes tries until all is written or there is no room.
        self.is_full.store(wrote.is_pending(), Ordering::Release);
    }

    pub(crate) fn written(&self) -> u64 {
        self.written.load(Ordering::Acquire)
    }

    fn note_written(&self, bytes: usize) {
        self.written.fetch_add(bytes as u64, Ordering::Release);
        // Too late to ask: from now on an answer may be there.
        self.probe.store(false, Ordering::Relaxed);
    }

    /// Has the socket itself asked, before the next request goes out, whether the endpoint has
    /// closed it: after a while without traffic the runtime may not have looked yet.
    pub(crate) fn probe(&self) {
        self.probe.store(true, Ordering::Release);
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

/// Has a stream that only looks at what is read pass on what is written, to its `inner`.
macro_rules! forward_writes {
    ($stream:ident) => {
        impl<T: tokio::io::AsyncWrite + Unpin> tokio::io::AsyncWrite for $stream<T> {
            fn poll_write(
                mut self: std::pin::Pin<&mut Self>,
                cx: &mut std::task::Context<'_>,
                buf: &[u8],
            ) -> std::task::Poll<std::io::Result<usize>> {
                std::pin::Pin::new(&mut self.inner).poll_write(cx, buf)
            }

            fn poll_flush(
                mut self: std::pin::Pin<&mut Self>,
                cx: &mut std::task::Context<'_>,
            ) -> std::task::Poll<std::io::Result<()>> {
                std::pin::Pin::new(&mut self.inner).poll_flush(cx)
            }

            fn poll_shutdown(
                mut self: std::pin::Pin<&mut Self>,
                cx: &mut std::task::Context<'_>,
            ) -> std::task::Poll<std::io::Result<()>> {
                std::pin::Pin::new(&mut self.inner).poll_shutdown(cx)
            }

            fn is_write_vectored(&self) -> bool {
                self.inner.is_write_vectored()
            }

            fn poll_write_vectored(
                mut self: std::pin::Pin<&mut Self>,
                cx: &mut std::task::Context<'_>,
                bufs: &[std::io::IoSlice<'_>],
            ) -> std::task::Poll<std::io::Result<usize>> {
                std::pin::Pin::new(&mut self.inner).poll_write_vectored(cx, bufs)
            }
        }
    };
}

pub(crate) use forward_writes;

/// Has a stream that is one of several kinds read and write as the one that it is.
///
/// In brackets what stands behind `impl`, then the type, then its variants, of one stream each.
macro_rules! forward_kinds {
    ([$($generics:tt)*] $stream:ty, $($(#[$only:meta])? $kind:ident),+) => {
        impl $($generics)* tokio::io::AsyncRead for $stream {
            #[inline]
            fn poll_read(
                self: std::pin::Pin<&mut Self>,
                cx: &mut std::task::Context<'_>,
                buf: &mut tokio::io::ReadBuf<'_>,
            ) -> std::task::Poll<std::io::Result<()>> {
                match self.get_mut() {
                    $($(#[$only])? Self::$kind(stream) => {
                        std::pin::Pin::new(stream).poll_read(cx, buf)
                    })+
                }
            }
        }

        impl $($generics)* tokio::io::AsyncWrite for $stream {
            #[inline]
            fn poll_write(
                self: std::pin::Pin<&mut Self>,
                cx: &mut std::task::Context<'_>,
                buf: &[u8],
            ) -> std::task::Poll<std::io::Result<usize>> {
                match self.get_mut() {
                    $($(#[$only])? Self::$kind(stream) => {
                        std::pin::Pin::new(stream).poll_write(cx, buf)
                    })+
                }
            }

            #[inline]
            fn poll_flush(
                self: std::pin::Pin<&mut Self>,
                cx: &mut std::task::Context<'_>,
            ) -> std::task::Poll<std::io::Result<()>> {
                match self.get_mut() {
                    $($(#[$only])? Self::$kind(stream) => std::pin::Pin::new(stream).poll_flush(cx),)+
                }
            }

            fn poll_shutdown(
                self: std::pin::Pin<&mut Self>,
                cx: &mut std::task::Context<'_>,
            ) -> std::task::Poll<std::io::Result<()>> {
                match self.get_mut() {
                    $($(#[$only])? Self::$kind(stream) => {
                        std::pin::Pin::new(stream).poll_shutdown(cx)
                    })+
                }
            }

            #[inline]
            fn is_write_vectored(&self) -> bool {
                match self {
                    $($(#[$only])? Self::$kind(stream) => stream.is_write_vectored(),)+
                }
            }

            #[inline]
            fn poll_write_vectored(
                self: std::pin::Pin<&mut Self>,
                cx: &mut std::task::Context<'_>,
                bufs: &[std::io::IoSlice<'_>],
            ) -> std::task::Poll<std::io::Result<usize>> {
                match self.get_mut() {
                    $($(#[$only])? Self::$kind(stream) => {
                        std::pin::Pin::new(stream).poll_write_vectored(cx, bufs)
                    })+
                }
            }
        }
    };
}

pub(crate) use forward_kinds;

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

forward_writes!(Tap);

/// The socket below everything else.
#[derive(Debug)]
pub(crate) struct Probed {
    inner: Socket,
    wire: Arc<Wire>,
    /// Over HTTP/1.1 in the clear nothing may come that was not asked for; TLS and HTTP/2 have
    /// messages of their own.
    is_plain: bool,
}

impl Probed {
    pub(crate) const fn new(inner: Socket, wire: Arc<Wire>, is_plain: bool) -> Self {
        Self { inner, wire, is_plain }
    }

    /// What the kernel knows that the runtime has not been told yet.
    #[cold]
    fn look(&self) -> io::Result<Looks> {
        let mut byte = [MaybeUninit::uninit()];
        match self.inner.as_ref().peek(&mut byte) {
            Ok(0) => Ok(Looks::Closed),
            Ok(_) if self.is_plain => Err(io::Error::other(Unasked)),
            Ok(_) => Ok(Looks::Alive),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(Looks::Alive),
            Err(error) => Err(error),
        }
    }
}

enum Looks {
    Alive,
    Closed,
}

/// An answer came before its question.
#[derive(Debug, thiserror::Error)]
#[error("the endpoint sent what nobody asked for")]
struct Unasked;

impl AsyncRead for Probed {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match Pin::new(&mut self.inner).poll_read(cx, buf) {
            // hyper reads before it takes the next request, which it gives back when it finds the
            // connection closed; once it has been written, nobody can tell whether it was seen.
            Poll::Pending if self.wire.probe.load(Ordering::Relaxed) => {
                self.wire.probe.store(false, Ordering::Relaxed);
                match self.look()? {
                    Looks::Alive => Poll::Pending,
                    Looks::Closed => Poll::Ready(Ok(())),
                }
            }
            polled => polled,
        }
    }
}

impl AsyncWrite for Probed {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let wrote = Pin::new(&mut self.inner).poll_write(cx, buf);
        self.wire.note(&wrote);
        let wrote = ready!(wrote)?;
        self.wire.note_written(wrote);
        Poll::Ready(Ok(wrote))
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
        let wrote = Pin::new(&mut self.inner).poll_write_vectored(cx, bufs);
        self.wire.note(&wrote);
        let wrote = ready!(wrote)?;
        self.wire.note_written(wrote);
        Poll::Ready(Ok(wrote))
    }
}
