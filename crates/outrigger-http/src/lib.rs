//! HTTP on the wire: the connection pool over hyper, TLS, the server accept loop.
