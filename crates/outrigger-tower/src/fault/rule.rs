use std::time::Duration;

use http::StatusCode;
use outrigger_core::Ratio;

use crate::Dice;

/// Which requests start late, and which are answered by us.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FaultRule {
    delay: Option<(Ratio, Duration)>,
    abort: Option<(Ratio, Abort)>,
}

/// How a request is answered by us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Abort {
    pub(super) status: u16,
    pub(super) grpc_status: Option<u8>,
}

impl FaultRule {
    /// No fault.
    #[must_use]
    pub const fn new() -> Self {
        Self { delay: None, abort: None }
    }

    /// A share of the requests starts so much later.
    #[must_use]
    pub const fn with_delay(mut self, share: Ratio, by: Duration) -> Self {
        self.delay = Some((share, by));
        self
    }

    /// A share of the requests, those that are delayed included, is answered with this status; a
    /// gRPC caller gets the code that stands for it.
    #[must_use]
    pub const fn with_abort(mut self, share: Ratio, status: StatusCode) -> Self {
        self.abort = Some((share, Abort { status: status.as_u16(), grpc_status: None }));
        self
    }

    /// The code that gRPC callers get for an abort.
    #[must_use]
    pub const fn with_grpc_status(mut self, code: u8) -> Self {
        if let Some((_, abort)) = &mut self.abort {
            abort.grpc_status = Some(code);
        }
        self
    }

    pub(super) fn draw(&self, dice: &Dice) -> (Option<Duration>, Option<Abort>) {
        let delay = self.delay.filter(|(share, _)| dice.hits(*share)).map(|(_, by)| by);
        let abort = self.abort.filter(|(share, _)| dice.hits(*share)).map(|(_, abort)| abort);
        (delay, abort)
    }
}
