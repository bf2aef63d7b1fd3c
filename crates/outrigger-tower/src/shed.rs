//! Requests turned away while the machine has no CPU to spare.
//!
//! Who is turned away is drawn by lot, in the share that
//! [`CpuShed`](outrigger_limit::CpuShed) has found from its samples; a tenth always gets in.
//! [`Rejected::Shed`](outrigger_core::Rejected::Shed): 503 `overloaded`, come back in a second.
//!
//! ```
//! use outrigger_limit::{CpuShed, ShedConfig};
//! use outrigger_tower::{Dice, ShedLayer};
//! use tower::{ServiceBuilder, ServiceExt, service_fn};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
//! let shed = CpuShed::new(ShedConfig::default())?;
//! let answers = service_fn(|_: http::Request<String>| async {
//!     Ok::<_, std::io::Error>(http::Response::new(String::new()))
//! });
//! let layer = ShedLayer::new("stock".parse()?, shed.clone()).with_dice(Dice::seeded(7));
//! let server = ServiceBuilder::new().layer(layer).service(answers);
//! // Whoever measures feeds it: `outrigger_host::CpuMeter` in earnest.
//! for _ in 0..20 {
//!     shed.on_sample(1.0);
//! }
//! let mut admitted = 0;
//! for _ in 0..1_000 {
//!     let request = http::Request::new(String::new());
//!     admitted += u32::from(server.clone().oneshot(request).await.is_ok());
//! }
//! assert!((50..200).contains(&admitted), "a tenth");
//! # Ok(())
//! # }
//! ```

mod layer;
mod service;

pub use layer::ShedLayer;
pub use service::Shed;

use crate::admission::Admission;

/// The answer, or the refusal of a busy machine.
pub type ResponseFuture<F> = Admission<F, ()>;
