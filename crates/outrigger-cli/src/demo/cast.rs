//! Everybody who plays: the instances of each service, and their registry.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use outrigger::Fleet;
use tokio::time::sleep;

use super::instance::Instance;
use super::joiner::Joiner;
use super::registry::Registry;
use super::services::Role;

/// How many instances of each service play.
const SIZES: [(Role, usize); 4] =
    [(Role::Inventory, 3), (Role::Pricing, 2), (Role::Orders, 1), (Role::Storefront, 1)];

/// Everybody who plays.
#[derive(Debug)]
pub(crate) struct Cast {
    pub(crate) registry: Registry,
    joiner: Arc<Joiner>,
    instances: VecDeque<Instance>,
    started: [usize; 4],
}

impl Cast {
    /// Starts every instance, and waits until each is registered.
    pub(crate) async fn start(registry: Registry, joiner: Arc<Joiner>) -> Result<Self> {
        let mut cast = Self { registry, joiner, instances: VecDeque::new(), started: [0; 4] };
        for (role, size) in SIZES {
            for _ in 0..size {
                cast.replace(role).await?;
            }
        }
        anyhow::ensure!(
            cast.wait_until_registered(Duration::from_secs(15)).await,
            "the registry did not take every instance within 15 s"
        );
        Ok(cast)
    }

    /// The instances of a service, the oldest first.
    pub(crate) fn of(&self, role: Role) -> impl Iterator<Item = &Instance> {
        self.instances.iter().filter(move |instance| instance.role == role)
    }

    /// All instances.
    pub(crate) fn all(&self) -> impl Iterator<Item = &Instance> {
        self.instances.iter()
    }

    /// Takes the oldest instance of a service out of the cast; it goes on running.
    pub(crate) fn take(&mut self, role: Role) -> Option<Instance> {
        let at = self.instances.iter().position(|instance| instance.role == role)?;
        self.instances.remove(at)
    }

    /// Starts one more instance of a service, and waits until it is registered.
    pub(crate) async fn replace(&mut self, role: Role) -> Result<()> {
        let number = &mut self.started[role as usize];
        *number += 1;
        let name = format!("{}-{number}", role.as_str());
        let instance = Instance::start(role, name.clone(), Arc::clone(&self.joiner)).await?;
        let fleet = instance.fleet.clone();
        self.instances.push_back(instance);
        // Not fatal: a registry that is away is what the demo is about.
        let _ = tokio::time::timeout(Duration::from_secs(5), fleet.registered()).await;
        Ok(())
    }

    /// Waits until the registry has every instance; says whether it came to that.
    pub(crate) async fn wait_until_registered(&self, patience: Duration) -> bool {
        let all = async {
            while !self.registry.has_all(self.instances.iter().map(|i| i.address)).await {
                sleep(Duration::from_millis(50)).await;
            }
        };
        tokio::time::timeout(patience, all).await.is_ok()
    }

    /// A caller that is no service of the fleet: the visitors.
    pub(crate) async fn visitors(&self) -> Result<Fleet> {
        self.joiner.visitors().await.context("the visitors cannot join")
    }

    /// Ends everybody, each in order, all at once.
    pub(crate) async fn end(self) {
        let mut leaving = tokio::task::JoinSet::new();
        for instance in self.instances {
            leaving.spawn(instance.drain());
        }
        leaving.join_all().await;
    }
}
