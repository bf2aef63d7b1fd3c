//! Scripted endpoints, an in-memory registry, a fault proxy and a hostile Consul for tests.
