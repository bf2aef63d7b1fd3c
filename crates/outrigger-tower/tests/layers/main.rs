//! Every layer alone under plain tower: poll by poll, on a paused clock, and always the three
//! drops, before it is ready, after, and in flight.

mod balance;
mod breaker;
mod hedge;
mod kit;
mod limits;
mod retry;
mod server;
mod stack;
mod timeout;
