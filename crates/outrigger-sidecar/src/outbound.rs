//! The way of the application's calls.

mod answer;
mod connect;
mod names;
mod pass;
mod places;
mod service;
mod tcp;
mod unix;

pub(crate) use names::Names;
pub(crate) use pass::Pass;
pub(crate) use service::{Outbound, Shared, server};
pub use tcp::TcpCounts;
pub(crate) use tcp::TcpUpstream;
pub(crate) use unix::serve_unix;
