//! Every field of a policy over real sockets: one claim each.

#[path = "fields/accepts.rs"]
mod accepts;
#[path = "fields/bounds.rs"]
mod bounds;
#[path = "fields/choice.rs"]
mod choice;
#[path = "fields/grpc.rs"]
mod grpc;
#[path = "fields/trust.rs"]
mod trust;
