//! Accepting, without a busy loop when the process is out of file descriptors.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Waits for a place and then for a connection; `None` once there are no more places to be had.
///
/// # Cancel safety
/// Cancel safe: a connection that was not given out stays in the kernel's backlog.
pub(crate) async fn accept(
    listener: &TcpListener,
    places: &Arc<Semaphore>,
) -> Option<(TcpStream, SocketAddr, OwnedSemaphorePermit)> {
    let place = Arc::clone(places).acquire_owned().await.ok()?;
    let mut pause = FIRST_PAUSE;
    loop {
        match listener.accept().await {
            Ok((tcp, address)) => return Some((tcp, address, place)),
            Err(error) if is_of_that_connection(&error) => {}
            Err(error) => {
                // The connection stays in the backlog, so the listener stays readable: without a
                // pause this would spin at full speed until a descriptor is free.
                tracing::warn!(%error, "accepting pauses");
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
        }
    }
}

const FIRST_PAUSE: Duration = Duration::from_millis(10);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// Whether the error says that one peer went away before it was accepted.
fn is_of_that_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionRefused
            | io::ErrorKind::Interrupted
    )
}
