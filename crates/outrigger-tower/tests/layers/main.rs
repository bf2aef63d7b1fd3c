//! Every layer alone under plain tower: poll by poll, on a paused clock, and always the three
//! drops, before it is ready, after, and in flight.

mod balance;
mod breaker;
mod edits;
mod fallback;
mod faults;
mod fused;
mod hedge;
mod inbound;
mod kit;
mod limits;
mod mirror;
mod policy;
mod retry;
mod served;
mod server;
mod split;
mod stack;
#[expect(clippy::duplicate_mod, reason = "the same whole stacks, walked in one future")]
#[path = "stack.rs"]
mod stack_fused;
mod timeout;
