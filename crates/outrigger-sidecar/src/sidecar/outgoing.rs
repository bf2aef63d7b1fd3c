//! The listeners of the application's calls.

use std::collections::BTreeMap;
use std::io;
use std::net::TcpListener;
use std::sync::Arc;

use outrigger::ServiceClient;
use outrigger::core::ServiceName;
use outrigger::http::Peer;
use outrigger::tower::RefuseLayer;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tower_layer::Layer;

use crate::listeners::{Claimed, SocketFile};
use crate::outbound::{Outbound, Shared, TcpCounts, TcpUpstream, serve_unix, server};
use crate::workers::Workers;
use crate::{Upstream, UpstreamKind};

/// What serves the application's calls.
#[derive(Debug, Default)]
pub(super) struct Outgoing {
    running: JoinSet<()>,
    tcp: BTreeMap<ServiceName, Arc<TcpCounts>>,
    /// Removed when nobody listens any more.
    _socket: Option<SocketFile>,
}

impl Outgoing {
    /// Serves the outbound listener, on every worker.
    pub(super) fn serve(
        &mut self,
        listener: Claimed,
        shared: &Arc<Shared>,
        workers: &Workers,
        stop: &watch::Sender<bool>,
    ) -> io::Result<()> {
        match listener {
            Claimed::Tcp(listener) => {
                for handle in workers.handles() {
                    self.serve_http(&listener, shared, None, handle, stop)?;
                }
            }
            Claimed::Unix(listener, file) => {
                self._socket = Some(file);
                for handle in workers.handles() {
                    let listener = {
                        let _on_that_runtime = handle.enter();
                        tokio::net::UnixListener::from_std(listener.try_clone()?)?
                    };
                    let serving = serve_unix(listener, Arc::clone(shared), stop.subscribe());
                    self.running.spawn_on(serving, handle);
                }
            }
        }
        Ok(())
    }

    /// Serves the local ports that stand for one service each.
    pub(super) fn serve_upstreams(
        &mut self,
        upstreams: Vec<(Upstream, TcpListener)>,
        shared: &Arc<Shared>,
        workers: &Workers,
        stop: &watch::Sender<bool>,
    ) -> io::Result<()> {
        for (upstream, listener) in upstreams {
            let service = shared.client.service(upstream.service.as_str());
            let service = service.map_err(io::Error::other)?;
            let counts = Arc::new(TcpCounts::default());
            for handle in workers.handles() {
                match upstream.kind {
                    UpstreamKind::Http => {
                        let only = Some(service.clone());
                        self.serve_http(&listener, shared, only, handle, stop)?;
                    }
                    UpstreamKind::Tcp => {
                        let (service, counts) = (service.clone(), Arc::clone(&counts));
                        let upstream = TcpUpstream { service, counts };
                        let listener = share(&listener, handle)?;
                        let serving = upstream.serve(listener, stop.subscribe());
                        self.running.spawn_on(serving, handle);
                    }
                }
            }
            if upstream.kind == UpstreamKind::Tcp {
                self.tcp.insert(upstream.service, counts);
            }
        }
        Ok(())
    }

    fn serve_http(
        &mut self,
        listener: &TcpListener,
        shared: &Arc<Shared>,
        only: Option<ServiceClient>,
        handle: &Handle,
        stop: &watch::Sender<bool>,
    ) -> io::Result<()> {
        let listener = share(listener, handle)?;
        let shared = Arc::clone(shared);
        let make = move |peer: &Peer| {
            let outbound = Outbound::new(Arc::clone(&shared), only.clone(), peer.address.ip());
            RefuseLayer::new().layer(outbound)
        };
        let mut stopped = stop.subscribe();
        let serving = server().serve(listener, make, async move {
            let _ = stopped.wait_for(|stop| *stop).await;
        });
        let serving = async move {
            let _ = serving.await;
        };
        self.running.spawn_on(serving, handle);
        Ok(())
    }

    /// What went through the upstreams that are plain TCP.
    pub(super) const fn tcp(&self) -> &BTreeMap<ServiceName, Arc<TcpCounts>> {
        &self.tcp
    }

    /// Waits until all of it has ended.
    pub(super) async fn ended(mut self) {
        while self.running.join_next().await.is_some() {}
    }
}

/// A share of a claimed port for one runtime.
fn share(listener: &TcpListener, handle: &Handle) -> io::Result<tokio::net::TcpListener> {
    let _on_that_runtime = handle.enter();
    tokio::net::TcpListener::from_std(listener.try_clone()?)
}
