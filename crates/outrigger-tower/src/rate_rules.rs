//! Any number of named rate limits, of which each may be for a part of the requests and have a
//! bucket per caller, address, header and so on: a policy's `rate_limits`.
//!
//! All that match must have a token, or none is taken: a refusal by one limit does not use up
//! another's, and `retry_after` is the longest that any of them asks for, so that whoever waits as
//! told is admitted. Limits that only observe count and never refuse
//! ([`Event::Spared`](outrigger_core::Event::Spared)).
//!
//! ```
//! use outrigger_core::Rejected;
//! use outrigger_limit::RateLimitConfig;
//! use outrigger_tower::{RateRule, RateRules, RateRulesLayer, clock};
//! use tower::{ServiceBuilder, ServiceExt, service_fn};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
//! let stock = RateRule::new("stock".into(), RateLimitConfig::new("1/s".parse()?))
//!     .with_matches(|head| head.path.starts_with("/stock/"));
//! let rules = RateRules::new(vec![stock], 0x5eed, clock::now())?;
//! let answers = service_fn(|_: http::Request<String>| async {
//!     Ok::<_, std::io::Error>(http::Response::new(String::new()))
//! });
//! let limited = ServiceBuilder::new()
//!     .layer(RateRulesLayer::new("inventory".parse()?, rules).with_headers(true))
//!     .service(answers);
//! let get = |path: &str| http::Request::get(path).body(String::new()).expect("valid");
//! let answer = limited.clone().oneshot(get("/stock/42")).await?;
//! assert_eq!(answer.headers()["ratelimit-remaining"], "0");
//! assert!(limited.clone().oneshot(get("/stock/43")).await.is_err());
//! assert!(limited.oneshot(get("/health")).await.is_ok(), "nothing limits it");
//! # Ok(())
//! # }
//! ```

mod future;
mod layer;
mod rule;
mod service;
mod table;

pub use future::{ResponseFuture, Tightest};
pub use layer::RateRulesLayer;
pub use rule::{RateRule, RequestHead};
pub use service::LimitRates;
pub use table::RateRules;
