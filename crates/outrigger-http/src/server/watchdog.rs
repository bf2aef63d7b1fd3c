//! Closing connections whose peer takes too long.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::time::{Sleep, sleep};

use super::activity::Activity;
use crate::ServerConfig;

/// Watches one connection; hyper's own header timeout counts the idle time between two requests
/// too, and has no other for it.
#[derive(Debug)]
pub(crate) struct Watchdog {
    activity: Arc<Activity>,
    header_timeout: Duration,
    idle_timeout: Duration,
    body_timeout: Duration,
    /// A part of the idle timeout, and of that for bodies: both are counted in these, so that a
    /// request arms no timer and reads no clock.
    round: Duration,
    /// Bytes that a peer who has to move moves in a round; with less it is slow.
    least: u64,
    alarm: Pin<Box<Sleep>>,
    /// Armed for a head that has begun.
    in_head: bool,
    /// Whether heads are timed: in HTTP/2 any frame may come between requests.
    times_heads: bool,
    quiet_rounds: u32,
    slow_rounds: u32,
    seen_begun: u64,
    seen_moved: u64,
    is_slow: bool,
}

impl Watchdog {
    /// From now on, the first request has the header timeout to arrive.
    pub(crate) fn new(activity: Arc<Activity>, config: &ServerConfig, times_heads: bool) -> Self {
        let round = (config.idle_timeout / 4).min(config.body_timeout / 8);
        let least = u64::from(config.min_rate) * round.as_millis() as u64 / 1_000;
        Self {
            activity,
            header_timeout: config.header_timeout,
            idle_timeout: config.idle_timeout,
            body_timeout: config.body_timeout,
            round,
            least,
            alarm: Box::pin(sleep(config.header_timeout)),
            in_head: true,
            times_heads,
            quiet_rounds: 0,
            slow_rounds: 0,
            seen_begun: 0,
            seen_moved: 0,
            is_slow: false,
        }
    }

    /// Whether a head is overdue, to which there is no answer to wait for.
    pub(crate) fn is_in_head(&self) -> bool {
        // A head that arrived just now has a handler already, whom nobody may cut.
        self.in_head && self.activity.begun() == self.seen_begun
    }

    /// Whether it is closed for a peer that does not move: there is nothing to wait for.
    pub(crate) const fn is_slow(&self) -> bool {
        self.is_slow
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
            self.quiet_rounds = 0;
            if self.in_head {
                self.in_head = false;
                self.alarm.set(sleep(self.round));
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
            if self.activity.is_busy() {
                self.quiet_rounds = 0;
                if self.has_been_slow() {
                    self.is_slow = true;
                    return Poll::Ready(());
                }
                // Polled once more, the connection says anew whether it waits for its peer.
                cx.waker().wake_by_ref();
            } else {
                self.slow_rounds = 0;
                self.quiet_rounds += 1;
                // The first may have begun at any time.
                if self.round * (self.quiet_rounds - 1) >= self.idle_timeout {
                    return Poll::Ready(());
                }
            }
            self.alarm.set(sleep(self.round));
        }
    }

    /// Whether the peer has had to move for as long as a body may take, and has hardly done so.
    fn has_been_slow(&mut self) -> bool {
        let moved = self.activity.moved();
        let before = std::mem::replace(&mut self.seen_moved, moved);
        let is_slow = self.activity.take_waiting() && moved - before < self.least;
        self.slow_rounds = if is_slow { self.slow_rounds + 1 } else { 0 };
        self.round * self.slow_rounds >= self.body_timeout
    }
}
