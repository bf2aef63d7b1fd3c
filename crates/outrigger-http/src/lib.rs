//! HTTP on the wire: the connection pool over hyper, TLS, and the server's accept loop.
//!
//! [`Pool`] is the client half: it sends a [`Dispatch`](outrigger_core::Dispatch), a request whose
//! endpoint has been chosen, over a kept connection to that endpoint, or opens one. [`Server`] is
//! the other half: it accepts, sniffs HTTP/1.1 and HTTP/2 apart under a deadline, and drains.
//!
//! ```
//! use bytes::Bytes;
//! use http_body_util::{BodyExt, Empty, Full};
//! use outrigger_core::{Context, Dispatch, Endpoint, Instance};
//! use outrigger_http::{Pool, PoolConfig, Server};
//! use std::{convert::Infallible, sync::Arc};
//! use tokio::net::TcpListener;
//! use tower::{ServiceExt, service_fn};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let listener = TcpListener::bind("127.0.0.1:0").await?;
//! let address = listener.local_addr()?;
//! let hello = service_fn(|_| async { Ok::<_, Infallible>(http::Response::new(Full::<Bytes>::from("hi"))) });
//! let server = Server::default().serve(listener, move |_| hello, std::future::pending());
//! tokio::spawn(server);
//!
//! let stock = Instance::new("stock-1".parse()?, "stock".parse()?, address);
//! let pool = Pool::<Empty<Bytes>>::new(PoolConfig::default());
//! let response = pool
//!     .oneshot(Dispatch {
//!         context: Context::new(std::time::Instant::now()),
//!         endpoint: Endpoint::new(Arc::new(stock), address),
//!         request: http::Request::get("http://stock/").body(Empty::new())?,
//!     })
//!     .await?;
//! assert_eq!(response.into_body().collect().await?.to_bytes(), "hi");
//! # Ok(())
//! # }
//! ```
//!
//! | feature | what it adds |
//! | --- | --- |
//! | `aws-lc-rs` (default) | TLS by aws-lc-rs |
//! | `ring` | TLS by ring; used only where `aws-lc-rs` is off |
//! | `serde` | `Serialize` and `Deserialize` for the configuration |
//!
//! Where to look next: `outrigger-tower` has the layers that stand in front of the pool, and the
//! `outrigger` crate puts them together.

mod config;
mod hygiene;
mod io;
mod pool;
mod server;
mod tls;
mod tunnel;
mod upgrade;

pub use config::{ConfigError, PoolConfig, ServerConfig};
pub use hygiene::Arrival;
pub use pool::{OutboundBody, Pool, PoolBody, PoolStats, ResponseFuture};
pub use server::{Drained, Peer, Server};
pub use tls::{ClientTls, ServerTls, TlsError};
pub use tunnel::{Carried, TunnelConfig, TunnelEnd, tunnel};
pub use upgrade::{Accepted, Asked, NotConnected, Tunnel, UpgradeError, Upgrades, Wanted};
