//! The corpus of `tests/corpus`, byte by byte, through a proxy made of the server and the pool:
//! promise 41. With `OUTRIGGER_NGINX_BIN` and `OUTRIGGER_ENVOY_BIN`, nginx and Envoy are asked too,
//! and where they differ is printed.

mod client;
mod corpus;
mod endpoint;
mod http1;
mod http2;
mod peers;
mod proxy;
