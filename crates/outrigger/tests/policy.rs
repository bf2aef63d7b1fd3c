//! Policies in force: from files and keys, per route, reloaded under load.

#[path = "policy/access_log.rs"]
mod access_log;
#[path = "policy/extras.rs"]
mod extras;
#[path = "policy/fields.rs"]
mod fields;
#[path = "policy/fleet.rs"]
mod fleet;
#[path = "policy/flips.rs"]
mod flips;
#[path = "policy/inbound.rs"]
mod inbound;
#[path = "policy/limiter.rs"]
mod limiter;
#[path = "policy/reload.rs"]
mod reload;
#[path = "policy/routes.rs"]
mod routes;
