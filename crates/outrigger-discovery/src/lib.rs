//! The ports between Outrigger and a registry, without any I/O.
//!
//! A [`Registrar`] announces instances, a [`Resolver`] answers with a stream of versioned
//! snapshots, a [`KeyWatcher`] tells what stands under a key. Adapters (Consul, a file, a test) implement both; everything above speaks only to
//! these traits. What is decided on the way is pure and stands here too: whether a registration is
//! valid ([`Registration`]), which instances a caller wants ([`Filter`]), what changed
//! ([`Change`]), and whether an empty answer is to be believed ([`Guard`]).
//!
//! ```
//! use outrigger_core::ServiceName;
//! use outrigger_discovery::{Query, Resolver, StaticResolver};
//! use std::net::SocketAddr;
//! # use std::{pin::pin, task::{Context, Poll, Waker}, future::Future};
//! # fn block_on<T>(f: impl Future<Output = T>) -> T {
//! #     match pin!(f).poll(&mut Context::from_waker(Waker::noop())) {
//! #         Poll::Ready(t) => t, Poll::Pending => panic!("not ready") }
//! # }
//!
//! let inventory: ServiceName = "inventory".parse()?;
//! let address: SocketAddr = "127.0.0.1:9101".parse()?;
//! let fixed = StaticResolver::new().with(inventory.clone(), [address]);
//! let mut snapshots = fixed.watch(&Query::new(inventory));
//! let snapshot = block_on(snapshots.next()).expect("a fixed set is known at once");
//! assert_eq!(snapshot.instances.len(), 1);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Where to look next: `outrigger-consul` implements both traits over Consul's HTTP API,
//! [`InMemoryRegistry`] over nothing, for tests.

mod catalogue;
mod change;
mod check;
mod error;
mod feed;
mod filter;
mod fixed;
mod guard;
mod key;
mod memory;
mod registrar;
mod registration;
mod resolver;

pub use catalogue::{Catalogue, CatalogueStream};
pub use change::{Change, Changed};
pub use check::Check;
pub use error::RegistryError;
pub use feed::{Feed, Subscription};
pub use filter::{Filter, FilterError};
pub use fixed::StaticResolver;
pub use guard::{Answer, Guard, GuardConfig, GuardConfigError, Verdict};
pub use key::{KeyState, KeyStream, KeyWatcher};
pub use memory::InMemoryRegistry;
pub use registrar::{Announcement, BoxFuture, Registered, Registrar};
pub use registration::{Registration, RegistrationError};
pub use resolver::{Query, RegistryHealth, Resolver, SnapshotStream};
