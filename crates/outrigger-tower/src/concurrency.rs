//! So many requests in flight: a server's `concurrency`, a caller's `capacity`.
//!
//! What is over the bound is refused at once with
//! [`Rejected::Overloaded`](outrigger_core::Rejected::Overloaded); nobody waits in it. The permit
//! is taken in `call` and lives in the response's body.
//!
//! ```
//! use outrigger_limit::ConcurrencyLimit;
//! use outrigger_tower::ConcurrencyLayer;
//! use tower::{ServiceBuilder, ServiceExt, service_fn};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
//! let answers = service_fn(|_: http::Request<String>| async {
//!     Ok::<_, std::io::Error>(http::Response::new("body".to_owned()))
//! });
//! let bounded = ServiceBuilder::new()
//!     .layer(ConcurrencyLayer::new("inventory".parse()?, ConcurrencyLimit::new(1)))
//!     .service(answers);
//! let held = bounded.clone().oneshot(http::Request::new(String::new())).await?;
//! assert!(bounded.clone().oneshot(http::Request::new(String::new())).await.is_err());
//! drop(held);
//! assert!(bounded.oneshot(http::Request::new(String::new())).await.is_ok());
//! # Ok(())
//! # }
//! ```

mod layer;
mod permit;
mod service;

pub use layer::ConcurrencyLayer;
pub use permit::ConcurrencyPermit;
pub use service::LimitConcurrency;

use crate::admission::Admission;

/// The answer, or the refusal for want of a permit.
pub type ResponseFuture<F> = Admission<F, ConcurrencyPermit>;
