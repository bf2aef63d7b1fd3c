//! Where the application is, and whether it is well.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use http::Request;
use outrigger::core::{Context, Dispatch, Endpoint, Instance, Protocol, ServiceName, Status};
use outrigger::http::{OutboundBody, Pool, PoolConfig};
use outrigger::tower::clock;
use outrigger::{Body, Fleet};
use tower_service::Service;

use crate::Place;

/// The application beside us, as an endpoint over either protocol.
#[derive(Clone, Debug)]
pub(crate) struct Application {
    place: Place,
    plain: Endpoint,
    http2: Endpoint,
    is_http2: bool,
}

impl Application {
    pub(crate) fn new(place: &Place, service: &ServiceName, protocol: Protocol) -> Self {
        let address = match place {
            Place::Tcp(address) => *address,
            // What pages show of it; the pool knows the socket.
            Place::Unix(_) => SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
        };
        let endpoint = |protocol: Protocol| {
            let id = format!("application-{}", protocol.as_str());
            let id = id.parse().expect("an id of letters and a dash");
            let mut instance = Instance::new(id, service.clone(), address);
            instance.protocol = protocol;
            Endpoint::new(std::sync::Arc::new(instance), address)
        };
        Self {
            place: place.clone(),
            plain: endpoint(Protocol::Http),
            http2: endpoint(Protocol::H2c),
            is_http2: protocol.is_http2_only(),
        }
    }

    /// The endpoint for a request: gRPC is HTTP/2 whatever else the application speaks.
    pub(crate) fn endpoint(&self, is_grpc: bool) -> Endpoint {
        if is_grpc || self.is_http2 { self.http2.clone() } else { self.plain.clone() }
    }

    /// Connections to it.
    pub(crate) fn pool<B: OutboundBody>(&self) -> Pool<B> {
        let mut config = PoolConfig::default();
        // The rules say how much may be in flight; the way to the application is no bound.
        config.max_connections = 65_536;
        config.max_pending = 65_536;
        match &self.place {
            Place::Tcp(_) => Pool::new(config),
            Place::Unix(path) => Pool::over_unix(config, path),
        }
    }

    /// Asks after its health for as long as it is polled, and tells the fleet.
    ///
    /// Well is who answers `path` with 2xx; without a path, who takes connections. One answer
    /// decides: what is unwell is out of traffic at once, and back at the next good answer.
    pub(crate) async fn watch_health(&self, path: Option<&str>, fleet: &Fleet) {
        const EVERY: Duration = Duration::from_secs(2);
        let mut pool = self.pool();
        let mut ticks = tokio::time::interval(EVERY);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            match self.ask(path, &mut pool).await {
                Ok(()) => fleet.report(Status::Passing, "the application is well"),
                Err(why) => fleet.report(Status::Critical, &why),
            }
        }
    }

    /// Whether it is well, and if not, why.
    async fn ask(&self, path: Option<&str>, pool: &mut Pool<Body>) -> Result<(), String> {
        const PATIENCE: Duration = Duration::from_secs(2);
        let asking = async {
            let Some(path) = path else { return self.connect().await };
            let request = Request::get(path).body(Body::empty());
            let request = request.map_err(|error| error.to_string())?;
            let context = Context::new(clock::now());
            let dispatch = Dispatch { context, endpoint: self.endpoint(false), request };
            match pool.call(dispatch).await {
                Ok(answer) if answer.status().is_success() => Ok(()),
                Ok(answer) => Err(format!("{path} answers {}", answer.status().as_u16())),
                Err(error) => Err(format!("{path}: {error}")),
            }
        };
        let late = || format!("no answer within {PATIENCE:?}");
        tokio::time::timeout(PATIENCE, asking).await.map_err(|_| late())?
    }

    async fn connect(&self) -> Result<(), String> {
        let connected = match &self.place {
            Place::Tcp(address) => tokio::net::TcpStream::connect(address).await.map(drop),
            Place::Unix(path) => tokio::net::UnixStream::connect(path).await.map(drop),
        };
        connected.map_err(|error| format!("it takes no connections: {error}"))
    }
}
