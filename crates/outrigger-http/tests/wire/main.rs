//! The pool and the server on real sockets of the loopback interface.

mod chaos;
mod driver;
mod hostile;
mod http1;
mod http2;
mod limits;
mod raw;
mod runtimes;
mod server;
mod tls;
mod upgrades;
