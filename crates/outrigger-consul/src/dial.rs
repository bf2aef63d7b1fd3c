//! How a connection comes about.

use std::fmt;
use std::io;

use outrigger_discovery::BoxFuture;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

/// A stream of bytes to somebody, such as a `TcpStream`; implemented for everything that fits.
pub trait Dialed: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Dialed for T {}

/// Opens the connections of the adapter that go over TCP: to the agent, and to instances of which it
/// has to be known whether they still accept one.
///
/// For whoever needs another way than the machine's own sockets: a tunnel, a simulated network. TLS,
/// where it is configured, is spoken over what comes back.
pub trait Dial: fmt::Debug + Send + Sync {
    /// Opens a connection to a name or an IP address (an IPv6 one without brackets). The caller
    /// bounds the time.
    ///
    /// # Errors
    /// Whatever the network says.
    ///
    /// # Cancel safety
    /// Dropped half-way, nothing may be left behind.
    fn dial<'a>(
        &'a self,
        host: &'a str,
        port: u16,
    ) -> BoxFuture<'a, io::Result<Box<dyn Dialed + 'static>>>;
}

/// The machine's own sockets.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct TcpDial;

impl Dial for TcpDial {
    fn dial<'a>(
        &'a self,
        host: &'a str,
        port: u16,
    ) -> BoxFuture<'a, io::Result<Box<dyn Dialed + 'static>>> {
        Box::pin(async move {
            let stream = TcpStream::connect((host, port)).await?;
            stream.set_nodelay(true)?;
            Ok(Box::new(stream) as Box<dyn Dialed>)
        })
    }
}
