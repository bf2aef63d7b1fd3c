//! A second try while the first is still running; the answer that comes first is taken.
//!
//! Only for requests that may be delivered twice, were not retried above, and whose body is empty
//! or has been sent. A hedge counts as a retry everywhere: it takes a token of the budget, goes to
//! another endpoint, carries `x-outrigger-attempt`, and its answer says `x-outrigger-attempts`. An
//! answer that is a failure waits for the others. Inside a [`RetryLayer`](crate::RetryLayer) only
//! the first try is hedged, and a request that was hedged is not retried.
//!
//! Cost: a request that may be hedged allocates the list of its endpoints; a hedge its future.
//!
//! ```
//! use std::time::Duration;
//! use http_body_util::Empty;
//! use outrigger_retry::{Budget, BudgetConfig, HedgeConfig, HedgeRule, Methods};
//! use outrigger_tower::{HedgeLayer, clock};
//! use tower::{ServiceBuilder, ServiceExt, service_fn};
//!
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
//! let rule = HedgeRule::new(&HedgeConfig::default(), &Methods::Idempotent)?;
//! let budget = Budget::new(&BudgetConfig::default(), clock::now());
//! let slow_at_first = service_fn(|request: http::Request<_>| async move {
//!     let context: &outrigger_core::Context = request.extensions().get().expect("a context");
//!     if context.attempt == 0 {
//!         tokio::time::sleep(Duration::from_secs(3)).await;
//!     }
//!     Ok::<_, std::io::Error>(http::Response::new(Empty::<bytes::Bytes>::new()))
//! });
//! let hedged = ServiceBuilder::new()
//!     .layer(HedgeLayer::new("inventory".parse()?, rule, budget))
//!     .service(slow_at_first);
//! let started = clock::now();
//! let response = hedged.oneshot(http::Request::new(Empty::<bytes::Bytes>::new())).await?;
//! assert!(clock::now() - started < Duration::from_millis(100));
//! assert_eq!(response.headers()["x-outrigger-attempts"], "2");
//! # Ok(())
//! # }
//! ```

mod future;
mod layer;
mod service;

pub use future::{HedgeGuard, ResponseFuture};
pub use layer::HedgeLayer;
pub use service::Hedge;
