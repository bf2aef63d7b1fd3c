//! The time for one try, to its response's head.
//!
//! A try that takes longer is a failure of its endpoint, `try_timeout`, and may be retried.
//! Innermost but the pool: it sees the endpoint that was chosen.
//!
//! ```
//! use std::time::Duration;
//! use outrigger_tower::PerTryTimeoutLayer;
//! use tower::{ServiceBuilder, ServiceExt, service_fn};
//!
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() {
//! let never = service_fn(|_: http::Request<String>| {
//!     std::future::pending::<Result<http::Response<String>, std::io::Error>>()
//! });
//! let bounded =
//!     ServiceBuilder::new().layer(PerTryTimeoutLayer::new(Duration::from_millis(9))).service(never);
//! let error = bounded.oneshot(http::Request::new(String::new())).await.expect_err("it takes long");
//! assert_eq!(error.to_string(), "try timed out");
//! # }
//! ```

mod future;
mod layer;
mod service;

pub use future::ResponseFuture;
pub use layer::PerTryTimeoutLayer;
pub use service::PerTryTimeout;
