//! Where the surface is served, and how far it reaches.

use std::convert::Infallible;
use std::fmt;
use std::future::{Ready, ready};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::{Request, Response};
use hyper::body::Incoming;
use outrigger_http::{Server, ServerConfig};
use tokio::net::TcpListener;
use tokio::runtime::Handle;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinHandle;
use tower_service::Service;

use crate::answer::{Body, Extent, answer};
use crate::{Events, Source};

/// Readers of events at a time, on all listeners of a surface together.
pub const MAX_STREAMS: usize = 16;

/// Time that answers under way get when a surface ends.
const DRAIN: Duration = Duration::from_secs(1);

/// From where a surface may be reached.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reach {
    /// From this machine only; the default.
    #[default]
    Loopback,
    /// From wherever the listener's address is reached. Whoever comes so far reads everything.
    Anywhere,
}

/// Why a surface cannot be served.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AdminError {
    /// The listener has no address of its own.
    #[error("the listener's address cannot be told")]
    Listener(#[source] io::Error),
    /// Others would read everything.
    #[error(
        "the admin surface is on {address}; allowed is a loopback address such as 127.0.0.1:15990, \
         and for health and metrics alone a probe listener"
    )]
    NotLoopback {
        /// Where it would be.
        address: SocketAddr,
    },
    /// No tokio runtime is there to live on.
    #[error("the admin surface needs a tokio runtime; serve it from within one")]
    NoRuntime,
}

/// All that can be looked at; serves any number of listeners. Cheap to clone.
#[derive(Clone)]
pub struct Surface {
    source: Arc<dyn Source>,
    events: Arc<Events>,
    streams: Arc<Semaphore>,
}

/// What all requests of a listener have in common.
pub(crate) struct Shared {
    pub(crate) source: Arc<dyn Source>,
    pub(crate) events: Arc<Events>,
    pub(crate) streams: Arc<Semaphore>,
    pub(crate) runtime: Handle,
}

impl Surface {
    /// A surface that shows what `source` says and what `events` remembers.
    #[must_use]
    pub fn new(source: Arc<dyn Source>, events: Arc<Events>) -> Self {
        Self { source, events, streams: Arc::new(Semaphore::new(MAX_STREAMS)) }
    }

    /// Serves all of it, until the handle is dropped or told to stop.
    ///
    /// # Errors
    /// [`AdminError`], above all for a listener that `reach` does not allow.
    pub fn serve(&self, listener: TcpListener, reach: Reach) -> Result<Serving, AdminError> {
        let address = listener.local_addr().map_err(AdminError::Listener)?;
        if reach == Reach::Loopback && !address.ip().to_canonical().is_loopback() {
            return Err(AdminError::NotLoopback { address });
        }
        self.start(listener, address, Extent::Whole)
    }

    /// Serves health, readiness and metrics, for those on other machines who must ask.
    ///
    /// # Errors
    /// [`AdminError`].
    pub fn serve_probe(&self, listener: TcpListener) -> Result<Serving, AdminError> {
        let address = listener.local_addr().map_err(AdminError::Listener)?;
        self.start(listener, address, Extent::Probe)
    }

    fn start(
        &self,
        listener: TcpListener,
        address: SocketAddr,
        extent: Extent,
    ) -> Result<Serving, AdminError> {
        let runtime = Handle::try_current().map_err(|_| AdminError::NoRuntime)?;
        let (end, ending) = watch::channel(false);
        let shared = Arc::new(Shared {
            source: Arc::clone(&self.source),
            events: Arc::clone(&self.events),
            streams: Arc::clone(&self.streams),
            runtime: runtime.clone(),
        });
        let mut stopped = ending.clone();
        let until = async move {
            // A sender that is gone means the same.
            let _ = stopped.wait_for(|ending| *ending).await;
        };
        let mut config = ServerConfig::default();
        // It is for a few people and scrapers; a flood on it shall not cost the service.
        config.max_connections = 64;
        config.max_head_bytes = 16 * 1024;
        config.max_streams = 32;
        config.drain = DRAIN;
        let make = move |peer: &outrigger_http::Peer| Requests {
            shared: Arc::clone(&shared),
            extent,
            local: peer.local,
            ending: ending.clone(),
        };
        let server = Server::new(config).serve(listener, make, until);
        let task = runtime.spawn(async move {
            server.await;
        });
        Ok(Serving { address, end, task })
    }
}

impl fmt::Debug for Surface {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Surface").field("source", &self.source).finish_non_exhaustive()
    }
}

/// A surface that is being served; ends when dropped.
#[must_use = "the surface ends when this is dropped"]
#[derive(Debug)]
pub struct Serving {
    address: SocketAddr,
    end: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Serving {
    /// Where it is served.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Accepts nothing more, ends the streams, and lets answers under way end, at most for 1 s.
    ///
    /// # Cancel safety
    /// Dropping the future cuts what is left.
    pub async fn stop(mut self) {
        self.end.send_replace(true);
        // It ends by itself, at the latest with its drain; that it panicked was logged.
        let _ = (&mut self.task).await;
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// The requests of one connection.
#[derive(Clone)]
struct Requests {
    shared: Arc<Shared>,
    extent: Extent,
    local: SocketAddr,
    ending: watch::Receiver<bool>,
}

impl Service<Request<Incoming>> for Requests {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Ready<Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Incoming>) -> Self::Future {
        ready(Ok(answer(&self.shared, self.extent, self.local, &self.ending, request)))
    }
}
