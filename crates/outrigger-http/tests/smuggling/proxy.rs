//! The proxy under test: the server half in front of the pool, and no rule in between.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use outrigger_core::{Context, Dispatch, Endpoint, Instance};
use outrigger_http::{Asked, Peer, Pool, PoolConfig, Server, Upgrades};
use tokio::net::TcpListener;
use tower::{ServiceExt, service_fn};

pub(crate) async fn start(to: SocketAddr) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback has a free port");
    let address = listener.local_addr().expect("bound");
    let (id, service) = ("stock-1".parse().expect("an id"), "stock".parse().expect("a name"));
    let endpoint = Endpoint::new(Arc::new(Instance::new(id, service, to)), to);
    let pool = Pool::new(PoolConfig::default());
    let make = move |_: &Peer| {
        let (pool, endpoint) = (pool.clone(), endpoint.clone());
        service_fn(move |mut request: Request<Incoming>| {
            let (pool, endpoint) = (pool.clone(), endpoint.clone());
            async move {
                let empty = || Empty::new().map_err(|never| match never {}).boxed_unsync();
                if matches!(Upgrades::none().judge(&mut request), Asked::Refused) {
                    let mut response = Response::new(empty());
                    *response.status_mut() = StatusCode::FORBIDDEN;
                    return Ok::<_, Infallible>(response);
                }
                #[expect(clippy::disallowed_methods, reason = "the pool does not look at it")]
                let context = Context::new(Instant::now());
                let dispatch = Dispatch { context, endpoint, request };
                Ok(match pool.oneshot(dispatch).await {
                    Ok(response) => response.map(BodyExt::boxed_unsync),
                    Err(_) => {
                        let mut response = Response::new(empty());
                        *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
                        response
                    }
                })
            }
        })
    };
    tokio::spawn(Server::default().serve(listener, make, std::future::pending()));
    address
}
