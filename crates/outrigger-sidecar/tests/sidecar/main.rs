//! A sidecar over real sockets on loopback, with a registry in memory.

mod grpc;
mod inbound;
mod naming;
mod path;
mod stage;
mod tls;
mod tunnels;
