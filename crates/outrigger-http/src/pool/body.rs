//! A response's body, and with it the connection that it comes over.

use std::fmt;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use outrigger_core::{Failed, FailureKind};

use super::connection::{Held, Kept};

/// The body of a response; gives the connection back at its end.
///
/// Dropped before its end it closes an HTTP/1.1 connection and resets an HTTP/2 stream. An error is
/// a [`Failed`] of kind `Reset`, and the end of the body.
pub struct PoolBody {
    incoming: Incoming,
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
        let mut body = Self { incoming, lease, endpoint };
        if body.incoming.is_end_stream() {
            body.end();
        }
        body
    }

    fn end(&mut self) {
        if let Lease::Single(single) = std::mem::replace(&mut self.lease, Lease::None) {
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
        let frame = ready!(Pin::new(&mut self.incoming).poll_frame(cx));
        Poll::Ready(match frame {
            Some(Ok(frame)) => {
                if self.incoming.is_end_stream() {
                    self.end();
                }
                Some(Ok(frame))
            }
            None => {
                self.end();
                None
            }
            Some(Err(error)) => {
                self.lease = Lease::None;
                let failed = Failed::new(FailureKind::Reset).with_endpoint(self.endpoint);
                Some(Err(failed.with_cause(error)))
            }
        })
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}

impl fmt::Debug for PoolBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PoolBody").field("endpoint", &self.endpoint).finish_non_exhaustive()
    }
}
