use http::HeaderValue;
use outrigger_core::ServiceName;
use tower_layer::Layer;

use super::Stamp;

/// Writes what the context knows into the headers of each try.
#[derive(Clone, Debug, Default)]
pub struct StampLayer {
    caller: Option<HeaderValue>,
    passes_on: bool,
}

impl StampLayer {
    /// For a caller without a name.
    #[must_use]
    pub const fn new() -> Self {
        Self { caller: None, passes_on: false }
    }

    /// Who calls: this process's own service.
    #[must_use]
    pub fn with_caller(mut self, caller: ServiceName) -> Self {
        // A service name holds nothing that a header value may not.
        self.caller = HeaderValue::from_str(caller.as_str()).ok();
        self
    }

    /// Who calls: whoever the context names, for a proxy that stands before the one who is called.
    #[must_use]
    pub const fn passing_on(mut self) -> Self {
        self.passes_on = true;
        self
    }
}

impl<S> Layer<S> for StampLayer {
    type Service = Stamp<S>;

    fn layer(&self, inner: S) -> Stamp<S> {
        Stamp::new(inner, self.caller.clone(), self.passes_on)
    }
}
