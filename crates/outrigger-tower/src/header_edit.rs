//! Changes of the heads on their way: headers removed, set, added.
//!
//! Names and values are parsed once, when the rule is made. Headers that belong to one connection,
//! that frame or route a request, and those that Outrigger itself writes cannot be changed.
//!
//! ```
//! use http::{HeaderName, HeaderValue};
//! use outrigger_tower::{HeaderEditLayer, HeaderEdits};
//! use tower::{ServiceBuilder, ServiceExt, service_fn};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
//! let team = HeaderName::from_static("x-team");
//! let request = HeaderEdits::new().set(team.clone(), HeaderValue::from_static("stock"))?;
//! let response = HeaderEdits::new().remove(http::header::SERVER)?;
//! let echo = service_fn(|request: http::Request<()>| async move {
//!     Ok::<_, std::io::Error>(http::Response::new(request.headers().clone()))
//! });
//! let edited =
//!     ServiceBuilder::new().layer(HeaderEditLayer::new(request, response)).service(echo);
//! let seen = edited.oneshot(http::Request::new(())).await?.into_body();
//! assert_eq!(seen["x-team"], "stock");
//! assert!(HeaderEdits::new().remove(http::header::HOST).is_err());
//! # let _ = team;
//! # Ok(())
//! # }
//! ```

mod edits;
mod future;
mod layer;
mod service;

pub use edits::{HeaderEditError, HeaderEdits};
pub use future::ResponseFuture;
pub use layer::HeaderEditLayer;
pub use service::EditHeaders;
