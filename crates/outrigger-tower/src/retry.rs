//! Sends a request again when its rule, its budget and the chain-wide guard allow it.
//!
//! - The request is kept for another try: its head without an allocation of its own, its body by
//!   recording what the first try sends, up to `body_limit`; an empty body costs nothing.
//! - Each try carries the attempts made so far in its context, from which the
//!   [`StampLayer`](crate::StampLayer) writes the guard's header.
//! - An answer for which more than one try was made carries `x-outrigger-attempts`; an error is
//!   wrapped in [`AfterTries`](crate::AfterTries). What the last try brought is what comes back,
//!   an endpoint's own answer before one of ours.
//!
//! ```
//! use outrigger_core::{Failed, FailureKind};
//! use outrigger_retry::{Budget, BudgetConfig, RetryConfig, RetryRule};
//! use outrigger_tower::{RetryLayer, clock};
//! use tower::{ServiceBuilder, ServiceExt, service_fn};
//!
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
//! let rule = RetryRule::new(&RetryConfig::default())?;
//! let budget = Budget::new(&BudgetConfig::default(), clock::now());
//! let mut up = [false, true].into_iter();
//! let flaky = service_fn(move |_: http::Request<_>| {
//!     let up = up.next().unwrap_or(true);
//!     async move {
//!         if !up {
//!             return Err(Failed::new(FailureKind::ConnectFailure));
//!         }
//!         Ok(http::Response::new(http_body_util::Empty::<bytes::Bytes>::new()))
//!     }
//! });
//! # let flaky = flaky_clone::Shared::new(flaky);
//! let retried = ServiceBuilder::new()
//!     .layer(RetryLayer::new("inventory".parse()?, rule.into(), budget))
//!     .service(flaky);
//! let request = http::Request::new(http_body_util::Empty::<bytes::Bytes>::new());
//! let response = retried.oneshot(request).await?;
//! assert_eq!(response.headers()["x-outrigger-attempts"], "2");
//! # Ok(())
//! # }
//! # mod flaky_clone {
//! #     use std::{sync::{Arc, Mutex}, task::{Context, Poll}};
//! #     pub struct Shared<S>(Arc<Mutex<S>>);
//! #     impl<S> Shared<S> { pub fn new(s: S) -> Self { Self(Arc::new(Mutex::new(s))) } }
//! #     impl<S> Clone for Shared<S> { fn clone(&self) -> Self { Self(self.0.clone()) } }
//! #     impl<R, S: tower::Service<R>> tower::Service<R> for Shared<S> {
//! #         type Response = S::Response; type Error = S::Error; type Future = S::Future;
//! #         fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
//! #             self.0.lock().unwrap().poll_ready(cx)
//! #         }
//! #         fn call(&mut self, r: R) -> S::Future { self.0.lock().unwrap().call(r) }
//! #     }
//! # }
//! ```

mod future;
mod kept;
mod layer;
mod replay_body;
mod service;

pub(crate) use future::{Next, decide, remember, tell_forbidden, tell_retried};
pub use future::{ResponseFuture, RetryGuard};
pub(crate) use kept::Kept;
pub use layer::RetryLayer;
pub use replay_body::ReplayBody;
pub use service::Retry;
