//! The connection pool: per-endpoint stacks of kept connections over `hyper::client::conn`.

mod body;
mod connection;
mod dial;
mod driver;
mod endpoint;
mod future;
mod handshake;
mod key;
mod multiplexed;
mod outbound;
mod request_body;
mod single;
mod sweep;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32};
use std::task::{Context, Poll};

use http::{Request, Response};
use outrigger_core::{Dispatch, Endpoint, Failed, Protocol};
use papaya::HashMap;
use tower_service::Service;

use crate::{ClientTls, PoolConfig};

pub use body::PoolBody;
use endpoint::EndpointPool;
pub use future::ResponseFuture;
use key::{Key, KeyHasher, KeyRef};
pub(crate) use multiplexed::Held;
pub use outbound::OutboundBody;

/// Keeps connections to endpoints and sends each request over one of them.
///
/// Shape: one pool serves any number of services and endpoints; clones share it. `B` is the
/// request's body. Which protocol is spoken follows from [`Endpoint::protocol`]; with TLS, ALPN
/// chooses between HTTP/1.1 and HTTP/2.
///
/// A request is never sent twice once a byte of it may have been seen. A kept connection that
/// turns out closed before that is replaced by a fresh one, once, within the same call. Errors are
/// [`Failed`]: `ConnectFailure` (also for TLS and the connect timeout), `RefusedStream`, `Reset`.
/// A full queue is a `ConnectFailure` whose cause is
/// [`Rejected::Overloaded`](outrigger_core::Rejected::Overloaded).
///
/// A connection lives on the runtime that opened it and is never handed to a request of another
/// one: a pool may be shared by several runtimes and outlive any of them.
///
/// # Cancel safety
/// Dropping the future, or the response's body before its end, closes an HTTP/1.1 connection and
/// resets an HTTP/2 stream; the pool's counts are right at once.
///
/// Cost: on a kept HTTP/1.1 connection, one look-up, one short lock each to take and to give back;
/// no allocation, no task and no clock.
pub struct Pool<B: OutboundBody> {
    shared: Arc<Shared<B>>,
}

/// What all clones of a pool have in common.
pub(crate) struct Shared<B: OutboundBody> {
    common: Arc<Common>,
    endpoints: HashMap<Key, Arc<EndpointPool<B>>, KeyHasher>,
}

/// The part of it that each endpoint knows too.
#[derive(Debug)]
pub(crate) struct Common {
    config: PoolConfig,
    tls: Option<ClientTls>,
    /// The socket file that every connection goes to, whatever the endpoint's address.
    #[cfg(unix)]
    unix: Option<std::path::PathBuf>,
    /// Seconds that the sweeper has counted; expiry is told in these, so that keeping a
    /// connection reads no clock.
    tick: AtomicU32,
    /// Whether a sweeper runs.
    is_swept: AtomicBool,
}

/// What a pool holds at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct PoolStats {
    /// Endpoints that connections are kept for.
    pub endpoints: usize,
    /// Connections, idle, in use and being opened.
    pub connections: usize,
    /// Connections without a request.
    pub idle: usize,
    /// Connections being opened.
    pub connecting: usize,
    /// Requests that wait for a connection.
    pub pending: usize,
    /// Requests between their head and the end of their response's body.
    pub in_flight: usize,
    /// Connections opened since the pool was made, of endpoints that are still there.
    pub opened: u64,
    /// Requests sent over a connection that was there already, of endpoints that are still there.
    pub reused: u64,
}

impl<B: OutboundBody> Pool<B> {
    /// An empty pool; values out of range are moved into it (see [`PoolConfig::validate`]).
    #[must_use]
    pub fn new(config: PoolConfig) -> Self {
        Self::build(config, None, None)
    }

    /// An empty pool whose connections all go to this unix socket, whatever the address of an
    /// endpoint is: for a proxy's way to the process beside it. On systems without unix sockets
    /// the endpoint's address is connected to.
    #[must_use]
    pub fn over_unix(config: PoolConfig, path: impl Into<std::path::PathBuf>) -> Self {
        Self::build(config, None, Some(path.into()))
    }

    /// An empty pool that can also speak TLS.
    #[must_use]
    pub fn with_tls(config: PoolConfig, tls: ClientTls) -> Self {
        Self::build(config, Some(tls), None)
    }

    fn build(config: PoolConfig, tls: Option<ClientTls>, unix: Option<std::path::PathBuf>) -> Self {
        #[cfg(not(unix))]
        drop(unix);
        Self {
            shared: Arc::new(Shared {
                common: Arc::new(Common {
                    config: config.clamped(),
                    tls,
                    #[cfg(unix)]
                    unix,
                    tick: AtomicU32::new(0),
                    is_swept: AtomicBool::new(false),
                }),
                endpoints: HashMap::with_hasher(KeyHasher::new()),
            }),
        }
    }

    /// Forgets the endpoints that `keep` does not want: their idle connections are closed at once,
    /// those in use when their request ends. To be called when the set of endpoints changes.
    pub fn retain(&self, mut keep: impl FnMut(&Endpoint) -> bool) {
        self.shared.endpoints.pin().retain(|key, pool| {
            let kept = keep(key.endpoint());
            if !kept {
                pool.retire();
            }
            kept
        });
    }

    /// Counts what the pool holds. Takes each endpoint's lock in turn: for pages and tests.
    #[must_use]
    pub fn stats(&self) -> PoolStats {
        let mut stats = PoolStats::default();
        for (_, pool) in &self.shared.endpoints.pin() {
            stats.endpoints += 1;
            pool.add_to(&mut stats);
        }
        stats
    }

    /// The connections of one endpoint.
    fn endpoint(&self, endpoint: &Endpoint) -> Arc<EndpointPool<B>> {
        let endpoints = self.shared.endpoints.pin();
        if let Some(pool) = endpoints.get(&KeyRef(endpoint)) {
            if pool.protocol() == endpoint.protocol() {
                return Arc::clone(pool);
            }
            // Registered anew under the same id and address, speaking something else.
            pool.retire();
            endpoints.remove(&KeyRef(endpoint));
        }
        let make = || Arc::new(EndpointPool::new(endpoint, &self.shared));
        Arc::clone(endpoints.get_or_insert_with(Key::new(endpoint), make))
    }
}

impl<B: OutboundBody> Service<Dispatch<Request<B>>> for Pool<B> {
    type Response = Response<PoolBody>;
    type Error = Failed;
    type Future = ResponseFuture<B>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Failed>> {
        // Which endpoint is meant is known in `call` only.
        Poll::Ready(Ok(()))
    }

    #[inline]
    fn call(&mut self, dispatch: Dispatch<Request<B>>) -> ResponseFuture<B> {
        let endpoint = self.endpoint(&dispatch.endpoint);
        ResponseFuture::start(endpoint, dispatch.request)
    }
}

impl<B: OutboundBody> Clone for Pool<B> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared) }
    }
}

impl<B: OutboundBody> fmt::Debug for Pool<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool").field("config", &self.shared.common.config).finish_non_exhaustive()
    }
}

/// Whether an endpoint of this protocol may turn out to speak HTTP/2.
const fn may_be_http2(protocol: Protocol) -> bool {
    protocol.is_http2_only() || protocol.is_tls()
}
