//! Where connections come from.

use std::io;
use std::net::SocketAddr;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};

/// A connection as the agent uses it; implemented for everything that fits.
pub trait Io: AsyncRead + AsyncWrite + Unpin + Send + 'static {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send + 'static> Io for T {}

/// Accepts the agent's connections: the machine's sockets, or those of a simulated network.
pub trait Listen: Send + 'static {
    /// One connection.
    type Io: Io;

    /// The next connection and who opened it.
    ///
    /// # Errors
    /// Whatever the network says; the agent tries again.
    ///
    /// # Cancel safety
    /// Dropped before it answers, no connection may be lost.
    fn accept(&mut self) -> impl Future<Output = io::Result<(Self::Io, SocketAddr)>> + Send;
}

impl Listen for TcpListener {
    type Io = TcpStream;

    async fn accept(&mut self) -> io::Result<(TcpStream, SocketAddr)> {
        let (stream, peer) = Self::accept(self).await?;
        // Without it a blocking query's answer waits for the client's next acknowledgement.
        let _kept_delay = stream.set_nodelay(true);
        Ok((stream, peer))
    }
}
