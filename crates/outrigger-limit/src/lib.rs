//! Rate limits over governor, concurrency limits and adaptive limits, on a clock that is an
//! argument.
//!
//! ```
//! use std::time::{Duration, Instant};
//! use outrigger_limit::{KeyedRateLimit, RateLimitConfig};
//!
//! let t0 = Instant::now();
//! let config = RateLimitConfig::new("10/s".parse()?).with_burst(2.try_into()?);
//! let limit = KeyedRateLimit::new(config, 0x5eed, t0)?;
//! let alice = limit.key().part(b"alice").finish();
//! assert_eq!(limit.try_acquire(alice, t0).map(|admitted| admitted.remaining), Ok(1));
//! assert_eq!(limit.try_acquire(alice, t0).map(|admitted| admitted.remaining), Ok(0));
//! let limited = limit.try_acquire(alice, t0).expect_err("the bucket is empty");
//! assert_eq!(limited.retry_after, Duration::from_millis(100));
//! assert!(limit.try_acquire(alice, t0 + limited.retry_after).is_ok());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! | feature | what it adds |
//! | --- | --- |
//! | `serde` | `Serialize` and `Deserialize` for the configurations |
//!
//! Where to look next: [`RateLimit`] for one bucket, [`KeyedRateLimit`] for one per caller,
//! [`ConcurrencyLimit`] for requests in flight, [`AdaptiveLimit`] and [`Gradient2`] for a bound
//! that finds itself, [`CpuShed`] for a machine without CPU to spare; `docs/adr/0006-wrap-governor.md` says why governor is wrapped as it is.

mod adaptive;
mod bound;
mod clock;
mod concurrency;
mod config;
mod gradient;
mod key;
mod keyed;
mod rate_limit;
mod scale;
mod shed;
mod sync;
mod table;

// Declared here and not in the modules they test: `tests/loom.rs` and `tests/shuttle.rs` include
// those modules without their tests.
#[cfg(test)]
#[path = "concurrency/tests.rs"]
mod concurrency_tests;
#[cfg(test)]
#[path = "table/tests.rs"]
mod table_tests;

pub use adaptive::{AdaptiveLimit, AdaptivePermit};
pub use bound::{Bound, BoundConfig};
pub use concurrency::{ConcurrencyLimit, Full, Permit};
pub use config::{ConfigError, Gradient2Config, Mode, RateLimitConfig, WhenFull};
pub use gradient::Gradient2;
pub use key::{Key, KeyBuilder};
pub use keyed::KeyedRateLimit;
pub use rate_limit::{Admitted, Limited, RateLimit};
pub use shed::{CpuShed, ShedChange, ShedConfig, ShedVerdict, Shedder};
