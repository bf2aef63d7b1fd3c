//! The admin surface: health, readiness, metrics, state, events, and a page for people.
//!
//! One for the library, the sidecar and the demo. A [`Source`] says what is so at the moment,
//! [`Events`] remembers what has happened, and a [`Surface`] answers for both:
//!
//! | path | what |
//! | --- | --- |
//! | `/healthz` | 200 as long as it answers |
//! | `/readyz` | 200, or 503 with the reasons |
//! | `/metrics` | Prometheus text 0.0.4, or OpenMetrics by `Accept` |
//! | `/api/v1/state` | everything that is known now, as JSON |
//! | `/api/v1/events` | what happens, as server-sent events; `Last-Event-ID` resumes |
//! | `/api/v1/openapi.json` | how the JSON looks |
//! | `/` | the page, which reads the same |
//!
//! ```
//! use outrigger_admin::{Events, MetricsFormat, Reach, Readiness, Source, Surface};
//! use std::{sync::Arc, time::SystemTime};
//! use tokio::net::TcpListener;
//!
//! #[derive(Debug)]
//! struct Job;
//!
//! impl Source for Job {
//!     fn readiness(&self) -> Readiness {
//!         Readiness::ready().because("warming", "the cache is being filled")
//!     }
//!     fn state(&self) -> Option<Vec<u8>> {
//!         Some(b"{}".to_vec())
//!     }
//!     fn metrics(&self, _: MetricsFormat) -> String {
//!         String::new()
//!     }
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let surface = Surface::new(Arc::new(Job), Events::new(SystemTime::UNIX_EPOCH));
//! let admin = surface.serve(TcpListener::bind("127.0.0.1:0").await?, Reach::Loopback)?;
//! println!("http://{}/", admin.address());
//! admin.stop().await;
//! # Ok(())
//! # }
//! ```
//!
//! # What it lets in
//!
//! Reads only: anything but GET and HEAD is refused. It listens on loopback only, unless
//! [`Reach::Anywhere`] is said, and answers only to names of this machine, so that a foreign page
//! cannot read it by rebinding its own name; it sends no CORS headers, and a request that a
//! browser sends on behalf of another page is refused. [`Surface::serve_probe`] has health,
//! readiness and metrics alone, for those on other machines who must ask.
//!
//! Nothing here lies on the way of a request: [`Events`] hears of changes only, and a [`Source`]
//! is asked when somebody looks.

mod accept;
mod answer;
mod assets;
mod events;
mod guard;
mod source;
mod surface;

pub use events::{Events, MAX_EVENTS};
pub use source::{MetricsFormat, Readiness, Reason, Source};
pub use surface::{AdminError, MAX_STREAMS, Reach, Serving, Surface};
