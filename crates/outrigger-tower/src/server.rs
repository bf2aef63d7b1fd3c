//! The inbound side: what is known of a request that is served, and how refusals are answered.
//!
//! Outermost first: [`RefuseLayer`] turns our errors into answers, [`InboundLayer`] makes the
//! context, [`DeadlineLayer`](crate::DeadlineLayer) refuses what comes too late and stops what
//! takes too long, then [`ConcurrencyLayer`](crate::ConcurrencyLayer),
//! [`RateLimitLayer`](crate::RateLimitLayer) and the handler.
//!
//! **Tries made below.** A handler's own calls may have been tried more than once, and its caller
//! must know. `InboundLayer` opens a scope around the handler; the retry layer of every call made
//! on the handler's task notes its tries in it, and the answer gets `x-outrigger-attempts` from
//! there, unless the handler has passed a larger number on. A handler that makes its calls on
//! other tasks (`tokio::spawn`) copies the header from the answers it got, as services in other
//! languages do.
//!
//! ```
//! use outrigger_tower::{DeadlineLayer, InboundLayer, RefuseLayer};
//! use tower::{ServiceBuilder, ServiceExt, service_fn};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
//! let handler = service_fn(|_: http::Request<()>| async {
//!     Ok::<_, std::io::Error>(http::Response::new(String::new()))
//! });
//! let server = ServiceBuilder::new()
//!     .layer(RefuseLayer::new())
//!     .layer(InboundLayer::new("inventory".parse()?))
//!     .layer(DeadlineLayer::new())
//!     .service(handler);
//! let late = http::Request::get("/").header("x-outrigger-deadline-ms", "0").body(())?;
//! let answer = server.oneshot(late).await?;
//! assert_eq!(answer.status(), 504);
//! assert_eq!(answer.headers()["x-outrigger-reason"], "deadline");
//! # Ok(())
//! # }
//! ```

mod inbound;
mod refuse;
mod scope;
mod tell_refused;
mod tell_served;

pub use inbound::{Inbound, InboundFuture, InboundLayer, Trust};
pub use refuse::{Refuse, RefuseFuture, RefuseLayer, RefusedBody};
pub(crate) use scope::{inherit, is_serving, note_tries};
pub use tell_refused::{TellRefused, TellRefusedFuture, TellRefusedLayer};
pub use tell_served::{ServedBody, TellServed, TellServedFuture, TellServedLayer, Tells};
