//! The `outrigger` command as a library: what can be typed, and what it does.
//!
//! ```no_run
//! std::process::exit(outrigger_cli::run(std::env::args_os()).into());
//! ```
//!
//! | command | what it does |
//! | --- | --- |
//! | `outrigger demo` | shows a small fleet under trouble and reports which promises were kept |
//! | `outrigger dev` | runs a Consul-compatible agent for development |
//! | `outrigger run` | runs a program of any language with its sidecar |
//! | `outrigger sidecar` | the same without a program: the second container |
//! | `outrigger services` | shows what the registry knows |
//! | `outrigger resolve` | tells which instances of a service a caller would get, and why not the others |
//! | `outrigger policy` | checks policies, looks into them, puts them into Consul's KV and takes them back |
//! | `outrigger render` | renders policies for others to enforce: Istio, a plain Envoy |

mod cli;
mod clock;
mod demo;
mod dev;
mod exit;
mod logs;
mod paint;
mod policy;
mod print;
mod registry;
mod render;
mod resolve;
mod run;
mod services;
mod sidecar;

pub use exit::Exit;
pub use run::run;
