//! A connection for many requests at once.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Weak};

use http::Request;
use hyper::client::conn::http2;
use tokio::runtime;

use super::OutboundBody;
use super::connection::Sent;
use super::endpoint::EndpointPool;
use super::request_body::RequestBody;
use crate::io::Wire;

/// A connection for many requests at once: HTTP/2.
pub(crate) struct Multiplexed<B: OutboundBody> {
    send: http2::SendRequest<RequestBody<B>>,
    wire: Arc<Wire>,
    /// Changed only under the lock of its home.
    streams: AtomicU32,
    /// What the endpoint allows at present.
    allowed: Arc<AtomicUsize>,
    /// Nothing new is sent over it: the endpoint is about to close it.
    is_leaving: AtomicBool,
    /// The pool's tick at its last use.
    used: AtomicU32,
    pub(crate) runtime: runtime::Id,
    home: Weak<EndpointPool<B>>,
}

impl<B: OutboundBody> Multiplexed<B> {
    pub(crate) fn new(
        send: http2::SendRequest<RequestBody<B>>,
        wire: Arc<Wire>,
        allowed: Arc<AtomicUsize>,
        runtime: runtime::Id,
        home: &Arc<EndpointPool<B>>,
    ) -> Self {
        Self {
            send,
            wire,
            streams: AtomicU32::new(0),
            allowed,
            is_leaving: AtomicBool::new(false),
            used: AtomicU32::new(0),
            runtime,
            home: Arc::downgrade(home),
        }
    }

    pub(crate) fn streams(&self) -> usize {
        self.streams.load(Ordering::Relaxed) as usize
    }

    pub(crate) fn limit(&self, most: usize) -> usize {
        // Never 0: an endpoint that allows nothing for a moment does not tell when it does again,
        // except to hyper, with whom one request waits for it.
        self.allowed.load(Ordering::Relaxed).clamp(1, most)
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.is_leaving.load(Ordering::Relaxed) || self.send.is_closed()
    }

    pub(crate) fn has_room(&self, most: usize) -> bool {
        !self.is_closed() && self.streams() < self.limit(most)
    }

    /// Units: `keep` in ticks.
    pub(crate) fn is_over(&self, tick: u32, keep: u32) -> bool {
        self.streams() == 0 && tick.saturating_sub(self.used.load(Ordering::Relaxed)) >= keep
    }

    pub(crate) fn use_at(&self, tick: u32) {
        let before = self.used.swap(tick, Ordering::Relaxed);
        if before != tick {
            self.wire.probe();
        }
    }

    pub(crate) fn end_stream(&self) {
        self.streams.fetch_sub(1, Ordering::Relaxed);
    }

    /// Sends nothing new over it; what is on its way may end.
    pub(crate) fn leave(&self) {
        self.is_leaving.store(true, Ordering::Relaxed);
    }
}

/// The right to one stream of a connection.
pub(crate) struct Stream<B: OutboundBody> {
    connection: Option<Arc<Multiplexed<B>>>,
    /// Bytes that had been written before its request.
    written: u64,
}

impl<B: OutboundBody> Stream<B> {
    /// To be called under the lock of its home.
    pub(crate) fn begin(connection: &Arc<Multiplexed<B>>) -> Self {
        connection.streams.fetch_add(1, Ordering::Relaxed);
        Self { connection: Some(Arc::clone(connection)), written: 0 }
    }

    /// Ends it where the lock of its home is held already.
    pub(crate) fn end_unused(mut self) {
        if let Some(connection) = self.connection.take() {
            connection.end_stream();
        }
    }

    pub(crate) fn send(
        &mut self,
        request: Request<RequestBody<B>>,
    ) -> Option<Pin<Box<dyn Future<Output = Sent<B>> + Send>>> {
        let connection = self.connection.as_ref()?;
        self.written = connection.wire.written();
        Some(Box::pin(connection.send.clone().try_send_request(request)))
    }

    /// Whether no byte was written since its request was handed over.
    pub(crate) fn is_unseen(&self) -> bool {
        self.connection.as_ref().is_some_and(|conn| conn.wire.written() == self.written)
    }

    pub(crate) fn leave(&self) {
        if let Some(connection) = &self.connection {
            connection.leave();
        }
    }
}

impl<B: OutboundBody> Drop for Stream<B> {
    fn drop(&mut self) {
        if let Some(connection) = self.connection.take()
            && let Some(home) = connection.home.upgrade()
        {
            home.release_stream(&connection);
        }
    }
}

/// Held as long as a response's body, whatever `B` is; its drop ends the stream.
pub(crate) trait Held: Send {}

impl<B: OutboundBody> Held for Stream<B> {}
