//! The demo's registry: an own development agent or a real one, behind a line that can be cut.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context as _, Result};
use outrigger::consul::{Consul, ConsulConfig};
use outrigger::core::{ServiceName, Status};
use outrigger::discovery::{Query, Resolver, SnapshotStream};
use outrigger_dev::Agent;
use tokio::time::timeout;

use super::policies::Policies;
use super::relay::Relay;
use super::services::Role;

/// What the fleet registers with.
#[derive(Debug)]
pub(crate) struct Registry {
    relay: Relay,
    agent: Option<Agent>,
    /// Looks at the registry itself, past the relay.
    direct: Consul,
    policies: Policies,
    /// Held so that a look finds what is already known.
    _watches: Vec<SnapshotStream>,
}

/// The services that are looked for.
const WATCHED: [Role; 4] = [Role::Storefront, Role::Orders, Role::Inventory, Role::Pricing];

impl Registry {
    /// An own development agent.
    pub(crate) async fn own() -> Result<Self> {
        let address = SocketAddr::from(([127, 0, 0, 1], 0));
        let agent = Agent::builder().bind(address).await.context("the development agent")?;
        let url = agent.url();
        Self::behind(&url, Some(agent)).await
    }

    /// A Consul that is there already, by its URL.
    pub(crate) async fn at(url: &str) -> Result<Self> {
        let registry = Self::behind(url, None).await?;
        let answers = registry.look(Role::Storefront, Duration::from_secs(5)).await.is_some();
        anyhow::ensure!(answers, "no Consul answers at {url}");
        Ok(registry)
    }

    async fn behind(url: &str, agent: Option<Agent>) -> Result<Self> {
        let target = url.strip_prefix("http://").unwrap_or(url).trim_end_matches('/').to_owned();
        let relay = Relay::start(target).await.context("the line to the registry")?;
        let direct = Consul::new(ConsulConfig::from_lookup(|variable| match variable {
            "CONSUL_HTTP_ADDR" => Some(url.to_owned()),
            other => std::env::var(other).ok(),
        })?)?;
        let watch = |role: Role| {
            let service = ServiceName::new(role.as_str()).ok()?;
            Some(direct.watch(&Query::new(service)))
        };
        let watches = WATCHED.into_iter().filter_map(watch).collect();
        let policies = Policies::new(direct.kv());
        Ok(Self { relay, agent, direct, policies, _watches: watches })
    }

    /// What the fleet takes for its registry.
    pub(crate) fn url(&self) -> String {
        self.relay.url()
    }

    /// The policies that are in its keys.
    pub(crate) const fn policies(&mut self) -> &mut Policies {
        &mut self.policies
    }

    /// As if the registry had been killed.
    pub(crate) fn take_away(&self) {
        self.relay.cut();
    }

    /// As if it had been started again; our own one starts empty.
    pub(crate) async fn bring_back(&self) -> Result<()> {
        if let Some(agent) = &self.agent {
            agent.restart_empty().await.context("restarting the development agent")?;
            // Instances register again by themselves; policies are somebody's to push again.
            self.policies.restore().await?;
        }
        self.relay.mend();
        Ok(())
    }

    /// Whether it comes back empty.
    pub(crate) const fn forgets(&self) -> bool {
        self.agent.is_some()
    }

    /// The addresses that stand in it as passing; `None` when it says nothing in time.
    async fn look(&self, role: Role, patience: Duration) -> Option<BTreeSet<String>> {
        if let Some(agent) = &self.agent {
            // Our own agent can be asked itself, which no cache and no guard stands before.
            return Some(passing(agent, role));
        }
        let mut stream = self.direct.watch(&Query::new(ServiceName::new(role.as_str()).ok()?));
        let snapshot = timeout(patience, stream.next()).await.ok()??;
        let passing = snapshot.instances.iter().filter(|i| i.status == Status::Passing);
        Some(passing.map(|i| i.address.to_string()).collect())
    }

    /// Whether every one of these addresses stands in it, passing.
    pub(crate) async fn has_all(&self, mut wanted: impl Iterator<Item = SocketAddr>) -> bool {
        let mut found = BTreeSet::new();
        for role in WATCHED {
            let Some(there) = self.look(role, Duration::from_millis(200)).await else {
                return false;
            };
            found.extend(there);
        }
        wanted.all(|address| found.contains(&address.to_string()))
    }
}

/// The addresses of a service's passing instances in the development agent.
fn passing(agent: &Agent, role: Role) -> BTreeSet<String> {
    let Some(state) = agent.state() else { return BTreeSet::new() };
    state.with(|state| {
        state
            .instances(role.as_str())
            .into_iter()
            .filter(|(_, status)| *status == outrigger_dev::Status::Passing)
            .map(|(service, _)| format!("{}:{}", service.address, service.port))
            .collect()
    })
}
