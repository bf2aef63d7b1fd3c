//! Where the instances of a service come from: fixed endpoints first, then the registry.

use std::sync::Arc;

use outrigger_consul::AgentAddress;
use outrigger_core::ServiceName;
use outrigger_discovery::{Query, RegistryHealth, Resolver, SnapshotStream, StaticResolver};

use crate::memory::Memory;

/// Where the instances of services come from.
#[derive(Debug)]
pub(crate) struct Registries {
    pub(crate) resolver: Option<Arc<dyn Resolver>>,
    pub(crate) fixed: Vec<ServiceName>,
    pub(crate) endpoints: StaticResolver,
    pub(crate) memory: Option<Memory>,
    /// Where Consul is, when it is what announces us.
    pub(crate) consul: Option<AgentAddress>,
}

impl Registries {
    /// How it stands with the registry; `None` where there is none.
    pub(crate) fn health(&self) -> Option<RegistryHealth> {
        self.resolver.as_ref().map(|resolver| resolver.health())
    }

    /// Whether the endpoints of a service are written down, so that no registry is asked.
    pub(crate) fn is_fixed(&self, service: &ServiceName) -> bool {
        self.fixed.contains(service)
    }

    /// Watches a service here, or in `datacenter`, and in each datacenter of `failover`.
    pub(crate) fn watch(
        &self,
        service: &ServiceName,
        datacenter: Option<&str>,
        failover: &[Arc<str>],
    ) -> Vec<SnapshotStream> {
        let query = |datacenter: Option<&str>| {
            let query = Query::new(service.clone());
            match datacenter {
                Some(datacenter) => query.with_datacenter(datacenter),
                None => query,
            }
        };
        match &self.resolver {
            Some(resolver) if !self.fixed.contains(service) => {
                let here = resolver.watch(&query(datacenter));
                let here = match (&self.memory, datacenter) {
                    (Some(memory), None) => memory.remember(service, here),
                    _ => here,
                };
                let elsewhere = failover.iter().map(|name| resolver.watch(&query(Some(name))));
                std::iter::once(here).chain(elsewhere).collect()
            }
            // Without a registry, what is not listed has no endpoints, and that is known at once.
            _ => vec![self.endpoints.watch(&query(None))],
        }
    }
}
