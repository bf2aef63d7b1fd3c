use http::HeaderValue;
use outrigger_core::ServiceName;
use tower_layer::Layer;

use super::Stamp;

/// Writes what the context knows into the headers of each try.
#[derive(Clone, Debug, Default)]
pub struct StampLayer {
    caller: Option<HeaderValue>,
}

impl StampLayer {
    /// For a caller without a name.
    #[must_use]
    pub const fn new() -> Self {
        Self { caller: None }
    }

    /// Who calls: this process's own service.
    #[must_use]
    pub fn with_caller(mut self, caller: ServiceName) -> Self {
        // A service name holds nothing that a header value may not.
        self.caller = HeaderValue::from_str(caller.as_str()).ok();
        self
    }
}

impl<S> Layer<S> for StampLayer {
    type Service = Stamp<S>;

    fn layer(&self, inner: S) -> Stamp<S> {
        Stamp::new(inner, self.caller.clone())
    }
}
