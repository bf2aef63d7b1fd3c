//! Chooses the endpoint of each try and tells the balancer what became of it.
//!
//! Turns a call into a [`Dispatch`](outrigger_core::Dispatch), which names the endpoint. Load,
//! ejection and outcome are judged at the response's head, or at a reset of its body; the request
//! is in flight on its endpoint until the body ends.
//!
//! ```
//! use outrigger_balance::{EndpointSet, Members, SetOptions};
//! use outrigger_core::{Dispatch, Endpoint, Instance, ServiceName};
//! use outrigger_tower::{BalanceLayer, clock};
//! use tower::{ServiceBuilder, ServiceExt, service_fn};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
//! let service: ServiceName = "inventory".parse()?;
//! let address: std::net::SocketAddr = "127.0.0.1:8080".parse()?;
//! let instance = Instance::new("inventory-1".parse()?, service.clone(), address);
//! let set = EndpointSet::new(SetOptions::new(service), clock::now())?;
//! set.update(Members::new(1, vec![Endpoint::new(instance.into(), address)]), clock::now());
//!
//! let wire = service_fn(|dispatch: Dispatch<http::Request<String>>| async move {
//!     Ok::<_, std::io::Error>(http::Response::new(dispatch.endpoint.address().to_string()))
//! });
//! let balanced = ServiceBuilder::new().layer(BalanceLayer::new(set)).service(wire);
//! let response = balanced.oneshot(http::Request::new(String::new())).await?;
//! assert!(response.status().is_success());
//! # Ok(())
//! # }
//! ```

mod flight;
mod hash_on;
mod layer;
mod service;

pub use flight::{Flight, Seat};
pub use hash_on::HashOn;
pub use layer::BalanceLayer;
pub use service::Balance;

use crate::admission::Admission;

/// The answer of the chosen endpoint, or the refusal for want of one.
pub type ResponseFuture<F> = Admission<F, Flight>;
