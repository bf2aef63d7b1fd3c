//! Which subset serves a request: one draw per request, in which all its tries stay.
//!
//! The subset's key goes into the [`Context`](outrigger_core::Context), from where
//! [`Balance`](crate::Balance) reads it; the subsets of one
//! [`EndpointSet`](outrigger_balance::EndpointSet) share what is known of their endpoints, so that
//! overlapping ones see the same load and the same ejections. A subset without endpoints is
//! refused as `no_endpoint`.
//!
//! With `sticky` the draw is a hash of a header, a cookie or the like: whoever sends the same value
//! stays on one side, also when the weights move, unless it is among the share that moves.
//!
//! ```
//! use outrigger_tower::SplitRule;
//!
//! let rule = SplitRule::new([("java".into(), 90), ("rust".into(), 10)])?;
//! assert_eq!(&**rule.choose(0), "java");
//! assert_eq!(&**rule.choose(u64::MAX), "rust");
//! # Ok::<(), outrigger_tower::SplitError>(())
//! ```

mod layer;
mod rule;
mod service;

pub use layer::SplitLayer;
pub use rule::{SplitError, SplitRule};
pub use service::Split;
