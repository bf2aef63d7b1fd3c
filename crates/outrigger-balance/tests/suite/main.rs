//! The laws of the endpoint set, through its public surface.

mod ejection;
mod envoy;
mod fleet;
mod hashing;
mod laws;
mod membership;
mod pickers;
mod places;
mod quality;
mod races;
