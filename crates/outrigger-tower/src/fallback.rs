//! Another answer while a circuit is open: a fixed one, or that of another service.
//!
//! It stands just outside of the circuit and asks it first. Only what the circuit would refuse is
//! answered in another way: no endpoint, a full service, a timeout or a failure are not, for
//! a circuit that is closed means that answers are to be had. A circuit that only observes refuses
//! nothing, so nothing falls back; one that is forced open does.
//!
//! The answer carries the reason `circuit_open`, so that nobody takes it for the service's own. A
//! gRPC caller gets no fixed answer, which could not be a gRPC message, but the refusal.
//!
//! ```
//! use http::StatusCode;
//! use outrigger_breaker::{Breaker, BreakerConfig, Mode};
//! use outrigger_tower::{CircuitBreakerLayer, FallbackAnswer, FallbackLayer, FixedAnswer, clock};
//! use tower::{ServiceBuilder, ServiceExt, service_fn};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
//! let mut config = BreakerConfig::default();
//! config.mode = Mode::ForcedOpen;
//! let circuit = Breaker::new(config, 7, clock::now())?;
//! let empty = FallbackAnswer::Fixed(FixedAnswer::new(StatusCode::OK, "[]"));
//! let stock = ServiceBuilder::new()
//!     .layer(FallbackLayer::new("stock".parse()?, circuit.clone(), empty))
//!     .layer(CircuitBreakerLayer::new("stock".parse()?, circuit))
//!     .service(service_fn(|_: http::Request<String>| async {
//!         Ok::<_, std::io::Error>(http::Response::new(String::new()))
//!     }));
//! let answer = stock.oneshot(http::Request::new(String::new())).await?;
//! assert_eq!(answer.status(), 200);
//! assert_eq!(answer.headers()["content-type"], "application/json");
//! assert_eq!(answer.headers()["x-outrigger-reason"], "circuit_open");
//! # Ok(())
//! # }
//! ```

mod answer;
mod body;
mod future;
mod layer;
mod service;

pub use answer::{FallbackAnswer, FixedAnswer};
pub use body::FallbackBody;
pub use future::ResponseFuture;
pub use layer::FallbackLayer;
pub use service::Fallback;
