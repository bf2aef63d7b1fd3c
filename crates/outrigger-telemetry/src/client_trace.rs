//! The outermost layer of a client: one span for the whole call, with what was decided.
//!
//! ```
//! use outrigger_telemetry::{ClientTraceLayer, Telemetry};
//! use tower::{ServiceBuilder, ServiceExt, service_fn};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), tower::BoxError> {
//! let telemetry = Telemetry::disabled("orders");
//! let wire = service_fn(async |request: http::Request<String>| {
//!     Ok::<_, std::io::Error>(http::Response::new(request.into_body()))
//! });
//! let client = ServiceBuilder::new().layer(ClientTraceLayer::new(&telemetry)).service(wire);
//! let answer = client.oneshot(http::Request::new("stock".to_owned())).await?;
//! assert_eq!(answer.into_body().into_inner(), "stock");
//! # Ok(())
//! # }
//! ```

mod layer;
mod service;

pub use layer::ClientTraceLayer;
pub use service::ClientTrace;
