//! Registration, discovery, KV and sessions over Consul's HTTP API.
