//! Laws for everything that reads foreign bytes, as plain functions over bytes.
//!
//! Each target panics when a law does not hold, and only then. `tests/replay.rs` runs them on stable
//! Rust: the checked-in corpus, then a bounded number of seeded mutations of it. `fuzz_targets/` are
//! the same functions for cargo-fuzz. A target for a new parser is a function here and a line in
//! [`TARGETS`]; the replay then asks for its corpus and its binary.
#![forbid(unsafe_code)]

mod consul;
mod headers;
mod mutate;
mod names;
mod policy;
mod snapshot;
mod wire;

pub use mutate::{Mutator, hash};

/// One target.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// Also the name of its folder in `corpus/` and of its binary.
    pub name: &'static str,
    /// Panics when a law does not hold.
    pub run: fn(&[u8]),
    /// Mutations in the gate: fewer where one costs more.
    pub mutations: u32,
}

/// Every target.
pub const TARGETS: &[Target] = &[
    Target { name: "consul_instances", run: consul::instances, mutations: 20_000 },
    Target { name: "consul_agent", run: consul::agent, mutations: 600 },
    Target { name: "trace_headers", run: headers::trace, mutations: 12_000 },
    Target { name: "call_headers", run: headers::call, mutations: 30_000 },
    Target { name: "path", run: names::path, mutations: 60_000 },
    Target { name: "words", run: names::words, mutations: 40_000 },
    Target { name: "environment", run: names::environment, mutations: 10_000 },
    Target { name: "policy", run: policy::file, mutations: 4_000 },
    Target { name: "snapshot", run: snapshot::file, mutations: 1_500 },
    Target { name: "pool", run: wire::pool, mutations: 400 },
    Target { name: "server", run: wire::server, mutations: 400 },
];

/// Runs the target of this name, for the binaries.
///
/// # Panics
/// When a law does not hold, or there is no such target.
pub fn run(name: &str, input: &[u8]) {
    let target = TARGETS.iter().find(|target| target.name == name).expect("a target of this name");
    (target.run)(input);
}
