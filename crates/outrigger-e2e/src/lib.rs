//! End-to-end and tidy tests of the workspace.
//!
//! [`consul::RealConsul`] runs the real registry for a test; [`raw`] asks it on the wire.

pub mod consul;
pub mod raw;
