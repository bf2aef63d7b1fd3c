//! Failures on purpose: some requests start late, some are answered by us.
//!
//! It stands outside of timeout and retries, as in Envoy: the policy's timeout starts when an
//! injected delay is over, and an abort is never retried. The caller's own deadline goes on during
//! a delay. An abort is [`Rejected::Fault`](outrigger_core::Rejected::Fault), which is answered
//! with the status that the rule names and the reason `fault`.
//!
//! ```
//! use http::StatusCode;
//! use outrigger_core::{Ratio, Refusal};
//! use outrigger_tower::{FaultLayer, FaultRule};
//! use tower::{ServiceBuilder, ServiceExt, service_fn};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
//! let answers = service_fn(|_: http::Request<String>| async {
//!     Ok::<_, std::io::Error>(http::Response::new(String::new()))
//! });
//! let rule = FaultRule::new().with_abort(Ratio::ONE, StatusCode::IM_A_TEAPOT);
//! let faulty =
//!     ServiceBuilder::new().layer(FaultLayer::new("stock".parse()?, rule)).service(answers);
//! let error = faulty.oneshot(http::Request::new(String::new())).await.expect_err("aborted");
//! assert_eq!(Refusal::of(&*error).map(|refusal| refusal.http_status()), Some(418));
//! # Ok(())
//! # }
//! ```

mod future;
mod layer;
mod rule;
mod service;

pub use future::ResponseFuture;
pub use layer::FaultLayer;
pub use rule::FaultRule;
pub use service::InjectFault;
