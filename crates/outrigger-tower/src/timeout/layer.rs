use std::time::Duration;

use tower_layer::Layer;

use super::service::{Spans, Timeout};

/// Bounds a whole request by the policy's timeout and the caller's deadline.
#[derive(Clone, Copy, Debug)]
pub struct TimeoutLayer {
    spans: Spans,
}

impl TimeoutLayer {
    /// Time for all tries and backoffs, to the end of the body. The policy's default is 15 s.
    #[must_use]
    pub const fn new(timeout: Duration) -> Self {
        Self { spans: Spans { timeout: Some(timeout), idle: None } }
    }

    /// The same, or no timeout at all: what is left then is the caller's deadline, and the idle
    /// timeout of streams.
    #[must_use]
    pub const fn maybe(timeout: Option<Duration>) -> Self {
        Self { spans: Spans { timeout, idle: None } }
    }

    /// Longest time between two frames of a stream. The policy's default is 5 min.
    #[must_use]
    pub const fn with_idle(mut self, idle: Option<Duration>) -> Self {
        self.spans.idle = idle;
        self
    }
}

impl<S> Layer<S> for TimeoutLayer {
    type Service = Timeout<S>;

    fn layer(&self, inner: S) -> Timeout<S> {
        Timeout::new(inner, self.spans)
    }
}

/// Bounds a request by the caller's deadline only.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct DeadlineLayer;

impl DeadlineLayer {
    /// The layer.
    #[must_use]
    pub const fn new() -> Self {
        Self
    }
}

impl<S> Layer<S> for DeadlineLayer {
    type Service = Timeout<S>;

    fn layer(&self, inner: S) -> Timeout<S> {
        Timeout::new(inner, Spans::default())
    }
}
