//! Every layer alone under plain tower: poll by poll, on a paused clock, and always the three
//! drops, before it is ready, after, and in flight.

mod balance;
mod breaker;
mod edits;
mod fallback;
mod faults;
mod hedge;
mod inbound;
mod kit;
mod limits;
mod mirror;
mod retry;
mod server;
mod split;
mod stack;
mod timeout;
