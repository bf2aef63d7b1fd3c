//! Writes what the context knows into the headers of each try: the last layer before the wire.
//!
//! `x-outrigger-attempt` (mirrored in the baggage from 1 on), `x-outrigger-deadline-ms`,
//! `x-outrigger-caller`, and `grpc-timeout` for a gRPC call. Whatever the application put there is
//! replaced: it was read when the context was made. Envoy's `x-envoy-expected-rq-timeout-ms` is
//! taken out, for it has become ours.
//!
//! ```
//! use outrigger_core::{Context, Dispatch, Endpoint, Instance};
//! use outrigger_tower::{StampLayer, clock};
//! use tower::{ServiceBuilder, ServiceExt, service_fn};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
//! let wire = service_fn(|dispatch: Dispatch<http::Request<()>>| async move {
//!     Ok::<_, std::io::Error>(http::Response::new(dispatch.request.headers().clone()))
//! });
//! let address: std::net::SocketAddr = "127.0.0.1:8080".parse()?;
//! let instance = Instance::new("stock-1".parse()?, "stock".parse()?, address);
//! let stamped =
//!     ServiceBuilder::new().layer(StampLayer::new().with_caller("orders".parse()?)).service(wire);
//! let headers = stamped
//!     .oneshot(Dispatch {
//!         context: Context::new(clock::now()),
//!         endpoint: Endpoint::new(instance.into(), address),
//!         request: http::Request::new(()),
//!     })
//!     .await?
//!     .into_body();
//! assert_eq!(headers["x-outrigger-attempt"], "0");
//! assert_eq!(headers["x-outrigger-caller"], "orders");
//! # Ok(())
//! # }
//! ```

mod deadline_value;
mod layer;
mod service;

pub use layer::StampLayer;
pub use service::Stamp;
