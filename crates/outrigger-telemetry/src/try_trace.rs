//! The layer around each try: one client span per try, and the headers that name it.
//!
//! It stands where an endpoint has been chosen: inside the pick, outside the per-try timeout.

mod layer;
mod service;

pub use layer::TryTraceLayer;
pub use service::TryTrace;
