//! A Consul-compatible agent in one process, **for development only**: laptops, demos and tests.
//!
//! It answers the part of Consul's HTTP API that services and their tools use, in the words and with
//! the indexes of Consul 1.22: agent services and checks (TTL, HTTP, TCP and gRPC checks are really run),
//! health, catalogue, keys and values, sessions and locks, events, transactions over keys, filters,
//! blocking queries, access control. One conformance suite runs against it and against the real
//! Consul and compares the answers.
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let agent = outrigger_dev::Agent::builder().bind("127.0.0.1:0".parse()?).await?;
//! println!("point your services at {}", agent.url());
//!
//! agent.pause(); // accepts connections and never answers, as a stopped process does
//! agent.resume();
//! agent.restart_empty().await?; // same port, nothing remembered
//! agent.stop().await; // every connection breaks at once
//! # Ok(()) }
//! ```
//!
//! What it is not: it has one node, no cluster, no DNS, no TLS, no Connect certificate authority, and it
//! keeps everything in memory, or in one file with [`Builder::state_file`]. It listens on loopback only
//! unless [`Builder::any_address`] says otherwise.
//!
//! Where to look next: [`Agent`] to run one, [`State`] for what a test can see of its memory.

mod acl;
mod agent;
mod clock;
mod connection;
mod decode;
mod duration;
mod filter;
#[cfg(test)]
mod hostile;
mod listen;
mod model;
mod persist;
mod probe;
mod registration;
mod reply;
mod request;
mod routes;
mod shared;
mod signal;
mod state;
mod view;

pub use agent::{Agent, Builder, StateHandle};
pub use listen::{Io, Listen};
pub use model::{Check, Meta, Node, Service, ServiceAddress, Status, Weights};
pub use state::State;

/// What a program that runs the agent prints first, and the agent says at `/`.
pub const BANNER: &str = "outrigger dev agent: a Consul-compatible registry FOR DEVELOPMENT ONLY. It keeps everything in one \
                          process, has no cluster and no TLS, and is no replacement for Consul in production.";
