//! The accept loop: HTTP/1.1 and HTTP/2 on one port, with and without TLS.

mod accept;
mod activity;
mod check;
mod connection;
mod frames;
mod gate;
mod plain;
mod refused;
mod request;
mod sniff;
mod watchdog;

use std::future::Future;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;

use http::{Request, Response};
use http_body::Body;
use hyper::body::Incoming;
use outrigger_core::BoxError;
use rustls_pki_types::CertificateDer;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tower_service::Service;

use crate::ServerConfig;
use crate::tls::{ServerTls, TlsError};

/// Accepts connections and serves HTTP on them.
///
/// HTTP/1.1 and HTTP/2 are told apart by the first bytes, under the header timeout, or by ALPN.
#[derive(Clone, Debug, Default)]
pub struct Server {
    config: ServerConfig,
    tls: Option<ServerTls>,
}

/// Who is at the other end of a connection.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Peer {
    /// Its address.
    pub address: SocketAddr,
    /// The address that it connected to.
    pub local: SocketAddr,
    /// Whether the connection is encrypted.
    pub is_tls: bool,
    /// The certificates that it showed, its own first; verified where TLS asks for any.
    pub certificates: Arc<[CertificateDer<'static>]>,
}

/// How a server ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Drained {
    /// Connections that ended by themselves after the shutdown had begun.
    pub finished: usize,
    /// Connections that were cut at the end of the drain.
    pub cut: usize,
}

impl Server {
    /// A server; values out of range are moved into it (see [`ServerConfig::validate`]).
    #[must_use]
    pub fn new(config: ServerConfig) -> Self {
        Self { config: config.clamped(), tls: None }
    }

    /// Speaks TLS only, as told or with a ready configuration. Whoever speaks HTTP in the clear is
    /// told so and closed.
    #[must_use]
    pub fn with_tls(mut self, tls: impl Into<ServerTls>) -> Self {
        self.tls = Some(tls.into());
        self
    }

    /// Speaks TLS only, with this certificate chain and key in PEM; with `client_ca`, callers must
    /// show a certificate of it.
    ///
    /// # Errors
    /// [`TlsError`], for what is no PEM and for a key that does not belong to the certificate.
    pub fn with_tls_pem(
        self,
        chain: &[u8],
        key: &[u8],
        client_ca: Option<&[u8]>,
    ) -> Result<Self, TlsError> {
        Ok(self.with_tls(ServerTls::from_pem(chain, key, client_ca)?))
    }

    /// Serves one connection that did not come from a listener: the bytes of a tunnel, a unix
    /// socket. Spoken in the clear; what is said of [`Server::serve`] holds for it too, but for the
    /// drain, which the caller bounds.
    ///
    /// # Cancel safety
    /// Dropping the future cuts the connection.
    pub async fn serve_stream<T, S, B>(
        &self,
        stream: T,
        service: S,
        shutdown: impl Future<Output = ()>,
    ) where
        T: AsyncRead + AsyncWrite + Send + Unpin + 'static,
        S: Service<Request<Incoming>, Response = Response<B>> + Clone + Send + 'static,
        S::Error: Into<BoxError>,
        S::Future: Send,
        B: Body + Send + 'static,
        B::Data: Send,
        B::Error: Into<BoxError>,
    {
        let (drain, draining) = watch::channel(false);
        let mut serving = pin!(connection::serve_stream(&self.config, stream, service, draining));
        tokio::select! {
            () = &mut serving => return,
            () = shutdown => {}
        }
        drain.send_replace(true);
        serving.await;
    }

    /// Serves until `shutdown` ends, then lets what is in flight finish, at most for
    /// [`ServerConfig::drain`].
    ///
    /// `make` gives each connection its service; it is told who connects. From the shutdown on,
    /// nothing is accepted, HTTP/1.1 answers say `Connection: close`, HTTP/2 peers get GOAWAY. A
    /// panic in a service ends its connection (HTTP/2: its stream) and nothing else. When the
    /// process is out of file descriptors, accepting pauses for at most a second.
    ///
    /// # Cancel safety
    /// Dropping the future closes the listener and cuts every connection.
    pub async fn serve<M, S, B>(
        self,
        listener: TcpListener,
        make: M,
        shutdown: impl Future<Output = ()>,
    ) -> Drained
    where
        M: Fn(&Peer) -> S + Send + Sync + 'static,
        S: Service<Request<Incoming>, Response = Response<B>> + Clone + Send + 'static,
        S::Error: Into<BoxError>,
        S::Future: Send,
        B: Body + Send + 'static,
        B::Data: Send,
        B::Error: Into<BoxError>,
    {
        let shared = Arc::new(connection::Shared { make, config: self.config, tls: self.tls });
        let places = Arc::new(Semaphore::new(shared.config.max_connections as usize));
        let (drain, draining) = watch::channel(false);
        let mut connections = JoinSet::new();
        let mut shutdown = pin!(shutdown);
        loop {
            let accepted = tokio::select! {
                biased;
                () = &mut shutdown => break,
                // Reaped here, so that the set does not grow with every connection ever made.
                Some(ended) = connections.join_next(), if !connections.is_empty() => {
                    note(ended);
                    continue;
                }
                accepted = accept::accept(&listener, &places) => accepted,
            };
            let Some((tcp, address, place)) = accepted else { break };
            let serve = connection::serve(Arc::clone(&shared), tcp, address, draining.clone());
            connections.spawn(async move {
                serve.await;
                drop(place);
            });
        }
        // What comes now is refused by the kernel, and not left in a backlog that nobody reads.
        drop(listener);
        tracing::info!(connections = connections.len(), "draining");
        drain.send_replace(true);
        let mut drained = Drained::default();
        let finish = async {
            while let Some(ended) = connections.join_next().await {
                note(ended);
                drained.finished += 1;
            }
        };
        let _in_time = timeout(shared.config.drain, finish).await;
        drained.cut = connections.len();
        connections.shutdown().await;
        tracing::info!(finished = drained.finished, cut = drained.cut, "drained");
        drained
    }
}

fn note(ended: Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended
        && error.is_panic()
    {
        tracing::error!("a service panicked; its connection is closed");
    }
}
