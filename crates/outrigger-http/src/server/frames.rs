//! What stands in front of h2 on an HTTP/2 connection: a budget for frames that ask for work and
//! bring none.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

use super::activity::Activity;

/// A stream whose HTTP/2 frames are counted, and that ends when a peer sends too many idle ones.
#[derive(Debug)]
pub(crate) struct Frames<T> {
    inner: T,
    activity: Arc<Activity>,
    /// What is left to skip: of the preface, and of a frame's payload.
    skip: usize,
    head: [u8; HEAD],
    have: usize,
    purse: Purse,
}

const HEAD: usize = 9;
const PREFACE: usize = 24;

/// Units: quarters of a token. A token is what one idle frame costs.
#[derive(Debug)]
struct Purse {
    left: i64,
    /// Requests answered when that was last paid for.
    finished: u64,
    /// When it was filled by time the last time; never before it ran out the first time.
    filled: Option<Instant>,
}

/// What a peer may send without having earned it: far more than any client does, and a few
/// milliseconds of work.
const FULL: i64 = 1_024 * 4;
/// Per second, whatever the peer does: pings of health checks, cancelled calls.
const PER_SECOND: i64 = 100 * 4;
/// For each request that was answered: its window updates, a ping to measure the bandwidth with.
const PER_ANSWER: i64 = 4 * 4;
/// One quarter for so many bytes written: a long answer is acknowledged by window updates.
const WRITTEN_PER_QUARTER: usize = 16;
/// One quarter for so many bytes of body read.
const READ_PER_QUARTER: usize = 256;

impl<T> Frames<T> {
    pub(crate) const fn new(inner: T, activity: Arc<Activity>) -> Self {
        let purse = Purse { left: FULL, finished: 0, filled: None };
        Self { inner, activity, skip: PREFACE, head: [0; HEAD], have: 0, purse }
    }

    /// Steps over what has come; `false` when the purse is empty.
    fn walk(&mut self, mut bytes: &[u8]) -> bool {
        loop {
            let step = self.skip.min(bytes.len());
            self.skip -= step;
            bytes = &bytes[step..];
            if bytes.is_empty() {
                return true;
            }
            let step = (HEAD - self.have).min(bytes.len());
            self.head[self.have..self.have + step].copy_from_slice(&bytes[..step]);
            self.have += step;
            bytes = &bytes[step..];
            if self.have < HEAD {
                return true;
            }
            self.have = 0;
            let [a, b, c, kind, flags, ..] = self.head;
            self.skip = usize::from(a) << 16 | usize::from(b) << 8 | usize::from(c);
            if !self.pay(kind, flags, self.skip) {
                return false;
            }
        }
    }

    fn pay(&mut self, kind: u8, flags: u8, length: usize) -> bool {
        match kind {
            // A message, or the beginning of one. What a message costs is what its answer earns,
            // so that one that is reset before its answer has earned nothing.
            HEADERS => return true,
            DATA if length > 0 || flags & END_STREAM != 0 => {
                self.purse.earn((length / READ_PER_QUARTER) as i64);
                return true;
            }
            WINDOW_UPDATE => self.purse.left -= 2,
            _ => self.purse.left -= 4,
        }
        self.purse.left >= 0 || self.refill()
    }

    #[cold]
    fn refill(&mut self) -> bool {
        let finished = self.activity.finished();
        let answers = finished - self.purse.finished;
        self.purse.finished = finished;
        self.purse.earn(i64::try_from(answers).unwrap_or(i64::MAX).saturating_mul(PER_ANSWER));
        if self.purse.left >= 0 {
            return true;
        }
        #[expect(
            clippy::disallowed_methods,
            reason = "read only when a peer has used up its purse"
        )]
        let now = Instant::now();
        let Some(before) = self.purse.filled.replace(now) else {
            // The first time: the connection is at least as old as the first full purse.
            self.purse.left = FULL / 4;
            return true;
        };
        let millis = i64::try_from(now.duration_since(before).as_millis()).unwrap_or(i64::MAX);
        self.purse.earn(millis.saturating_mul(PER_SECOND) / 1_000);
        if self.purse.left < 0 {
            tracing::debug!("an HTTP/2 peer floods; its connection is closed");
        }
        self.purse.left >= 0
    }
}

impl Purse {
    fn earn(&mut self, quarters: i64) {
        self.left = self.left.saturating_add(quarters).min(FULL);
    }
}

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const WINDOW_UPDATE: u8 = 8;
const END_STREAM: u8 = 1;

impl<T: AsyncRead + Unpin> AsyncRead for Frames<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let before = buf.filled().len();
        ready!(Pin::new(&mut this.inner).poll_read(cx, buf))?;
        let read = &buf.filled()[before..];
        if !read.is_empty() {
            this.activity.note_bytes(read.len());
            if !this.walk(read) {
                return Poll::Ready(Err(io::Error::other(Flood)));
            }
        }
        Poll::Ready(Ok(()))
    }
}

/// More idle frames than any honest client sends.
#[derive(Debug, thiserror::Error)]
#[error("too many frames that carry nothing")]
struct Flood;

impl<T: AsyncWrite + Unpin> Frames<T> {
    fn note_write(&mut self, polled: &Poll<io::Result<usize>>) {
        match polled {
            Poll::Pending => self.activity.note_waiting(),
            Poll::Ready(Ok(wrote)) => {
                self.activity.note_moved(*wrote);
                self.purse.earn((wrote / WRITTEN_PER_QUARTER) as i64);
            }
            Poll::Ready(Err(_)) => {}
        }
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Frames<T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.inner).poll_write(cx, buf);
        self.note_write(&polled);
        polled
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
        let polled = Pin::new(&mut self.inner).poll_write_vectored(cx, bufs);
        self.note_write(&polled);
        polled
    }
}
