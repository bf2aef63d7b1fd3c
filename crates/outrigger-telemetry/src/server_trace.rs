//! The outermost layer of a server: one span per request, and what calls made for it inherit.
//!
//! ```
//! use outrigger_telemetry::{ServerTraceLayer, Telemetry, current};
//! use tower::{ServiceBuilder, ServiceExt, service_fn};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), tower::BoxError> {
//! let telemetry = Telemetry::disabled("inventory");
//! let handler = service_fn(async |_: http::Request<String>| {
//!     let trace = current().map(|inherited| inherited.trace);
//!     Ok::<_, std::io::Error>(http::Response::new(format!("{trace:?}")))
//! });
//! let server = ServiceBuilder::new().layer(ServerTraceLayer::new(&telemetry)).service(handler);
//! let request = http::Request::get("/stock/42")
//!     .header("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00")
//!     .body(String::new())?;
//! let answer = server.oneshot(request).await?.into_body().into_inner();
//! assert!(answer.contains("0af7651916cd43dd8448eb211c80319c"));
//! # Ok(())
//! # }
//! ```

mod future;
mod layer;
mod service;

pub(crate) use future::ServerEnd;
pub use future::ServerFuture;
pub use layer::{ServerTraceLayer, Trust};
pub use service::ServerTrace;
