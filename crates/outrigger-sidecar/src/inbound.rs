//! The way of a request from its caller to the application.

mod application;
mod forward;

pub(crate) use application::Application;
pub(crate) use forward::{Forward, Inside, REQUEST_ID};
