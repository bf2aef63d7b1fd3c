//! Clients that mean harm, against a proxy made of the server and the pool in a process of its own,
//! whose memory and processor time are measured: promises 45, 47 and 50.

#![cfg(target_os = "linux")]

mod bodies;
mod child;
mod http2;
mod slow;

/// How long each flood lasts: `OUTRIGGER_SOAK=1` for the whole length.
pub(crate) fn is_soak() -> bool {
    std::env::var_os("OUTRIGGER_SOAK").is_some()
}
