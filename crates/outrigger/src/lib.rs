//! Registration, discovery, load balancing, rate limits, circuit breaking, retries and tracing for
//! Rust services, from one dependency.
//!
//! ```no_run
//! # use http_body_util::Full;
//! # use hyper::body::{Bytes, Incoming};
//! # use std::convert::Infallible;
//! # async fn run() -> Result<(), Box<dyn std::error::Error>> {
//! # let service = tower::service_fn(|_: http::Request<Incoming>| async {
//! #     Ok::<_, Infallible>(http::Response::new(Full::<Bytes>::from("hello")))
//! # });
//! # let listener = tokio::net::TcpListener::bind("0.0.0.0:0").await?;
//! let fleet = outrigger::join("orders").await?;               // environment and files say the rest
//! let stock = fleet.get("http://inventory/stock/42").await?;  // found, balanced, limited, broken, retried, traced
//! fleet.serve(listener, service).await?;                      // registered while it serves, drained on SIGTERM
//! # Ok(())
//! # }
//! ```

mod body;
mod builder;
mod callee;
mod client;
mod destination;
mod error;
mod fleet;
mod memory;
mod registry;
mod response;
mod rules;
mod serve;
mod settings;
mod signals;
mod stack;
mod view;

pub use outrigger_balance as balance;
pub use outrigger_breaker as breaker;
pub use outrigger_consul as consul;
pub use outrigger_core as core;
pub use outrigger_discovery as discovery;
pub use outrigger_http as http;
pub use outrigger_limit as limit;
pub use outrigger_retry as retry;
pub use outrigger_telemetry as telemetry;
pub use outrigger_tower as tower;

pub use body::Body;
pub use builder::{Builder, JoinError};
pub use client::{Client, ResponseFuture};
pub use destination::DestinationError;
pub use error::Error;
pub use fleet::Fleet;
pub use response::{MAX_COLLECTED, ResponseBody};
pub use rules::{Capacity, Concurrency, Inbound, InboundRate, Per, Rules, RulesError};
pub use serve::ServeError;
pub use settings::{Process, Settings, SettingsError};
pub use view::{CircuitView, EndpointView, ServiceView};

/// Joins the fleet as `service`, with everything else as environment and files say.
///
/// # Errors
/// [`JoinError`], for what cannot be put right by waiting; a registry that cannot be reached is
/// none of it.
///
/// # Cancel safety
/// Dropped before it answers, nothing is left behind.
pub async fn join(service: &str) -> Result<Fleet, JoinError> {
    builder(service).join().await
}

/// Starts to describe a service that joins its fleet.
pub fn builder(service: &str) -> Builder {
    Builder::new(service)
}
