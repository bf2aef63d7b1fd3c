//! The sidecar: a program of any language joins the fleet, without a line of it changed.
//!
//! *Inbound* it stands in front of the application, at the address that is registered: rules of
//! the service's own policy, trace, deadline, hygiene of the head, and on to the application over
//! TCP or a unix socket. *Outbound* it is the application's HTTP proxy: `http://inventory/…` is
//! found, balanced, limited, broken, retried and traced. Rules, policies, pool and telemetry are
//! those of the `outrigger` crate: there is one data path.
//!
//! A sidecar goes through stages, since a child process must know the outbound port before it
//! starts, and may be announced only once it listens:
//!
//! ```no_run
//! use outrigger_sidecar::{Application, Config, Sidecar};
//!
//! # async fn run() -> Result<(), Box<dyn std::error::Error>> {
//! let mut config = Config::default();
//! config.service = Some("orders".parse()?);
//! config.application = Some(Application::Tcp("127.0.0.1:8080".parse()?));
//! let bound = Sidecar::bind(config).await?; // every port is claimed, nothing is served
//! println!("{}", bound.addresses());
//! let running = bound.start().await?; //       outbound and admin serve
//! running.open().await?; //                    inbound serves, and the instance is registered
//! running.drain().await; //                    not ready, deregistered, notice, in flight finished
//! running.stop().await; //                     outbound ends too
//! # Ok(())
//! # }
//! ```
//!
//! Where to look next: [`Config`] for what can be said, `docs/sidecar.md` in the repository for
//! how services are named, whom it believes, and what it never does.

mod addresses;
mod child;
mod config;
mod container;
mod correlate;
mod environment;
mod error;
mod inbound;
mod listeners;
mod outbound;
mod project;
mod settings;
mod sidecar;
mod supervise;
mod tls;
mod trust;
mod workers;

pub use addresses::Addresses;
pub use child::{Ended, StartError};
pub use config::{
    Application, Config, Listen, Network, Place, Registry, TlsFiles, Trust, Unknown, Upstream,
    UpstreamKind, host_and_port,
};
pub use container::stop_first;
pub use correlate::Correlation;
pub use environment::{Environment, Facts, url_variable};
pub use error::SidecarError;
pub use outbound::TcpCounts;
pub use project::{Guess, Guessed, look};
pub use settings::{
    DEFAULT_ADMIN, DEFAULT_DRAIN, DEFAULT_OUTBOUND, Given, KEYS, Key, Mode, Origin, Problem,
    Setting, Settings, SettingsError, Told, rules,
};
pub use sidecar::{Bound, Running, Sidecar};
pub use supervise::{Run, RunError, START_LIMIT, Say, Twin};
