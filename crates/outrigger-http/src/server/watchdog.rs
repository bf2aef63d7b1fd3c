//! Closing connections whose peer takes too long.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, ReadBuf};
use tokio::time::{Sleep, sleep};

use super::request::Activity;
use crate::io::forward_writes;

/// Watches one connection; hyper's own header timeout counts the idle time between two requests
/// too, and has no other for it.
#[derive(Debug)]
pub(crate) struct Watchdog {
    activity: Arc<Activity>,
    header_timeout: Duration,
    /// A quarter of the idle timeout: idleness is counted in these, so that a request arms no
    /// timer and reads no clock.
    quarter: Duration,
    alarm: Pin<Box<Sleep>>,
    /// Armed for a head that has begun.
    in_head: bool,
    /// Whether heads are timed: in HTTP/2 any frame may come between requests.
    times_heads: bool,
    quiet_quarters: u32,
    seen_begun: u64,
}

impl Watchdog {
    /// From now on, the first request has the header timeout to arrive.
    pub(crate) fn new(
        activity: Arc<Activity>,
        header_timeout: Duration,
        idle_timeout: Duration,
        times_heads: bool,
    ) -> Self {
        Self {
            activity,
            header_timeout,
            quarter: idle_timeout / 4,
            alarm: Box::pin(sleep(header_timeout)),
            in_head: true,
            times_heads,
            quiet_quarters: 0,
            seen_begun: 0,
        }
    }

    /// Whether a head is overdue, to which there is no answer to wait for.
    pub(crate) fn is_in_head(&self) -> bool {
        // A head that arrived just now has a handler already, whom nobody may cut.
        self.in_head && self.activity.begun() == self.seen_begun
    }

    /// Whether a request is in flight.
    pub(crate) fn is_busy(&self) -> bool {
        self.activity.is_busy()
    }

    /// Time for what the peer owes: a head, or the answer to a goodbye.
    pub(crate) const fn patience(&self) -> Duration {
        self.header_timeout
    }

    /// Ready when the connection is to be closed. To be polled after the connection itself.
    pub(crate) fn poll_expired(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let begun = self.activity.begun();
        if begun != self.seen_begun {
            // A head arrived whole: the alarm that was set for it has no meaning any more.
            self.seen_begun = begun;
            self.quiet_quarters = 0;
            if self.in_head {
                self.in_head = false;
                self.alarm.set(sleep(self.quarter));
            }
        }
        if !self.in_head
            && self.times_heads
            && !self.activity.is_busy()
            && self.activity.has_begun_head()
        {
            self.in_head = true;
            self.alarm.set(sleep(self.header_timeout));
        }
        loop {
            ready!(self.alarm.as_mut().poll(cx));
            if self.in_head {
                return Poll::Ready(());
            }
            self.quiet_quarters = if self.activity.is_busy() { 0 } else { self.quiet_quarters + 1 };
            if self.quiet_quarters > 4 {
                return Poll::Ready(());
            }
            self.alarm.set(sleep(self.quarter));
        }
    }
}

/// A stream that tells when bytes come.
#[derive(Debug)]
pub(crate) struct Watched<T> {
    pub(crate) inner: T,
    pub(crate) activity: Arc<Activity>,
}

impl<T: AsyncRead + Unpin> AsyncRead for Watched<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.inner).poll_read(cx, buf))?;
        if buf.filled().len() > before {
            self.activity.note_bytes();
        }
        Poll::Ready(Ok(()))
    }
}

forward_writes!(Watched);
