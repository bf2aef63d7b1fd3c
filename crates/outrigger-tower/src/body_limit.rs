//! The largest request body that a server takes.
//!
//! A body that says it is larger is refused at once; one that turns out larger breaks off there,
//! and the request is refused when the handler ends without an answer of its own under way.
//! [`Rejected::BodyTooLarge`](outrigger_core::Rejected::BodyTooLarge): 413, for gRPC code 8.
//!
//! ```
//! use bytes::Bytes;
//! use http_body_util::{BodyExt, Full};
//! use outrigger_tower::{BodyLimitLayer, LimitedBody};
//! use tower::{ServiceBuilder, ServiceExt, service_fn};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
//! let reads = service_fn(|request: http::Request<LimitedBody<Full<Bytes>>>| async {
//!     let body = request.into_body().collect().await?.to_bytes();
//!     Ok::<_, Box<dyn std::error::Error + Send + Sync>>(http::Response::new(body))
//! });
//! let server =
//!     ServiceBuilder::new().layer(BodyLimitLayer::new("stock".parse()?, 5)).service(reads);
//! let post = |text: &'static str| http::Request::new(Full::new(Bytes::from(text)));
//! assert!(server.clone().oneshot(post("small")).await.is_ok());
//! assert!(server.oneshot(post("larger")).await.is_err());
//! # Ok(())
//! # }
//! ```

mod body;
mod future;
mod layer;
mod service;

pub use body::LimitedBody;
pub use future::{Counted, ResponseFuture};
pub use layer::BodyLimitLayer;
pub use service::LimitBody;
