//! What a handler's own calls know of the request that is being served.

use std::sync::atomic::{AtomicU8, Ordering::Relaxed};
use std::time::Instant;

use outrigger_core::{Context, TraceContext};

tokio::task_local! {
    pub(super) static SERVED: Served;
}

/// What is passed on to the calls that a handler makes, and what they tell.
#[derive(Debug)]
pub(super) struct Served {
    deadline: Option<Instant>,
    attempt: u8,
    trace: TraceContext,
    tries: AtomicU8,
}

impl Served {
    pub(super) fn new(context: &Context) -> Self {
        Self {
            deadline: context.deadline,
            attempt: context.attempt,
            trace: context.trace,
            tries: AtomicU8::new(1),
        }
    }

    /// The most tries that were made for one call.
    pub(super) fn tries(&self) -> u8 {
        self.tries.load(Relaxed)
    }
}

/// Takes over what is known of the request being served on this task, if one is.
pub(crate) fn inherit(context: &mut Context) {
    // Outside of a handler there is nothing to inherit.
    let _ = SERVED.try_with(|served| {
        context.deadline = served.deadline;
        context.attempt = served.attempt;
        context.trace = served.trace;
    });
}

/// Whether a request is being served on this task.
pub(crate) fn is_serving() -> bool {
    SERVED.try_with(|_| ()).is_ok()
}

/// Notes that so many tries were made for an answer.
pub(crate) fn note_tries(tries: u8) {
    if tries > 1 {
        let _ = SERVED.try_with(|served| served.tries.fetch_max(tries, Relaxed));
    }
}

/// The most tries that were made so far for one call of the request being served; 1 outside.
pub(super) fn tries() -> u8 {
    SERVED.try_with(Served::tries).unwrap_or(1)
}
