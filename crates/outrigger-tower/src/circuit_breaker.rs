//! One circuit for a service's route: while it is open, nothing is sent.
//!
//! The circuit is asked in `call` and told at the response's head, at a reset of its body, or when
//! the policy's timeout drops the call. A caller that goes away, its own deadline, and our own
//! refusals below count for nothing.
//!
//! ```
//! use outrigger_breaker::{Breaker, BreakerConfig};
//! use outrigger_tower::{CircuitBreakerLayer, clock};
//! use tower::{ServiceBuilder, ServiceExt, service_fn};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
//! let circuit = Breaker::new(BreakerConfig::default(), 7, clock::now())?;
//! let answers = service_fn(|_: http::Request<String>| async {
//!     Ok::<_, std::io::Error>(http::Response::new(String::new()))
//! });
//! let guarded = ServiceBuilder::new()
//!     .layer(CircuitBreakerLayer::new("inventory".parse()?, circuit))
//!     .service(answers);
//! assert!(guarded.oneshot(http::Request::new(String::new())).await?.status().is_success());
//! # Ok(())
//! # }
//! ```

mod flight;
mod layer;
mod service;

pub use flight::{CircuitGuard, Flight};
pub use layer::CircuitBreakerLayer;
pub use service::CircuitBreaker;

use crate::admission::Admission;

/// The answer, or the circuit's refusal.
pub type ResponseFuture<F> = Admission<F, Flight>;
