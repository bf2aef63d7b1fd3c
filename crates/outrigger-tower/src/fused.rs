//! All rules of one call in one future, for the path that most calls go.
//!
//! The same decisions in the same order as the layers make them, made by the layers' own code: it
//! is only the futures and bodies within futures and bodies that are spared, each of which is moved
//! whole whenever a request or an answer passes it. What there is to know of a call stays in one
//! place instead, which the next call takes over. What is not in here (hedges, and whatever a
//! user puts in between) is built from the layers.
//!
//! ```
//! use outrigger_balance::{EndpointSet, SetOptions};
//! use outrigger_core::{Dispatch, Observers, Rejected, ServiceName};
//! use outrigger_retry::{Budget, BudgetConfig, RetryConfig, RetryRule};
//! use outrigger_tower::{
//!     BalanceLayer, ContextLayer, FusedLayer, FusedRules, ObserveLayer, RetryLayer, clock,
//! };
//! use tower::{ServiceBuilder, ServiceExt, service_fn};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
//! type Body = http_body_util::Empty<bytes::Bytes>;
//! let inventory: ServiceName = "inventory".parse()?;
//! let set = EndpointSet::new(SetOptions::new(inventory.clone()), clock::now())?;
//! let rule = RetryRule::new(&RetryConfig::default())?;
//! let budget = Budget::new(&BudgetConfig::default(), clock::now());
//! let rules = FusedRules::new(
//!     ObserveLayer::new(inventory.clone(), Observers::none()),
//!     RetryLayer::new(inventory.clone(), rule.into(), budget),
//!     BalanceLayer::new(set),
//! );
//! // The wire: `outrigger_http::Pool` in earnest.
//! let wire = service_fn(|_: Dispatch<http::Request<outrigger_tower::ReplayBody<Body>>>| async {
//!     Ok::<_, std::io::Error>(http::Response::new(Body::new()))
//! });
//! let client = ServiceBuilder::new()
//!     .layer(ContextLayer::new(inventory))
//!     .layer(FusedLayer::new(rules))
//!     .service(wire);
//! let error = client.oneshot(http::Request::new(Body::new())).await.expect_err("nobody there");
//! assert!(matches!(Rejected::find(&*error), Some(Rejected::NoEndpoint { .. })));
//! # Ok(())
//! # }
//! ```

mod body;
mod exchange;
mod future;
mod layer;
mod places;
mod service;

pub use body::FusedBody;
pub use future::ResponseFuture;
pub use layer::{FusedLayer, FusedRules};
pub use service::Fused;
