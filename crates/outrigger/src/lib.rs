//! Registration, discovery, load balancing, rate limits, circuit breaking, retries and tracing for
//! Rust services, from one dependency.
//!
//! ```no_run
//! # use http_body_util::Full;
//! # use hyper::body::Bytes;
//! # use std::convert::Infallible;
//! # async fn run() -> Result<(), Box<dyn std::error::Error>> {
//! # let service = tower::service_fn(|_: http::Request<outrigger::RequestBody>| async {
//! #     Ok::<_, Infallible>(http::Response::new(Full::<Bytes>::from("hello")))
//! # });
//! # let listener = tokio::net::TcpListener::bind("0.0.0.0:0").await?;
//! let fleet = outrigger::join("orders").await?;               // environment and files say the rest
//! let stock = fleet.get("http://inventory/stock/42").await?;  // found, balanced, limited, broken, retried, traced
//! fleet.serve(listener, service).await?;                      // registered while it serves, drained on SIGTERM
//! # Ok(())
//! # }
//! ```
//!
//! # Calling a service
//!
//! The host of a URL is the name of a service: `http://inventory/stock/42`, also
//! `inventory.service.consul`, `inventory.service.dc2.consul` and `inventory.outrigger`. What is
//! spoken on the wire (HTTP/1.1, HTTP/2 in the clear, TLS) follows from how each instance is
//! registered, not from the URL. The answer is the last endpoint's, whatever its status; an
//! [`Error`] means that there is none, and says why:
//!
//! ```no_run
//! # async fn run(fleet: outrigger::Fleet) -> Result<(), outrigger::Error> {
//! use outrigger::core::Rejected;
//!
//! match fleet.get("http://inventory/stock/42").await {
//!     Ok(response) => println!("{}: {}", response.status(), response.into_body().text().await?),
//!     Err(error) => match error.rejected() {
//!         // No endpoint has seen it: always safe to send again, and it is known when.
//!         Some(Rejected::CircuitOpen { retry_after, .. }) => println!("again in {retry_after:?}"),
//!         Some(refused) => println!("refused by us: {refused}"),
//!         None => return Err(error),
//!     },
//! }
//! # Ok(())
//! # }
//! ```
//!
//! A request ends with its body: read [`ResponseBody`] or drop it. [`Fleet::client`] is the same
//! as a tower service for any body type, which is what tonic's generated clients take.
//!
//! Inside a handler that [`Fleet::serve`] runs, a call inherits what came with the request: the
//! trace, the deadline (less what was spent), the retries made above, the baggage. In a task that
//! the handler spawns, take [`telemetry::current`] before and [`telemetry::scope`] inside.
//!
//! # Rules
//!
//! Without a word, each call has 15 s, is sent once more if no endpoint saw it, goes to the less
//! loaded of two endpoints by peak EWMA, and an endpoint with five errors in a row is taken out.
//! [`Rules`] says otherwise, for all services or for one:
//!
//! ```
//! use outrigger::retry::Condition;
//! use outrigger::{Rules, breaker::BreakerConfig};
//! use std::time::Duration;
//!
//! let mut rules = Rules::default();
//! rules.timeout = Some(Duration::from_secs(2));
//! rules.retry.attempts = 2;
//! rules.retry.when.push(Condition::ServerError);
//! rules.breaker = Some(BreakerConfig::default());
//! rules.validate()?;
//! let orders = outrigger::builder("orders").rules_for("pricing", rules);
//! # drop(orders);
//! # Ok::<(), outrigger::RulesError>(())
//! ```
//!
//! The same in `outrigger.toml`, beside the working directory or named by `OUTRIGGER_CONFIG`; what
//! a service's own table leaves out comes from above:
//!
//! ```
//! # let text = r#"
//! zone = "eu-west-1a"
//! timeout = "5s"
//!
//! [retry]
//! attempts = 2
//!
//! [services.pricing.breaker]
//! failure_ratio = 0.5
//! open_for = "5s"
//!
//! [inbound.concurrency]
//! max_in_flight = 512
//! # "#;
//! # let path = std::path::Path::new("outrigger.toml");
//! # let settings = outrigger::Settings::of(Some((path, text)), &[])?;
//! # assert!(settings.services["pricing"].breaker.is_some());
//! # assert_eq!(settings.services["pricing"].retry.attempts, 2);
//! # Ok::<(), outrigger::SettingsError>(())
//! ```
//!
//! and from the environment, which wins over the file: `OUTRIGGER_TIMEOUT=5s`,
//! `OUTRIGGER_BREAKER__OPEN_FOR=2s`, `OUTRIGGER_ENDPOINTS=pricing=127.0.0.1:9000`. What the builder
//! is told wins over both. A value that cannot be is an error that names file or variable, key,
//! value and what is allowed.
//!
//! Names of services have no case, as hosts have none: `http://Inventory/` means `inventory`. A
//! service that was called once is kept, with its watch, endpoints and circuit, until the fleet is
//! dropped, and nothing bounds how many: call names that your code knows, not names that strangers
//! send it.
//!
//! # Policies
//!
//! The owner of a service writes one file for all who call it (`docs/policy.md` in the repository):
//! routes with their timeouts, retries and circuits, splits between subsets, mirrors, faults, and
//! what the service itself accepts. It is obeyed from a file
//! ([`Builder::policy`], `OUTRIGGER_POLICY`) or from Consul's key `outrigger/policy/<service>`, and
//! each change within a second, without a request that fails or runs half under one and half under
//! the other. Per service, and whole, never merged: its file, then its key, then the file and the
//! key `_default`, then the rules above.
//!
//! A text that cannot be read, and a key that vanishes, leave the last good one in force;
//! [`ServiceView::policy`] says which that is and why, and so do a metric, an event and the log.
//! With [`Builder::snapshots`] the last good one is there at a cold start without the registry.
//!
//! # Being called
//!
//! [`Fleet::serve`] takes any tower service over `http::Request<`[`RequestBody`]`>`: an axum router,
//! a tonic server, a function. While it runs the instance stands in the registry with its
//! language tag; on SIGTERM it leaves the registry first, serves on until callers have heard of it,
//! and then ends in order. Requests that are refused (limits, deadline) are answered by
//! [the contract's table](core::Refusal) and counted in `outrigger.rejections`; `GET /healthz` says
//! whether it drains.
//!
//! What is announced is the listener's address, or what [`Builder::advertise`] says. A loopback
//! address is refused while the registry is on another machine ([`ServeError::Loopback`]).
//!
//! # Seeing what happens
//!
//! Traces, metrics and logs go where `OTEL_*` says ([`telemetry::TelemetryConfig`] lists all);
//! nothing is exported when no endpoint is named. [`Fleet::services`] shows endpoints and circuits
//! as they are now, [`Builder::observer`] is told of everything that happens, and
//! `fleet.telemetry().metrics().encode(&mut text)` writes Prometheus text. Requests that are served
//! are logged as JSON lines, those that the policy's `telemetry.access_log` wants, to standard
//! error or where [`Builder::access_log`] says.
//!
//! [`Builder::admin`] or `OUTRIGGER_ADMIN=127.0.0.1:15990` serves all of that on a port of this
//! machine: a page at `/`, `/api/v1/state`, `/api/v1/events`, `/metrics`, `/healthz` and `/readyz`;
//! [`admin`] says who is let in.
//!
//! # Without all of it
//!
//! Every rule stands alone: the layers of [`tower`] work on plain `http::Request`s, the rules of
//! [`balance`], [`limit`], [`breaker`] and [`retry`] know neither clock nor runtime, and
//! [`Builder::registry`] takes any [`discovery::Resolver`], such as
//! [`discovery::InMemoryRegistry`] in a test.
//!
//! | feature | what it adds |
//! | --- | --- |
//! | `aws-lc-rs` (default) | TLS by aws-lc-rs |
//! | `ring` | TLS by ring, used where `aws-lc-rs` is off; one of the two is needed |
//! | `grpc`, `gzip` | spans over OTLP's gRPC; smaller messages to the collector |
//! | `zipkin` | spans to Zipkin, for fleets that still live on it |
//! | `logs` | `tracing` events as logs over OTLP |

mod body;
mod builder;
mod callee;
mod client;
mod destination;
mod error;
mod fleet;
mod member;
mod memory;
mod policy;
mod registry;
mod response;
mod rules;
mod serve;
mod settings;
mod signals;
mod stack;
mod state;
mod table;
mod view;

pub use outrigger_admin as admin;
pub use outrigger_balance as balance;
pub use outrigger_breaker as breaker;
pub use outrigger_consul as consul;
pub use outrigger_core as core;
pub use outrigger_discovery as discovery;
pub use outrigger_host as host;
pub use outrigger_http as http;
pub use outrigger_limit as limit;
pub use outrigger_retry as retry;
pub use outrigger_telemetry as telemetry;
pub use outrigger_tower as tower;

pub use body::Body;
pub use builder::{Builder, JoinError};
pub use client::{Client, ResponseFuture, ServiceClient};
pub use destination::{DestinationError, NamedService, named_service};
pub use error::Error;
pub use fleet::Fleet;
pub use policy::PolicySource;
pub use response::{MAX_COLLECTED, ResponseBody};
pub use rules::{Capacity, Concurrency, Inbound, InboundRate, Per, Rules, RulesError};
pub use serve::{RequestBody, ServeError, Share};
pub use settings::{AdminAddress, Process, Settings, SettingsError};
pub use state::{FleetState, MeshView, RegistryView};
pub use view::{CircuitView, DifferenceView, EndpointView, MirrorView, PolicyView, ServiceView};

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
