//! Plain TCP to a service: discovery, balance by connections, ejection, timeouts, bytes counted.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use outrigger::ServiceClient;
use outrigger::balance::{Completion, InFlight, PickRequest};
use outrigger::core::FailureKind;
use outrigger::http::{TunnelConfig, tunnel};
use outrigger::tower::clock;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// Time for one endpoint to take a connection.
const CONNECT: Duration = Duration::from_secs(1);
/// Time without a byte in either direction.
const IDLE: Duration = Duration::from_secs(3_600);
/// Endpoints that are tried for one connection.
const TRIES: usize = 3;

/// What went through a plain TCP upstream.
#[derive(Debug, Default)]
pub struct TcpCounts {
    connections: AtomicU64,
    open: AtomicU64,
    failed: AtomicU64,
    forth: AtomicU64,
    back: AtomicU64,
}

impl TcpCounts {
    /// Connections so far.
    #[must_use]
    pub fn connections(&self) -> u64 {
        self.connections.load(Relaxed)
    }

    /// Connections that are open.
    #[must_use]
    pub fn open(&self) -> u64 {
        self.open.load(Relaxed)
    }

    /// Connections for which no endpoint was found.
    #[must_use]
    pub fn failed(&self) -> u64 {
        self.failed.load(Relaxed)
    }

    /// Bytes to endpoints, and bytes from them, of connections that have ended.
    #[must_use]
    pub fn bytes(&self) -> (u64, u64) {
        (self.forth.load(Relaxed), self.back.load(Relaxed))
    }
}

/// A local port whose connections go to the endpoints of one service.
#[derive(Clone, Debug)]
pub(crate) struct TcpUpstream {
    pub(crate) service: ServiceClient,
    pub(crate) counts: Arc<TcpCounts>,
}

impl TcpUpstream {
    /// Serves until `stop` says so; what is open then is cut with its runtime.
    pub(crate) async fn serve(self, listener: TcpListener, mut stop: watch::Receiver<bool>) {
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                _ = stop.wait_for(|stop| *stop) => return,
            };
            match accepted {
                Ok((near, _)) => drop(tokio::spawn(self.clone().carry(near))),
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                Err(error) => {
                    // Out of file descriptors: the connection waits where it is.
                    tracing::warn!(%error, "accepting pauses");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
    }

    async fn carry(self, near: TcpStream) {
        let counts = &*self.counts;
        counts.connections.fetch_add(1, Relaxed);
        let Some((far, seat)) = self.connect().await else {
            counts.failed.fetch_add(1, Relaxed);
            // A reset tells what an orderly close would hide: nobody was there.
            let _ = socket2::SockRef::from(&near).set_linger(Some(Duration::ZERO));
            return;
        };
        counts.open.fetch_add(1, Relaxed);
        let _ = near.set_nodelay(true);
        let config = TunnelConfig::default().with_idle_timeout(IDLE);
        let carried = tunnel(near, far, config).await;
        counts.forth.fetch_add(carried.forth, Relaxed);
        counts.back.fetch_add(carried.back, Relaxed);
        counts.open.fetch_sub(1, Relaxed);
        drop(seat);
    }

    /// A connection to an endpoint, and its place among those in flight there.
    async fn connect(&self) -> Option<(TcpStream, InFlight)> {
        self.service.known().await;
        let mut tried: Vec<SocketAddr> = Vec::new();
        let mut chance = fastrand::Rng::new();
        while tried.len() < TRIES {
            let ask = PickRequest::new(clock::now()).with_avoid(&tried);
            let pick = self.service.endpoints().pick(&ask, &mut chance).ok()?;
            let address = pick.endpoint().address();
            let connecting = tokio::time::timeout(CONNECT, TcpStream::connect(address)).await;
            match connecting.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())) {
                Ok(far) => {
                    let _ = far.set_nodelay(true);
                    return Some((far, pick.complete(&Completion::success(clock::now()))));
                }
                Err(error) => {
                    tracing::debug!(%error, %address, "no connection");
                    let failure = Completion::failure(clock::now(), FailureKind::ConnectFailure);
                    drop(pick.complete(&failure));
                    tried.push(address);
                }
            }
        }
        None
    }
}
