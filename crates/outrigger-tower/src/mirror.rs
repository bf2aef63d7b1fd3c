//! Copies of requests for another subset or service, and what their answers tell.
//!
//! A copy is sent when the request's own body has gone out, and is never waited for: the caller's
//! answer takes as long as it would without. Copies are bounded in number and in time, are never
//! retried here, and what becomes of them is told to no circuit. They carry the request's headers,
//! its request id and its trace.
//!
//! With `compare` the two answers are held side by side: statuses (gRPC's too), chosen headers, and
//! bodies up to a cap. [`Mirrored`] counts what came of it and keeps the last differences.
//!
//! ```
//! use std::sync::Arc;
//! use bytes::Bytes;
//! use http_body_util::{BodyExt, Full};
//! use outrigger_tower::{Compare, Elsewhere, MirrorBody, MirrorLayer, MirrorRule, Mirrored};
//! use tower::{ServiceBuilder, ServiceExt, service_fn};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
//! let says = |text: &'static str| http::Response::new(Full::new(Bytes::from_static(text.as_bytes())));
//! let old = service_fn(move |_: http::Request<_>| async move { Ok::<_, std::io::Error>(says("42")) });
//! let new = service_fn(move |_: http::Request<MirrorBody>| async move {
//!     Ok::<_, std::io::Error>(says("43"))
//! });
//! let seen = Arc::new(Mirrored::new());
//! let rule = MirrorRule::new().with_compare(Some(Compare::default()));
//! let layer = MirrorLayer::new("stock".parse()?, rule, Elsewhere::new(new), Arc::clone(&seen));
//! let service = ServiceBuilder::new().layer(layer).service(old);
//! let answer = service.oneshot(http::Request::new(Full::<Bytes>::default())).await?;
//! assert_eq!(answer.into_body().collect().await?.to_bytes(), "42");
//! while seen.differences().is_empty() {
//!     tokio::task::yield_now().await;
//! }
//! assert_eq!(seen.differences()[0].mirror.body, "43");
//! # Ok(())
//! # }
//! ```

mod compare;
mod copy;
mod future;
mod layer;
mod rule;
mod seen;
mod service;
mod tee;
mod watch;

pub use compare::{Difference, Side};
pub use copy::MirrorBody;
pub use future::ResponseFuture;
pub use layer::MirrorLayer;
pub use rule::{Compare, MirrorRule};
pub use seen::{MirrorCounts, Mirrored};
pub use service::Mirror;
pub use tee::TeeBody;
pub use watch::WatchedBody;
