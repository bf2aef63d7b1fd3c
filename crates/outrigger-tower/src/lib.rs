//! One tower layer for each rule of Outrigger.
//!
//! Each layer works alone under plain tower, on `http::Request`; together, in the order of the
//! policy, they are the path of every call. Inside the whole stack a request travels as a
//! [`Call`](outrigger_core::Call) and, once an endpoint is chosen, as a
//! [`Dispatch`](outrigger_core::Dispatch). Errors are [`BoxError`](outrigger_core::BoxError)s that
//! hold a [`Rejected`](outrigger_core::Rejected) (we refused) or a
//! [`Failed`](outrigger_core::Failed) (an endpoint or the wire did).
//!
//! ```
//! use std::time::Duration;
//! use outrigger_balance::{EndpointSet, SetOptions};
//! use outrigger_core::{Dispatch, Rejected, ServiceName};
//! use outrigger_tower::{BalanceLayer, ContextLayer, StampLayer, TimeoutLayer, clock};
//! use tower::{ServiceBuilder, ServiceExt, service_fn};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
//! let inventory: ServiceName = "inventory".parse()?;
//! let set = EndpointSet::new(SetOptions::new(inventory.clone()), clock::now())?;
//! // The wire: `outrigger_http::Pool` in earnest.
//! let wire = service_fn(|_: Dispatch<http::Request<String>>| async {
//!     Ok::<_, std::io::Error>(http::Response::new(String::new()))
//! });
//! let client = ServiceBuilder::new()
//!     .layer(ContextLayer::new(inventory))
//!     .layer(TimeoutLayer::new(Duration::from_secs(15)))
//!     .layer(BalanceLayer::new(set))
//!     .layer(StampLayer::new())
//!     .service(wire);
//! let error = client.oneshot(http::Request::new(String::new())).await.expect_err("nobody there");
//! assert!(matches!(Rejected::find(&*error), Some(Rejected::NoEndpoint { .. })));
//! # Ok(())
//! # }
//! ```
//!
//! | caller, outermost first | server, outermost first |
//! | --- | --- |
//! | [`ContextLayer`] makes the context | [`RefuseLayer`] answers what we refuse |
//! | [`ObserveLayer`] tells how it ended | [`InboundLayer`] makes the context |
//! | [`RateLimitLayer`], [`RateRulesLayer`] the caller's own use | [`TellServedLayer`] tells requests |
//! | [`HeaderEditLayer`] | [`TellRefusedLayer`] tells refusals |
//! | [`FaultLayer`] failures on purpose | [`DeadlineLayer`] |
//! | [`TimeoutLayer`] timeout and deadline, one timer | [`ShedLayer`] by CPU |
//! | [`MirrorLayer`] copies | [`ConcurrencyLayer`] |
//! | [`SplitLayer`] the subset | [`RateRulesLayer`], [`RateLimitLayer`] |
//! | [`FallbackLayer`], [`CircuitBreakerLayer`] | [`BodyLimitLayer`] |
//! | [`RetryLayer`], [`HedgeLayer`] with guard and budget | |
//! | [`BalanceLayer`] the pick and its outcome | |
//! | [`ConcurrencyLayer`] capacity | |
//! | [`PerTryTimeoutLayer`] | |
//! | [`StampLayer`] headers, then the pool | |
//!
//! [`FusedLayer`] walks the caller's side, from [`ObserveLayer`] to [`StampLayer`], in one future.
//!
//! Where to look next: the rules themselves are in `outrigger-balance`, `-limit`, `-breaker` and
//! `-retry`; the `outrigger` crate builds whole stacks.

pub mod admission;
pub mod balance;
pub mod body_limit;
pub mod circuit_breaker;
pub mod clock;
pub mod concurrency;
pub mod context;
mod dice;
mod elsewhere;
pub mod fallback;
pub mod fault;
pub mod fused;
mod guarded_body;
pub mod header_edit;
pub mod hedge;
mod http_call;
pub mod mirror;
pub mod observe;
pub mod per_try_timeout;
pub mod rate_limit;
pub mod rate_rules;
pub mod retry;
pub mod server;
pub mod shed;
mod signal;
pub mod split;
pub mod stamp;
pub mod timeout;
mod timer;
mod tries;

pub use admission::{Admission, AtHead};
pub use balance::{Balance, BalanceLayer, HashOn};
pub use body_limit::{BodyLimitLayer, LimitBody, LimitedBody};
pub use circuit_breaker::{CircuitBreaker, CircuitBreakerLayer};
pub use clock::TokioClock;
pub use concurrency::{ConcurrencyLayer, LimitConcurrency};
pub use context::{ContextLayer, WithContext};
pub use dice::Dice;
pub use elsewhere::{Elsewhere, ElsewhereBody};
pub use fallback::{Fallback, FallbackAnswer, FallbackBody, FallbackLayer, FixedAnswer};
pub use fault::{FaultLayer, FaultRule, InjectFault};
pub use fused::{Fused, FusedLayer, FusedRules};
pub use guarded_body::{BodyEnd, Guard, GuardedBody};
pub use header_edit::{EditHeaders, HeaderEditError, HeaderEditLayer, HeaderEdits};
pub use hedge::{Hedge, HedgeLayer};
pub use http_call::HttpCall;
pub use mirror::{
    Compare, Difference, Mirror, MirrorBody, MirrorCounts, MirrorLayer, MirrorRule, Mirrored,
    TeeBody, WatchedBody,
};
pub use observe::{ObserveLayer, Observed};
pub use per_try_timeout::{PerTryTimeout, PerTryTimeoutLayer};
pub use rate_limit::{ClientAddress, KeyOf, LimitRate, RateLimitLayer};
pub use rate_rules::{LimitRates, RateRule, RateRules, RateRulesLayer, RequestHead};
pub use retry::{ReplayBody, Retry, RetryLayer};
pub use server::{
    Inbound, InboundLayer, Refuse, RefuseLayer, RefusedBody, ServedBody, TellRefused,
    TellRefusedLayer, TellServed, TellServedLayer, Tells, Trust,
};
pub use shed::{Shed, ShedLayer};
pub use split::{Split, SplitError, SplitLayer, SplitRule};
pub use stamp::{Stamp, StampLayer};
pub use timeout::{DeadlineLayer, TimedBody, Timeout, TimeoutLayer};
pub use tries::{AfterTries, ServedBy, TriesMade};
