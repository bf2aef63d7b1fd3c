//! The words of Outrigger: what a service, an instance, an endpoint, a snapshot, an outcome and a
//! refusal are, with no I/O, no clock and no async in sight.
//!
//! Every other crate speaks in these types. No invalid value can be built: a [`Ratio`] lies in
//! 0..=1, a [`Rate`] is never zero, a [`ServiceName`] cannot break a URL.
//!
//! ```
//! use outrigger_core::{Language, Ratio, ServiceName};
//!
//! let inventory: ServiceName = "inventory".parse()?;
//! assert_eq!(inventory.as_str(), "inventory");
//! assert!("../etc".parse::<ServiceName>().is_err());
//! assert!(Ratio::new(1.5).is_err());
//! assert_eq!(Language::parse("golang"), Some(Language::Go));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! | feature | what it adds |
//! | --- | --- |
//! | `http` (default) | [`Carry`] for `http::Request`, the header names, refusals as HTTP heads |
//! | `serde` | `Serialize` and `Deserialize` for the plain types |
//!
//! Where to look next: `outrigger-balance`, `-limit`, `-breaker` and `-retry` decide with these
//! words; the `outrigger` crate puts everything together.

mod call;
mod clock;
mod context;
mod endpoint;
mod failed;
#[cfg(feature = "http")]
pub mod header;
mod instance;
mod language;
mod name;
mod observe;
mod outcome;
mod path;
mod rate;
mod ratio;
mod reason;
mod receipt;
mod rejected;
mod snapshot;
mod trace;
mod tried;

pub use call::{Call, Carry, Dispatch};
pub use clock::Clock;
pub use context::{Context, MAX_ATTEMPT, PolicyVersion};
pub use endpoint::Endpoint;
pub use failed::{BoxError, Failed, FailureKind};
pub use instance::{Address, Dialect, Instance, Protocol, Status, Weights};
pub use language::Language;
pub use name::{InstanceId, NameError, RouteName, ServiceName};
pub use observe::{CircuitState, EjectionCause, Event, Observe, Observers, RegistrationState};
pub use outcome::Outcome;
pub use path::{NormalPath, PathError};
pub use rate::{Rate, RateError};
pub use ratio::{Ratio, RatioError};
pub use reason::{Reason, Refusal};
pub use receipt::{Decision, Receipt};
pub use rejected::Rejected;
pub use snapshot::{Freshness, Snapshot};
pub use trace::TraceContext;
pub use tried::Tried;
