//! Everybody who plays: the instances of each service, and their registry.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use outrigger::Fleet;
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::instance::Instance;
use super::joiner::{Joiner, StandIns};
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
    /// Instances that play in one chapter only.
    stand_ins: Vec<Instance>,
    /// Those that have played, and say goodbye to their callers.
    leaving: JoinSet<()>,
}

impl Cast {
    /// Starts every instance, and waits until each is registered.
    pub(crate) async fn start(registry: Registry, joiner: Arc<Joiner>) -> Result<Self> {
        let mut cast = Self {
            registry,
            joiner,
            instances: VecDeque::new(),
            started: [0; 4],
            stand_ins: Vec::new(),
            leaving: JoinSet::new(),
        };
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

    /// Starts instances that are registered as an inventory service in Java, which they are not.
    pub(crate) async fn start_stand_ins(&mut self, count: usize) -> Result<()> {
        let joiner = Arc::new(StandIns(Arc::clone(&self.joiner)));
        for number in 1..=count {
            let name = format!("inventory-stand-in-{number}");
            let instance = Instance::start(Role::Inventory, name, Arc::clone(&joiner)).await?;
            instance.knobs.set_plants(true);
            self.stand_ins.push(instance);
        }
        for instance in &self.stand_ins {
            let registered = instance.fleet.registered();
            tokio::time::timeout(Duration::from_secs(5), registered)
                .await
                .context("a stand-in was not registered within 5 s")?;
        }
        Ok(())
    }

    /// The instances that play in this chapter only.
    pub(crate) fn stand_ins(&self) -> &[Instance] {
        &self.stand_ins
    }

    /// Ends the stand-ins, each in order, while the play goes on.
    pub(crate) fn dismiss_stand_ins(&mut self) {
        for instance in self.stand_ins.drain(..) {
            self.leaving.spawn(instance.drain());
        }
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
    pub(crate) async fn end(mut self) {
        self.dismiss_stand_ins();
        for instance in self.instances {
            self.leaving.spawn(instance.drain());
        }
        self.leaving.join_all().await;
    }
}
