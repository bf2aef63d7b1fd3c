//! A response's body, and with it the connection that it comes over.

use std::fmt;
use std::mem;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use outrigger_core::{Failed, FailureKind};

use super::multiplexed::Held;
use super::single::Kept;

/// The body of a response; gives the connection back at its end.
///
/// Dropped before its end it resets an HTTP/2 stream; an HTTP/1.1 connection is kept if the rest is
/// short and comes at once, and closed otherwise. An error is a [`Failed`] of kind `Reset`, and the
/// end of the body.
pub struct PoolBody {
    /// `None` only while it is dropped.
    incoming: Option<Incoming>,
    lease: Lease,
    endpoint: SocketAddr,
}

/// What is held until the body's end.
pub(crate) enum Lease {
    None,
    Single(Box<dyn Kept>),
    /// Held only for its drop.
    Stream(#[expect(dead_code, reason = "its drop ends the stream")] Box<dyn Held>),
}

impl PoolBody {
    pub(crate) fn new(incoming: Incoming, lease: Lease, endpoint: SocketAddr) -> Self {
        let is_end = incoming.is_end_stream();
        let mut body = Self { incoming: Some(incoming), lease, endpoint };
        if is_end {
            body.end();
        }
        body
    }

    fn end(&mut self) {
        if let Lease::Single(single) = mem::replace(&mut self.lease, Lease::None) {
            single.give_back();
        }
    }
}

impl Body for PoolBody {
    type Data = Bytes;
    type Error = Failed;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Failed>>> {
        let this = &mut *self;
        let Some(incoming) = &mut this.incoming else { return Poll::Ready(None) };
        let frame = ready!(match &mut this.lease {
            Lease::Single(single) => single.poll_frame(cx, incoming),
            _ => Pin::new(&mut *incoming).poll_frame(cx),
        });
        let is_end = incoming.is_end_stream();
        Poll::Ready(match frame {
            Some(Ok(frame)) => {
                if is_end {
                    this.end();
                }
                Some(Ok(frame))
            }
            None => {
                this.end();
                None
            }
            Some(Err(error)) => {
                this.lease = Lease::None;
                let failed = Failed::new(FailureKind::Reset).with_endpoint(this.endpoint);
                Some(Err(failed.with_cause(error)))
            }
        })
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.as_ref().is_none_or(Incoming::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.as_ref().map_or_else(SizeHint::default, Incoming::size_hint)
    }
}

impl Drop for PoolBody {
    fn drop(&mut self) {
        // Nobody reads the body of an error that is retried: if each of them cost a connection, an
        // endpoint in trouble would be made to open new ones all the time.
        if let Lease::Single(single) = mem::replace(&mut self.lease, Lease::None)
            && let Some(incoming) = self.incoming.take()
            && incoming.size_hint().lower() <= MAX_REST
        {
            single.drain(incoming);
        }
    }
}

/// Units: bytes. More is not worth a connection.
pub(crate) const MAX_REST: u64 = 64 * 1024;

impl fmt::Debug for PoolBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PoolBody").field("endpoint", &self.endpoint).finish_non_exhaustive()
    }
}
