//! Registration, discovery, KV and sessions over the HTTP API of a Consul agent.
//!
//! [`Consul`] is a [`Registrar`] and a [`Resolver`]. It keeps Consul's rules of blocking queries,
//! believes no answer that cannot be, and does not end by an error: heartbeats and watches go on
//! until their handles are dropped.
//!
//! ```no_run
//! use outrigger_consul::Consul;
//! use outrigger_discovery::{Query, Registrar, Registration, Resolver};
//!
//! # async fn run() -> Result<(), Box<dyn std::error::Error>> {
//! let consul = Consul::from_env()?;
//! let handle = consul.register(Registration::new("orders".parse()?, 8080)).await?;
//! let mut inventory = consul.watch(&Query::new("inventory".parse()?));
//! while let Some(snapshot) = inventory.next().await {
//!     println!("{} instances", snapshot.instances.len());
//! }
//! handle.deregister().await?;
//! # Ok(())
//! # }
//! ```
//!
//! | feature | what it adds |
//! | --- | --- |
//! | `aws-lc-rs` (default) | TLS to the agent by aws-lc |
//! | `ring` | TLS by ring, used when `aws-lc-rs` is off |
//!
//! [`Registrar`]: outrigger_discovery::Registrar
//! [`Resolver`]: outrigger_discovery::Resolver

mod address;
mod announce;
mod answer;
mod ask;
mod client;
mod clock;
mod config;
mod consul;
mod dial;
mod dialect;
mod follow;
mod gate;
mod index;
mod kv;
mod pace;
mod resolve;
mod session;
mod tls;
mod token;
mod watch;
mod wire;

pub use address::AgentAddress;
pub use answer::read_instances;
pub use config::{BasicAuth, ConfigError, ConsulConfig, TlsConfig};
pub use consul::Consul;
pub use dial::{Dial, Dialed};
pub use kv::{Kv, KvEntry, MAX_VALUE};
pub use resolve::addresses;
pub use session::{Session, SessionConfig, SessionId};
pub use token::{Token, TokenSource};
pub use watch::{KvState, KvStream};
