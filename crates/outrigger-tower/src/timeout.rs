//! The time for a whole request: the policy's timeout and the caller's deadline.
//!
//! [`TimeoutLayer`] bounds all tries and backoffs, to the end of the response's body, by whichever
//! of the two comes first, with one timer. The difference is kept: the policy's own timeout is
//! `timeout` (504, and the endpoint's failure), the caller's deadline `deadline` (504, gRPC 4, and
//! nobody's failure). [`DeadlineLayer`] is the same without a timeout of its own, for places
//! further out; a stack that has a `TimeoutLayer` needs it only where something waits in between.
//!
//! A stream has no end to be waited for: an answer of type `text/event-stream`, a gRPC answer or
//! an upgrade obeys, from its head on, the idle timeout between frames, and the deadline.
//!
//! ```
//! use std::time::Duration;
//! use outrigger_tower::TimeoutLayer;
//! use tower::{ServiceBuilder, ServiceExt, service_fn};
//!
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() {
//! let never = service_fn(|_: http::Request<String>| {
//!     std::future::pending::<Result<http::Response<String>, std::io::Error>>()
//! });
//! let bounded =
//!     ServiceBuilder::new().layer(TimeoutLayer::new(Duration::from_millis(500))).service(never);
//! let error = bounded.oneshot(http::Request::new(String::new())).await.expect_err("it takes long");
//! assert_eq!(error.to_string(), "request timed out");
//! # }
//! ```

mod body;
mod future;
mod layer;
mod service;

pub use body::TimedBody;
pub use future::ResponseFuture;
pub use layer::{DeadlineLayer, TimeoutLayer};
pub(crate) use service::Bounds;
pub use service::Timeout;
