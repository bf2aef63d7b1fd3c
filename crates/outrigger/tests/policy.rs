//! Policies in force: from files and keys, per route, reloaded under load.

#[path = "policy/fleet.rs"]
mod fleet;
#[path = "policy/flips.rs"]
mod flips;
#[path = "policy/reload.rs"]
mod reload;
#[path = "policy/routes.rs"]
mod routes;
