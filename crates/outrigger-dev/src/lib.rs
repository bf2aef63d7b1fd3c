//! A Consul-compatible agent in one process, for laptops and tests.
