//! What a service is served on: one listener, or several with a runtime each.

use std::io;
use std::net::SocketAddr;

use http::{Request, Response};
use http_body::Body;
use hyper::body::Incoming;
use outrigger_core::BoxError;
use outrigger_http::{Drained, Peer, Server};
use tokio::net::TcpListener;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tower_service::Service;

/// A listener, and the runtime whose task it is to read it.
///
/// Several of one port are made by [`std::net::TcpListener::try_clone`]: they are one claim of the
/// port, and whoever is free takes the next connection.
#[derive(Debug)]
pub struct Share {
    listener: TcpListener,
    runtime: Handle,
}

impl Share {
    /// A share of a port for one runtime.
    ///
    /// # Errors
    /// When the runtime cannot wait for the listener.
    pub fn new(listener: std::net::TcpListener, runtime: Handle) -> io::Result<Self> {
        listener.set_nonblocking(true)?;
        let listener = {
            let _on_that_runtime = runtime.enter();
            TcpListener::from_std(listener)?
        };
        Ok(Self { listener, runtime })
    }
}

impl Share {
    /// A whole port, for the runtime that this is called on.
    pub(crate) fn whole(listener: TcpListener) -> Self {
        Self { listener, runtime: Handle::current() }
    }
}

/// All shares of one port.
#[derive(Debug)]
pub(crate) struct Shares(pub(crate) Vec<Share>);

impl Shares {
    /// The address that they listen on.
    pub(crate) fn local(&self) -> io::Result<SocketAddr> {
        let first = self.0.first().ok_or(io::ErrorKind::AddrNotAvailable)?;
        first.listener.local_addr()
    }

    /// Serves until `stop` says so, or is gone. Dropped, it ends what runs on each of the runtimes.
    pub(crate) async fn serve<M, S, B>(
        self,
        server: Server,
        make: M,
        stop: watch::Receiver<bool>,
    ) -> Drained
    where
        M: Fn(&Peer) -> S + Clone + Send + Sync + 'static,
        S: Service<Request<Incoming>, Response = Response<B>> + Clone + Send + 'static,
        S::Error: Into<BoxError>,
        S::Future: Send,
        B: Body + Send + 'static,
        B::Data: Send,
        B::Error: Into<BoxError>,
    {
        let mut running = JoinSet::new();
        for Share { listener, runtime } in self.0 {
            let mut stop = stop.clone();
            let stopped = async move {
                let _ = stop.wait_for(|stop| *stop).await;
            };
            running.spawn_on(server.clone().serve(listener, make.clone(), stopped), &runtime);
        }
        let mut all = Drained::default();
        while let Some(ended) = running.join_next().await {
            match ended {
                Ok(drained) => {
                    all.finished += drained.finished;
                    all.cut += drained.cut;
                }
                Err(error) => tracing::error!(%error, "a share of the port is served no more"),
            }
        }
        all
    }
}
