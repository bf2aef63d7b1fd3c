//! Registration, discovery, balancing, limits, circuit breaking, retries and tracing for Rust services.
