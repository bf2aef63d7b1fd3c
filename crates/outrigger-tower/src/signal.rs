//! What a result shows, whoever made it.

use std::time::{Duration, Instant};

use http::{HeaderMap, Response, Version};
use outrigger_core::{BoxError, Context, Failed, FailureKind, Rejected};
use outrigger_retry::Signal;

/// What a result shows.
pub(crate) fn signal_of<B>(result: &Result<Response<B>, BoxError>) -> Signal {
    match result {
        // A gRPC code stands in the head of HTTP/2 only; elsewhere the look-up is spared.
        Ok(response) if response.version() >= Version::HTTP_2 => {
            Signal::of(response.status(), response.headers())
        }
        Ok(response) => Signal::Status(response.status()),
        Err(error) => signal_of_error(error),
    }
}

/// What an error shows. A refusal of ours counts as one even where an adapter has wrapped it into
/// a failure, as the pool does when its queue is full.
pub(crate) fn signal_of_error(error: &BoxError) -> Signal {
    let error: &(dyn std::error::Error + 'static) = &**error;
    if Rejected::find(error).is_some() {
        return Signal::Rejected;
    }
    Failed::find(error).map_or(Signal::Unknown, |failed| Signal::Failed(failed.kind))
}

/// The HTTP status that stands for a signal, a gRPC code's included.
pub(crate) fn status_of(signal: Signal) -> Option<u16> {
    match signal {
        Signal::Status(status) => Some(status.as_u16()),
        Signal::Grpc(code) => Some(code.http_status()),
        _ => None,
    }
}

/// How the wire failed, if it did.
pub(crate) fn failure_of(signal: Signal) -> Option<FailureKind> {
    match signal {
        Signal::Failed(kind) => Some(kind),
        _ => None,
    }
}

/// `Retry-After` in whole seconds.
pub(crate) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(http::header::RETRY_AFTER)?.to_str().ok()?;
    text.trim().parse().ok().map(Duration::from_secs)
}

/// The two ends of a request, kept by whoever must tell them apart when it is dropped.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ends {
    deadline: Option<Instant>,
    timeout: Option<Instant>,
}

impl Ends {
    pub(crate) fn of(context: &Context) -> Self {
        Self { deadline: context.deadline, timeout: context.timeout }
    }

    pub(crate) fn deadline_left(self, now: Instant) -> Option<Duration> {
        self.deadline.map(|deadline| deadline.saturating_duration_since(now))
    }

    /// Whether something in flight that is dropped at `now` was ended by the policy's timeout,
    /// rather than by a caller that went away or by its own deadline.
    pub(crate) fn timed_out(self, now: Instant) -> bool {
        self.timeout.is_some_and(|timeout| {
            timeout <= now && self.deadline.is_none_or(|deadline| timeout < deadline)
        })
    }
}
