//! Load balancing as pure rules: pickers, load estimates, slow start, locality, outlier ejection.
//!
//! An [`EndpointSet`] holds what one caller knows of one service. It is shared by `&`, takes the
//! time and the dice as arguments, and does no I/O. Each try asks it for a [`Pick`], tells it with
//! [`Pick::complete`] what became of it, and keeps the [`InFlight`] that comes back for as long as
//! the response's body lives.
//!
//! ```
//! use outrigger_balance::{Completion, EndpointSet, Members, PickRequest, SetOptions};
//! use outrigger_core::{Endpoint, Instance, InstanceId, ServiceName};
//! use std::{net::SocketAddr, sync::Arc, time::Instant};
//!
//! let service: ServiceName = "inventory".parse()?;
//! let address = SocketAddr::from(([127, 0, 0, 1], 8080));
//! let instance = Instance::new(InstanceId::new("inventory-1")?, service.clone(), address);
//!
//! # #[expect(clippy::disallowed_methods)]
//! let now = Instant::now();
//! let set = EndpointSet::new(SetOptions::new(service), now)?;
//! set.update(Members::new(1, vec![Endpoint::new(Arc::new(instance), address)]), now);
//!
//! let pick = set.pick(&PickRequest::new(now), &mut fastrand::Rng::with_seed(7))?;
//! assert_eq!(pick.endpoint().address(), address);
//! drop(pick.complete(&Completion::success(now)));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! | feature | what it adds |
//! | --- | --- |
//! | `serde` | `Serialize` and `Deserialize` for the configuration |
//!
//! Where to look next: [`BalanceConfig`] and [`EjectConfig`] for what can be set and the defaults,
//! [`PickRequest`] for what a try may ask for, `outrigger-tower` for the layer around this.

mod candidates;
mod config;
mod eject;
mod estimate;
mod hash;
mod options;
mod pick;
mod picker;
mod roster;
mod set;
mod state;
mod subset;
mod view;
mod wheel;

pub use config::{
    Algorithm, BalanceConfig, ConfigError, EjectConfig, ErrorClass, Locality, Prefer, SlowStart,
};
pub use hash::hash_key;
pub use options::{Caller, Change, Members, Peers, SetOptions};
pub use pick::{Completion, InFlight, NoEndpoint, Pick, PickRequest};
pub use set::EndpointSet;
pub use subset::Subset;
pub use view::{EndpointStatus, EndpointView, SetView};
