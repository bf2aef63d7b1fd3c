//! What tests of callers need: endpoints that misbehave as told, a wire that does, time that stands
//! still, a whole fleet in virtual time, and a Consul agent that turns hostile.
//!
//! Everything that opens a socket does so on 127.0.0.1 with a port of the system's choice, and
//! closes it when dropped. Waiting is tokio's, so a paused clock works.
//!
//! ```
//! use outrigger_testkit::{Scripted, Step};
//! use tokio::io::{AsyncReadExt, AsyncWriteExt};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> std::io::Result<()> {
//! let endpoint = Scripted::start([Step::answer(200).with_body("hi"), Step::answer(503)]).await?;
//!
//! let mut tcp = tokio::net::TcpStream::connect(endpoint.address()).await?;
//! tcp.write_all(b"GET /a HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await?;
//! let mut answer = String::new();
//! tcp.read_to_string(&mut answer).await?;
//!
//! assert!(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("\r\n\r\nhi"));
//! assert_eq!(endpoint.seen()[0].path, "/a");
//! # Ok(())
//! # }
//! ```
//!
//! An in-memory registry stands in `outrigger-discovery`, and a Consul-compatible agent in
//! `outrigger-dev`.

mod clock;
mod fleet;
mod hostile;
mod proxy;
mod scripted;
mod seed;

pub use clock::{ManualClock, epoch};
pub use fleet::{Behaviour, Choose, Fleet, FleetReport, Latency};
pub use hostile::{HostileAnswer, HostileConsul};
pub use outrigger_discovery::InMemoryRegistry;
pub use proxy::{FaultProxy, Faults, Passed};
pub use scripted::{Act, Scripted, Seen, Step};
pub use seed::with_seed;
