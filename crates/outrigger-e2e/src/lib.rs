//! End-to-end and tidy tests of the workspace.
//!
//! [`consul::RealConsul`], [`cluster::Cluster`], [`jaeger::Jaeger`] and [`zipkin::Zipkin`] run the real parts for a test,
//! [`fleet::Fleet`] the demo's services as processes, [`polyglot::Polyglot`] the services in five languages and a shell,
//! [`load::Load`] sends them requests; [`raw`] asks on the wire.

pub mod cluster;
pub mod consul;
pub mod fleet;
pub mod jaeger;
pub mod load;
pub mod polyglot;
pub mod process;
pub mod raw;
pub mod zipkin;
