//! Where instances are found.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures_core::Stream;
use outrigger_core::{Instance, ServiceName, Snapshot};

use crate::{CatalogueStream, Filter};

/// What is asked of a [`Resolver`].
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Query {
    /// Whose instances.
    pub service: ServiceName,
    /// In which datacenter; the registry's own when `None`.
    pub datacenter: Option<Arc<str>>,
    /// Which of them.
    pub filter: Filter,
}

impl Query {
    /// All instances of a service in the registry's own datacenter.
    #[must_use]
    pub fn new(service: ServiceName) -> Self {
        Self { service, datacenter: None, filter: Filter::all() }
    }

    /// Asks another datacenter.
    #[must_use]
    pub fn with_datacenter(mut self, datacenter: &str) -> Self {
        self.datacenter = Some(datacenter.into());
        self
    }

    /// Wants only some.
    #[must_use]
    pub fn with_filter(mut self, filter: Filter) -> Self {
        self.filter = filter;
        self
    }
}

/// Finds the instances of services, and tells when they change.
///
/// Dyn-compatible and off the request path: a call needs one watch, made once.
pub trait Resolver: fmt::Debug + Send + Sync {
    /// Watches a service.
    ///
    /// Shape: the stream yields the newest snapshot, at once when one is known, and after that
    /// each newer one; a reader that is late skips to the newest. A service that the registry does
    /// not know yields an empty snapshot; a registry that cannot be reached and never was yields
    /// nothing until it is. Trouble after that shows as [`Freshness`], never as an end: the stream
    /// ends only when the resolver itself has ended. Watches with one (datacenter, service) share
    /// their traffic; dropping the last stream ends it.
    ///
    /// [`Freshness`]: outrigger_core::Freshness
    fn watch(&self, query: &Query) -> SnapshotStream;

    /// Watches the list of all services, with the same promises.
    fn catalogue(&self, datacenter: Option<&str>) -> CatalogueStream;

    /// How it stands with the registry behind it. Default: there is none to lose.
    fn health(&self) -> RegistryHealth {
        RegistryHealth::default()
    }
}

/// How a [`Resolver`] stands with the registry behind it, at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RegistryHealth {
    /// Whether it could be reached when it was last asked.
    pub is_connected: bool,
    /// Since it last answered anything; `None` where it never did, or nothing is asked.
    pub age: Option<Duration>,
    /// Connections to it that are open.
    pub connections: usize,
}

impl RegistryHealth {
    /// What is known of a registry behind a wire.
    #[must_use]
    pub const fn new(is_connected: bool, age: Option<Duration>, connections: usize) -> Self {
        Self { is_connected, age, connections }
    }
}

impl Default for RegistryHealth {
    fn default() -> Self {
        Self::new(true, None, 0)
    }
}

/// A stream of snapshots: the newest first, at once when one is known.
pub struct SnapshotStream(Pin<Box<dyn Stream<Item = Arc<Snapshot>> + Send>>);

impl SnapshotStream {
    /// Wraps an adapter's stream.
    #[must_use]
    pub fn new(stream: impl Stream<Item = Arc<Snapshot>> + Send + 'static) -> Self {
        Self(Box::pin(stream))
    }

    /// Keeps only the wanted instances, and stays silent where that makes no difference.
    #[must_use]
    pub fn filtered(self, filter: Filter) -> Self {
        if filter.is_all() { self } else { Self::new(Filtered { inner: self, filter, last: None }) }
    }

    /// The next snapshot; `None` when the resolver has ended.
    ///
    /// # Cancel safety
    /// Safe: a snapshot that was not taken is there at the next call.
    pub async fn next(&mut self) -> Option<Arc<Snapshot>> {
        std::future::poll_fn(|cx| self.0.as_mut().poll_next(cx)).await
    }
}

impl Stream for SnapshotStream {
    type Item = Arc<Snapshot>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.as_mut().poll_next(cx)
    }
}

impl fmt::Debug for SnapshotStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SnapshotStream")
    }
}

struct Filtered {
    inner: SnapshotStream,
    filter: Filter,
    last: Option<Arc<Snapshot>>,
}

impl Stream for Filtered {
    type Item = Arc<Snapshot>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            let Some(whole) = ready!(self.inner.0.as_mut().poll_next(cx)) else {
                return Poll::Ready(None);
            };
            let wanted = whole.instances.iter().filter(|i| self.filter.matches(i)).cloned();
            let instances: Arc<[Arc<Instance>]> = wanted.collect();
            let same = self.last.as_ref().is_some_and(|last| {
                last.instances == instances && last.freshness == whole.freshness
            });
            if same {
                continue;
            }
            let mut part = Snapshot::clone(&whole);
            part.instances = instances;
            let part = Arc::new(part);
            self.last = Some(Arc::clone(&part));
            return Poll::Ready(Some(part));
        }
    }
}
