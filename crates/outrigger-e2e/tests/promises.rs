//! Promises of the facade, held by a development agent and endpoints in this process.
//!
//! They run everywhere, one after the other, since each measures.
#![expect(clippy::print_stdout, reason = "each prints its figure")]
#![expect(
    clippy::disallowed_methods,
    reason = "what is promised in milliseconds is measured in them"
)]

#[path = "promises/amplification.rs"]
mod amplification;
#[path = "promises/answers.rs"]
mod answers;
#[path = "promises/churn.rs"]
mod churn;
#[path = "promises/cold.rs"]
mod cold;
#[path = "promises/collector.rs"]
mod collector;
#[path = "promises/counters.rs"]
mod counters;
#[path = "promises/deadlines.rs"]
mod deadlines;
#[path = "promises/secrets.rs"]
mod secrets;
#[path = "promises/stage.rs"]
mod stage;
