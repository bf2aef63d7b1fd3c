//! Tells each request who connected.

use std::net::IpAddr;
use std::task::{Context, Poll};

use http::Request;
use outrigger_tower::ClientAddress;
use tower_service::Service;

/// Puts the address of the connection's other end into each request's extensions.
#[derive(Clone, Debug)]
pub(super) struct WithPeer<S> {
    inner: S,
    address: ClientAddress,
}

impl<S> WithPeer<S> {
    pub(super) const fn new(inner: S, address: IpAddr) -> Self {
        Self { inner, address: ClientAddress(address) }
    }
}

impl<S: Service<Request<B>>, B> Service<Request<B>> for WithPeer<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<B>) -> S::Future {
        request.extensions_mut().insert(self.address);
        self.inner.call(request)
    }
}
