//! Plain forwarding to hosts that are no services: no rules, only timeouts and a trace.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use http::uri::Scheme;
use http::{Request, Response};
use outrigger::Body;
use outrigger::core::{
    BoxError, Call, Dispatch, Endpoint, Failed, FailureKind, Instance, Protocol, ServiceName,
    header,
};
use outrigger::http::{Pool, PoolConfig};
use outrigger::telemetry::{ClientTrace, Telemetry, TryTrace};
use outrigger::tower::{ContextLayer, Timeout, TimeoutLayer, WithContext};
use tower_layer::Layer;
use tower_service::Service;

use super::places::is_forbidden;
use crate::listeners::OwnPlaces;

type Stack = WithContext<ClientTrace<Timeout<Direct>>>;

/// The body of another host's answer.
pub(crate) type PassBody = <<Stack as Service<Request<Body>>>::Response as Answer>::Body;

/// The body type of a response type.
pub(crate) trait Answer {
    type Body;
}

impl<B> Answer for Response<B> {
    type Body = B;
}

/// Sends requests to the hosts that they name.
#[derive(Clone, Debug)]
pub(crate) struct Pass {
    stack: Stack,
}

/// Why a host is not connected to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Barred {
    #[error("addresses of links, of machines' secrets and of our own listeners are out of reach")]
    Address,
    #[error("only `http` is forwarded; for anything else there is CONNECT")]
    Scheme,
}

impl Pass {
    pub(crate) fn new(telemetry: &Telemetry, own: OwnPlaces) -> Self {
        // All strangers under one name: they are bounded by nothing.
        let service: ServiceName = "outside".parse().expect("a constant that is a name");
        let wire = telemetry.try_layer().layer(Pool::new(PoolConfig::default()));
        let direct = Direct { wire, own: Arc::new(own), service: service.clone() };
        let timeout = TimeoutLayer::maybe(Some(Duration::from_secs(15)));
        let timed = timeout.with_idle(Some(Duration::from_secs(300))).layer(direct);
        let stack = ContextLayer::new(service).layer(telemetry.client_layer().layer(timed));
        Self { stack }
    }

    /// Sends a request to the host in its URI.
    pub(crate) async fn send(
        &self,
        mut request: Request<Body>,
    ) -> Result<Response<PassBody>, BoxError> {
        if request.uri().scheme().is_some_and(|scheme| *scheme != Scheme::HTTP) {
            return Err(Barred::Scheme.into());
        }
        // Whoever is not of the fleet learns nothing of it.
        for name in [header::CALLER, header::DEADLINE, header::ATTEMPT] {
            request.headers_mut().remove(name);
        }
        self.stack.clone().call(request).await
    }
}

/// Connects to the host that a request names.
#[derive(Clone, Debug)]
pub(crate) struct Direct {
    wire: TryTrace<Pool<Body>>,
    own: Arc<OwnPlaces>,
    service: ServiceName,
}

type Sent = <TryTrace<Pool<Body>> as Service<Dispatch<Request<Body>>>>::Response;

impl Service<Call<Request<Body>>> for Direct {
    type Response = Sent;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Sent, BoxError>> + Send>>;

    fn poll_ready(
        &mut self,
        _cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Result<(), BoxError>> {
        std::task::Poll::Ready(Ok(()))
    }

    fn call(&mut self, Call { context, request, .. }: Call<Request<Body>>) -> Self::Future {
        let mut this = self.clone();
        Box::pin(async move {
            let endpoint = this.endpoint(request.uri()).await?;
            let sent = this.wire.call(Dispatch { context, endpoint, request });
            sent.await
        })
    }
}

impl Direct {
    async fn endpoint(&self, uri: &http::Uri) -> Result<Endpoint, BoxError> {
        let failed = |cause: io::Error| Failed::new(FailureKind::ConnectFailure).with_cause(cause);
        let host = uri.host().unwrap_or_default();
        let port = uri.port_u16().unwrap_or(80);
        let address = resolve(host, port, &self.own).await.map_err(|error| match error {
            Unresolved::Barred(barred) => BoxError::from(barred),
            Unresolved::Dns(error) => failed(error).into(),
        })?;
        let id = format!("{host}:{port}").parse()?;
        let mut instance = Instance::new(id, self.service.clone(), address);
        instance.protocol = Protocol::Http;
        Ok(Endpoint::new(Arc::new(instance), address))
    }
}

/// Why a name stands for no address.
#[derive(Debug)]
pub(crate) enum Unresolved {
    Barred(Barred),
    Dns(io::Error),
}

/// An address of a host that may be connected to.
///
/// The answer is looked at and then used: a name that stands for something else a moment later
/// changes nothing.
pub(crate) async fn resolve(
    host: &str,
    port: u16,
    own: &OwnPlaces,
) -> Result<SocketAddr, Unresolved> {
    const PATIENCE: Duration = Duration::from_secs(5);
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let looking = tokio::time::timeout(PATIENCE, tokio::net::lookup_host((bare, port))).await;
    let found = match looking {
        Ok(found) => found.map_err(Unresolved::Dns)?,
        Err(_) => return Err(Unresolved::Dns(io::ErrorKind::TimedOut.into())),
    };
    let mut barred = false;
    for address in found {
        if !is_forbidden(address.ip()) && !own.contains(address) {
            return Ok(address);
        }
        barred = true;
    }
    Err(match barred {
        true => Unresolved::Barred(Barred::Address),
        false => Unresolved::Dns(io::ErrorKind::NotFound.into()),
    })
}
