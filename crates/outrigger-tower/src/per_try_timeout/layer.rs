use std::time::Duration;

use tower_layer::Layer;

use super::PerTryTimeout;

/// Bounds the time of each try.
#[derive(Clone, Copy, Debug)]
pub struct PerTryTimeoutLayer {
    span: Option<Duration>,
}

impl PerTryTimeoutLayer {
    /// Time for one try.
    #[must_use]
    pub const fn new(span: Duration) -> Self {
        Self { span: Some(span) }
    }

    /// Time for one try, or no bound: as a policy has it.
    #[must_use]
    pub const fn maybe(span: Option<Duration>) -> Self {
        Self { span }
    }
}

impl<S> Layer<S> for PerTryTimeoutLayer {
    type Service = PerTryTimeout<S>;

    fn layer(&self, inner: S) -> PerTryTimeout<S> {
        PerTryTimeout::new(inner, self.span)
    }
}
