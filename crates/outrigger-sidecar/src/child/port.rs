//! A port for the program to listen on.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::ops::Range;

use socket2::{Domain, Socket, Type};

/// Below the ports that systems hand out for connections: such a port is not taken by somebody's
/// connection before the program listens, and an attempt to connect to it cannot meet itself, as
/// TCP allows.
const PORTS: Range<u16> = 20_000..32_000;

/// A port that nobody listens on now.
///
/// # Errors
/// Those of the last port that was tried; after 200 of them something is wrong with the machine.
pub(crate) fn free_port() -> io::Result<u16> {
    let mut last = io::Error::from(io::ErrorKind::AddrInUse);
    for _ in 0..200 {
        let port = fastrand::u16(PORTS);
        match claim(port) {
            Ok(()) => return Ok(port),
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// Binds every address at once, without listening and without reuse: nobody else may be there.
fn claim(port: u16) -> io::Result<()> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    socket.bind(&SocketAddr::from((Ipv4Addr::UNSPECIFIED, port)).into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    #[test]
    fn a_port_that_somebody_listens_on_is_not_free() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("binds");
        let port = listener.local_addr().expect("an address").port();
        assert!(claim(port).is_err());
        drop(listener);
    }

    #[test]
    fn a_free_port_can_be_listened_on() {
        let port = free_port().expect("a port");
        assert!(PORTS.contains(&port));
        let _listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).expect("it is free");
    }
}
