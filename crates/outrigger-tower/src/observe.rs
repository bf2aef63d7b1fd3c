//! Tells observers how each request ended, and what we refused.
//!
//! Just inside the [`ContextLayer`](crate::ContextLayer), around all that may answer: one
//! [`Event::Finished`](outrigger_core::Event) per request, and one `Rejected` for each that we
//! turned away. A request that is dropped before its answer is not finished and is not told.
//!
//! ```
//! use outrigger_core::{Event, Observe, Observers};
//! use outrigger_tower::ObserveLayer;
//! use std::sync::{Arc, atomic::{AtomicUsize, Ordering}};
//! use tower::{ServiceBuilder, ServiceExt, service_fn};
//!
//! #[derive(Debug, Default)]
//! struct Finished(AtomicUsize);
//! impl Observe for Finished {
//!     fn observe(&self, event: &Event<'_>) {
//!         if matches!(event, Event::Finished { status: Some(200), .. }) {
//!             self.0.fetch_add(1, Ordering::Relaxed);
//!         }
//!     }
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
//! let seen = Arc::new(Finished::default());
//! let observers = Observers::none().with(seen.clone());
//! let answers = service_fn(|_: http::Request<()>| async {
//!     Ok::<_, std::io::Error>(http::Response::new(()))
//! });
//! let observed = ServiceBuilder::new()
//!     .layer(ObserveLayer::new("inventory".parse()?, observers))
//!     .service(answers);
//! observed.oneshot(http::Request::new(())).await?;
//! assert_eq!(seen.0.load(Ordering::Relaxed), 1);
//! # Ok(())
//! # }
//! ```

mod future;
mod layer;
mod service;

pub(crate) use future::About;
pub use future::ResponseFuture;
pub use layer::ObserveLayer;
pub use service::Observed;
pub(crate) use service::method_word;
