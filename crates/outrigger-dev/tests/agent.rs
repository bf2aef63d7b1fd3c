//! The agent from outside, over its socket.

#[path = "agent/life.rs"]
mod life;
#[path = "agent/limits.rs"]
mod limits;
#[path = "agent/probes.rs"]
mod probes;
#[path = "agent/recorded.rs"]
mod recorded;
#[path = "agent/state_file.rs"]
mod state_file;
#[path = "agent/wire.rs"]
mod wire;
