//! Retry rules: classification, backoff, budgets, deadlines, hedging and the chain-wide guard.
//!
//! Everything here is a decision: `now`, randomness and what a try showed are arguments. A
//! [`RetryRule`] is compiled once from a [`RetryConfig`]; whether to send again is one function of
//! the [`Situation`] and the [`Budget`] that all callers of one destination share.
//!
//! ```
//! use std::time::{Duration, Instant};
//! use outrigger_core::FailureKind;
//! use outrigger_retry::{Budget, BudgetConfig, RetryConfig, RetryRule, Signal, Situation, Verdict};
//!
//! let rule = RetryRule::new(&RetryConfig::default())?;
//! let now = Instant::now();
//! let budget = Budget::new(&BudgetConfig::default(), now);
//! let method = http::Method::POST;
//!
//! // Nobody saw the request, so that even a POST may be sent again, within 25 ms.
//! let situation = Situation::new(now, Signal::Failed(FailureKind::ConnectFailure), &method);
//! match rule.decide(&situation, &budget) {
//!     Verdict::Retry { after, .. } => assert!(after < Duration::from_millis(25)),
//!     other => unreachable!("{other:?}"),
//! }
//! // It was seen: without leave for POST, its first answer is the last.
//! let situation = Situation::new(now, Signal::Failed(FailureKind::Reset), &method);
//! assert!(matches!(rule.decide(&situation, &budget), Verdict::Stop { .. }));
//! # Ok::<(), outrigger_retry::ConfigError>(())
//! ```
//!
//! | feature | what it adds |
//! | --- | --- |
//! | `serde` | `Deserialize` and `Serialize` for the config structs |
//!
//! Where to look next: `outrigger-tower` puts these rules on requests; `docs/contract.md` tells
//! other languages about the headers that [`guard`] and [`deadline`] read and write.

mod backoff;
mod budget;
mod classify;
mod condition;
mod config;
pub mod deadline;
mod decision;
pub mod guard;
mod hedge;
mod methods;

pub use backoff::BackoffConfig;
pub use budget::{Budget, BudgetConfig, Budgets, InFlight, Reservation, RetryPermit};
pub use classify::{Classifier, Errors, GrpcCode, Signal};
pub use condition::{Condition, ConditionError};
pub use config::{ConfigError, RetryConfig};
pub use decision::{MAX_WAIT, RetryRule, Situation, Stop, Verdict};
pub use hedge::{HedgeConfig, HedgeRule};
pub use methods::Methods;
