//! One type for whatever bytes go over.

use tokio::io::{AsyncRead, AsyncWrite};

use super::forward_kinds;

/// Bytes both ways.
pub(crate) trait Io: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

/// A stream in the clear, or one of any other kind.
///
/// hyper's and h2's code of a connection is made for each type of stream: with one type there is
/// one copy of it for each kind of body, and not one for TLS and one more for each kind of socket.
///
/// Cost: what is in the clear is told by one branch, all else by a call through a table.
pub(crate) enum Stream<P> {
    Plain(P),
    /// TLS, a unix socket, a tunnel.
    Other(Box<dyn Io>),
}

impl<P> Stream<P> {
    pub(crate) fn other(stream: impl Io + 'static) -> Self {
        Self::Other(Box::new(stream))
    }
}

forward_kinds!([<P: Io>] Stream<P>, Plain, Other);
