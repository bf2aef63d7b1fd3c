//! What a set is made of, and what is put into it.

use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::sync::Arc;

use outrigger_core::{Address, Endpoint, Freshness, Instance, Observers, ServiceName, Snapshot};

use crate::config::{BalanceConfig, ConfigError, EjectConfig};
use crate::subset::Subset;

/// What a set is made of.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct SetOptions {
    /// Whose endpoints.
    pub service: ServiceName,
    /// How they are chosen. Default as the policy's.
    pub balance: BalanceConfig,
    /// When they are ejected; `None` for never. Default as the policy's.
    pub eject: Option<EjectConfig>,
    /// Subsets that a pick may ask for by name.
    pub subsets: Vec<(Arc<str>, Subset)>,
    /// Who calls, and from where.
    pub caller: Caller,
    /// Where round robin begins. Default 0, which is right for tests only: callers that all begin
    /// at the same endpoint march in step.
    pub seed: u64,
    /// Who is told of ejections, panic and new sets.
    pub observers: Observers,
}

impl SetOptions {
    /// The defaults of the policy, for an unknown caller.
    #[must_use]
    pub fn new(service: ServiceName) -> Self {
        Self {
            service,
            balance: BalanceConfig::default(),
            eject: Some(EjectConfig::default()),
            subsets: Vec::new(),
            caller: Caller::default(),
            seed: 0,
            observers: Observers::none(),
        }
    }

    /// How endpoints are chosen.
    #[must_use]
    pub fn with_balance(mut self, balance: BalanceConfig) -> Self {
        self.balance = balance;
        self
    }

    /// When they are ejected.
    #[must_use]
    pub fn with_eject(mut self, eject: Option<EjectConfig>) -> Self {
        self.eject = eject;
        self
    }

    /// One more subset that a pick may ask for.
    #[must_use]
    pub fn with_subset(mut self, name: impl Into<Arc<str>>, subset: Subset) -> Self {
        self.subsets.push((name.into(), subset));
        self
    }

    /// Who calls.
    #[must_use]
    pub fn with_caller(mut self, caller: Caller) -> Self {
        self.caller = caller;
        self
    }

    /// Where round robin begins.
    #[must_use]
    pub const fn with_seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// Who is told.
    #[must_use]
    pub fn with_observers(mut self, observers: Observers) -> Self {
        self.observers = observers;
        self
    }

    pub(crate) fn validate(&self) -> Result<(), ConfigError> {
        self.balance.validate()?;
        self.eject.as_ref().map_or(Ok(()), EjectConfig::validate)
    }
}

/// Who calls, and from where.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Caller {
    /// The caller's zone; without one no endpoint is near.
    pub zone: Option<Arc<str>>,
    /// The caller's datacenter; without one, every datacenter not in `failover` is taken as here.
    pub datacenter: Option<Arc<str>>,
    /// Tells this caller's aperture from others'; a hash of the instance id, see
    /// [`hash_key`](crate::hash_key).
    pub id: u64,
    /// This caller's place among all of its kind, where that is known: apertures then tile evenly.
    pub peers: Option<Peers>,
}

impl Caller {
    /// The caller of this id, somewhere.
    #[must_use]
    pub const fn new(id: u64) -> Self {
        Self { zone: None, datacenter: None, id, peers: None }
    }

    /// Its zone.
    #[must_use]
    pub fn with_zone(mut self, zone: Option<Arc<str>>) -> Self {
        self.zone = zone;
        self
    }

    /// Its datacenter.
    #[must_use]
    pub fn with_datacenter(mut self, datacenter: Option<Arc<str>>) -> Self {
        self.datacenter = datacenter;
        self
    }

    /// Its place among all callers of its kind.
    #[must_use]
    pub const fn with_peers(mut self, peers: Option<Peers>) -> Self {
        self.peers = peers;
        self
    }
}

/// A caller's place among all callers of its kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "an index and a count, nothing else can come")]
pub struct Peers {
    /// From 0, in an order on which all agree.
    pub index: u32,
    /// How many there are.
    pub count: NonZeroU32,
}

/// A whole set of endpoints, as resolved from a snapshot.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Members {
    /// The snapshot's version.
    pub version: u64,
    /// How far it is to be trusted.
    pub freshness: Freshness,
    /// The endpoints, critical ones included; of two that are equal, the first counts.
    pub endpoints: Vec<Endpoint>,
}

impl Members {
    /// A live set.
    #[must_use]
    pub const fn new(version: u64, endpoints: Vec<Endpoint>) -> Self {
        Self { version, freshness: Freshness::Live, endpoints }
    }

    /// The endpoints of a snapshot; `resolve` answers with the addresses of a DNS name, or with
    /// none, which leaves the instance out.
    #[must_use]
    pub fn of(
        snapshot: &Snapshot,
        mut resolve: impl FnMut(&Arc<Instance>, &str, u16) -> Vec<SocketAddr>,
    ) -> Self {
        let mut endpoints = Vec::with_capacity(snapshot.instances.len());
        for instance in snapshot.instances.iter() {
            match &instance.address {
                Address::Socket(address) => {
                    endpoints.push(Endpoint::new(Arc::clone(instance), *address));
                }
                Address::Name(host, port) => {
                    let addresses = resolve(instance, host, *port);
                    let endpoint = |address| Endpoint::new(Arc::clone(instance), address);
                    endpoints.extend(addresses.into_iter().map(endpoint));
                }
                _ => {}
            }
        }
        Self { version: snapshot.version, freshness: snapshot.freshness, endpoints }
    }
}

/// What an update changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Change {
    /// Endpoints that were not in the set before.
    pub added: usize,
    /// Endpoints that no longer are.
    pub removed: usize,
    /// Endpoints that are still there, and whose state was kept.
    pub kept: usize,
}
