//! Instances that an operator wrote down.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::SystemTime;

use futures_core::Stream;
use outrigger_core::{Address, Freshness, Instance, ServiceName, Snapshot};

use crate::{Catalogue, CatalogueStream, Query, Resolver, SnapshotStream};

/// Instances that an operator wrote down; nothing is watched.
///
/// Shape: a service that is not written down has an empty snapshot. Datacenters are not told
/// apart. `confirmed` is the epoch: nobody ever confirmed it.
#[derive(Clone, Debug, Default)]
pub struct StaticResolver {
    services: BTreeMap<ServiceName, Vec<Arc<Instance>>>,
}

impl StaticResolver {
    /// Nothing written down yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Writes down the addresses of a service; each instance's id is `<service>-<address>`.
    #[must_use]
    pub fn with(
        self,
        service: ServiceName,
        addresses: impl IntoIterator<Item = impl Into<Address>>,
    ) -> Self {
        let instances = addresses.into_iter().filter_map(|address| {
            let address: Address = address.into();
            // Never refused: a name and an address hold no control character and fit.
            let id = format!("{service}-{address}").parse().ok()?;
            Some(Instance::new(id, service.clone(), address))
        });
        let instances: Vec<_> = instances.collect();
        self.with_instances(service, instances)
    }

    /// Writes down whole instances of a service.
    #[must_use]
    pub fn with_instances(
        mut self,
        service: ServiceName,
        instances: impl IntoIterator<Item = Instance>,
    ) -> Self {
        let list = self.services.entry(service).or_default();
        list.extend(instances.into_iter().map(Arc::new));
        self
    }
}

impl Resolver for StaticResolver {
    fn watch(&self, query: &Query) -> SnapshotStream {
        let instances = self.services.get(&query.service).cloned().unwrap_or_default();
        let service = query.service.clone();
        let snapshot = Snapshot::new(service, 1, instances, SystemTime::UNIX_EPOCH)
            .with_freshness(Freshness::Static);
        SnapshotStream::new(Once(Some(Arc::new(snapshot)))).filtered(query.filter.clone())
    }

    fn catalogue(&self, _datacenter: Option<&str>) -> CatalogueStream {
        let tags = |list: &Vec<Arc<Instance>>| -> Vec<Arc<str>> {
            let mut tags: Vec<_> = list.iter().flat_map(|i| i.tags.iter().cloned()).collect();
            tags.sort();
            tags.dedup();
            tags
        };
        let services = self.services.iter().map(|(name, list)| (name.clone(), tags(list)));
        let catalogue = Catalogue::new(1, services.collect()).with_freshness(Freshness::Static);
        CatalogueStream::new(Once(Some(Arc::new(catalogue))))
    }
}

/// Yields one value, then waits for ever: a stream of snapshots ends only with its resolver.
struct Once<T>(Option<T>);

impl<T: Unpin> Stream for Once<T> {
    type Item = T;

    fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<T>> {
        self.0.take().map_or(Poll::Pending, |value| Poll::Ready(Some(value)))
    }
}
