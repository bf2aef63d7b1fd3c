//! So many requests per time: the caller's own use of a service, or what a server accepts.
//!
//! The bucket is asked in `call`, so that readiness polled without a call spends nothing. A
//! refusal is [`Rejected::RateLimited`](outrigger_core::Rejected::RateLimited) and says when to
//! come back.
//!
//! ```
//! use std::sync::Arc;
//! use outrigger_limit::{RateLimit, RateLimitConfig};
//! use outrigger_tower::{RateLimitLayer, clock};
//! use tower::{ServiceBuilder, ServiceExt, service_fn};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
//! let bucket = RateLimit::new(RateLimitConfig::new("1/s".parse()?), clock::now())?;
//! let answers = service_fn(|_: http::Request<String>| async {
//!     Ok::<_, std::io::Error>(http::Response::new(String::new()))
//! });
//! let limited = ServiceBuilder::new()
//!     .layer(RateLimitLayer::new("inventory".parse()?, Arc::new(bucket)))
//!     .service(answers);
//! assert!(limited.clone().oneshot(http::Request::new(String::new())).await.is_ok());
//! assert!(limited.oneshot(http::Request::new(String::new())).await.is_err());
//! # Ok(())
//! # }
//! ```

mod future;
mod key_of;
mod layer;
mod service;

pub use future::{ResponseFuture, Tell};
pub use key_of::{ClientAddress, KeyOf};
pub use layer::RateLimitLayer;
pub use service::LimitRate;
