//! Registration and discovery over a [`consulrs`] client that you already have.
//!
//! [`Consulrs`] is a [`Registrar`] and a [`Resolver`], like `outrigger_consul::Consul`, for those
//! who hold a configured [`ConsulClient`] and want to hand it over. It checks names, addresses and
//! the token before consulrs sees them, runs every call in a task of its own so that a panic
//! becomes an error, and bounds every call in time.
//!
//! ```no_run
//! use consulrs::client::{ConsulClient, ConsulClientSettingsBuilder};
//! use outrigger_consulrs::Consulrs;
//! use outrigger_discovery::{Query, Registrar, Registration, Resolver};
//!
//! # async fn run() -> Result<(), Box<dyn std::error::Error>> {
//! let yours = ConsulClient::new(ConsulClientSettingsBuilder::default().build()?)?;
//! let consul = Consulrs::new(yours)?;
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
//! Where to look next: the README lists what consulrs does wrong and what is done about it here.
//! Without a client of your own, take `outrigger-consul`: it needs neither OpenSSL nor a second
//! HTTP stack.
//!
//! [`ConsulClient`]: consulrs::client::ConsulClient
//! [`Registrar`]: outrigger_discovery::Registrar
//! [`Resolver`]: outrigger_discovery::Resolver

mod announce;
mod ask;
mod check;
mod client;
mod config;
mod index;
mod pace;
mod registry;
mod watch;

pub use config::{ConfigError, ConsulrsConfig};
pub use registry::Consulrs;
