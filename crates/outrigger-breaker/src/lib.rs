//! A circuit breaker: failsafe's three states behind exact sliding windows, permits with a
//! generation, bounded probes with a lease, and a clock that is an argument.
//!
//! A [`Breaker`] is asked before a call and told afterwards. It is shared by `&`: while the circuit
//! is closed neither takes a lock.
//!
//! ```
//! use std::time::{Duration, Instant};
//! use outrigger_breaker::{Breaker, BreakerConfig};
//! use outrigger_core::{CircuitState, Outcome};
//!
//! let t0 = Instant::now();
//! let breaker = Breaker::new(BreakerConfig::default(), 7, t0)?;
//! for _ in 0..20 {
//!     let permit = breaker.admit(t0).expect("closed");
//!     permit.record(Outcome::Failure, Duration::from_millis(3), t0);
//! }
//! assert_eq!(breaker.state(t0), CircuitState::Open);
//! let open = breaker.admit(t0).expect_err("nothing passes");
//! assert!(open.retry_after >= Duration::from_secs(5));
//! # Ok::<(), outrigger_breaker::ConfigError>(())
//! ```
//!
//! | feature | what it adds |
//! | --- | --- |
//! | `serde` | `Serialize` and `Deserialize` for [`BreakerConfig`] |
//!
//! Where to look next: [`BreakerConfig`] says when a circuit opens, [`Permit`] what becomes of a
//! call, [`Transition`] what is told to others; `docs/adr/0005-wrap-failsafe.md` says why failsafe
//! is wrapped and not used as it is.

mod breaker;
mod config;
mod control;
mod machine;
mod permit;
mod sync;
mod transition;
mod window;

// Declared here and not in the modules they test: `tests/loom.rs` and `tests/shuttle.rs` include
// those modules without their tests.
#[cfg(test)]
#[path = "breaker/peek_tests.rs"]
mod breaker_peek_tests;
#[cfg(test)]
#[path = "breaker/tests.rs"]
mod breaker_tests;
#[cfg(test)]
#[path = "config/tests.rs"]
mod config_tests;
#[cfg(test)]
#[path = "window/tests.rs"]
mod window_tests;

pub use breaker::{Breaker, BreakerBuilder};
pub use config::{BreakerConfig, ConfigError, Mode, SlowCall, Window};
/// The trait of failsafe that decides when a circuit opens; see [`BreakerBuilder::policy`].
pub use failsafe::FailurePolicy;
pub use permit::{Open, Permit};
pub use transition::{Cause, Transition};
pub use window::Tally;
