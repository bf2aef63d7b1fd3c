//! The services that a registry knows.

use std::collections::BTreeMap;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_core::Stream;
use outrigger_core::{Freshness, ServiceName};

/// The services that a registry knows, and the tags that any of their instances carries.
///
/// Shape: a service whose name cannot stand in a URL is left out. Versions rise strictly.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Catalogue {
    /// Rises with every catalogue of the same watch, starting at 1.
    pub version: u64,
    /// The services and their tags.
    pub services: BTreeMap<ServiceName, Vec<Arc<str>>>,
    /// How far to trust it.
    pub freshness: Freshness,
}

impl Catalogue {
    /// A live catalogue.
    #[must_use]
    pub const fn new(version: u64, services: BTreeMap<ServiceName, Vec<Arc<str>>>) -> Self {
        Self { version, services, freshness: Freshness::Live }
    }

    /// The same, trusted differently.
    #[must_use]
    pub const fn with_freshness(mut self, freshness: Freshness) -> Self {
        self.freshness = freshness;
        self
    }
}

/// A stream of catalogues: the newest first, at once when one is known.
pub struct CatalogueStream(Pin<Box<dyn Stream<Item = Arc<Catalogue>> + Send>>);

impl CatalogueStream {
    /// Wraps an adapter's stream.
    #[must_use]
    pub fn new(stream: impl Stream<Item = Arc<Catalogue>> + Send + 'static) -> Self {
        Self(Box::pin(stream))
    }

    /// The next catalogue; `None` when the registry's adapter has ended.
    ///
    /// # Cancel safety
    /// Safe: a catalogue that was not taken is there at the next call.
    pub async fn next(&mut self) -> Option<Arc<Catalogue>> {
        std::future::poll_fn(|cx| self.0.as_mut().poll_next(cx)).await
    }
}

impl Stream for CatalogueStream {
    type Item = Arc<Catalogue>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.as_mut().poll_next(cx)
    }
}

impl fmt::Debug for CatalogueStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CatalogueStream")
    }
}
