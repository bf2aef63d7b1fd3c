//! Policies in force: from files and keys, per route, reloaded under load.

#[path = "policy/extras.rs"]
mod extras;
#[path = "policy/fleet.rs"]
mod fleet;
#[path = "policy/flips.rs"]
mod flips;
#[path = "policy/inbound.rs"]
mod inbound;
#[path = "policy/reload.rs"]
mod reload;
#[path = "policy/routes.rs"]
mod routes;
