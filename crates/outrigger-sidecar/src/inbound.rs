//! The way of a request from its caller to the application.

mod forward;

pub(crate) use forward::{Forward, REQUEST_ID};
