//! Makes the context of an outbound request: who is called, by when, and how often it was tried.
//!
//! Outermost in a caller's stack. Turns an `http::Request` into a
//! [`Call`](outrigger_core::Call), so that no layer further in looks into the extensions. What is
//! known of the request that is being served, when there is one, is taken over: its deadline, the
//! retries made for it above, its trace. It is found in a [`Context`](outrigger_core::Context) in
//! the request's extensions, which a handler may pass on, or else in the scope that
//! [`InboundLayer`](crate::InboundLayer) opens around the handler. Headers of the request tighten
//! both.
//!
//! ```
//! use outrigger_core::Call;
//! use outrigger_tower::ContextLayer;
//! use tower::{ServiceBuilder, ServiceExt, service_fn};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
//! let tells = service_fn(|call: Call<http::Request<()>>| async move {
//!     Ok::<_, std::io::Error>(http::Response::new(call.context.time_left(call.context.started)))
//! });
//! let client =
//!     ServiceBuilder::new().layer(ContextLayer::new("inventory".parse()?)).service(tells);
//! let request = http::Request::get("/stock/42").header("x-outrigger-deadline-ms", "300").body(())?;
//! let left = client.oneshot(request).await?.into_body();
//! assert_eq!(left, Some(std::time::Duration::from_millis(300)));
//! # Ok(())
//! # }
//! ```

mod layer;
mod service;

pub use layer::ContextLayer;
pub(crate) use service::tighten;
pub use service::{WithContext, keep_waiting};
