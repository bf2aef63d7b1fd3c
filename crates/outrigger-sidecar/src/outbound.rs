//! The way of the application's calls.

mod answer;
mod names;
mod pass;
mod places;
mod service;

pub(crate) use names::Names;
pub(crate) use pass::Pass;
pub(crate) use service::{Outbound, Shared};
