use std::sync::Arc;

use tower_layer::Layer;

use super::{EditHeaders, HeaderEdits};

/// Changes the heads of requests and responses.
#[derive(Clone, Debug, Default)]
pub struct HeaderEditLayer {
    request: Option<Arc<HeaderEdits>>,
    response: Option<Arc<HeaderEdits>>,
}

impl HeaderEditLayer {
    /// These changes; empty ones cost nothing.
    #[must_use]
    pub fn new(request: HeaderEdits, response: HeaderEdits) -> Self {
        let some = |edits: HeaderEdits| (!edits.is_empty()).then(|| Arc::new(edits));
        Self { request: some(request), response: some(response) }
    }
}

impl<S> Layer<S> for HeaderEditLayer {
    type Service = EditHeaders<S>;

    fn layer(&self, inner: S) -> EditHeaders<S> {
        EditHeaders::new(inner, self.request.clone(), self.response.clone())
    }
}
