//! The watch of one service.

use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use outrigger_core::{Address, Event, Instance, ServiceName, Snapshot};
use outrigger_discovery::{Answer, Feed, Guard, RegistryError, Verdict};

use super::catalogue::services;
use super::follow::Follow;
use crate::ask::Read;
use crate::client::{Answered, Asked, Client};

/// Follows a service for as long as somebody reads.
pub(crate) async fn follow_service(
    client: Arc<Client>,
    datacenter: Option<Arc<str>>,
    service: ServiceName,
    feed: Feed<Snapshot>,
) {
    let asked = Asked::new(
        "a service's instances",
        format!("service \"{service}\" read, node_prefix \"\" read"),
    );
    // A service's name cannot change a path: its type sees to that.
    let read = Read::new(format!("health/service/{service}")).param_if("dc", datacenter.as_deref());
    let mut follow = Follow::new(&client, asked.clone(), read.clone());
    let mut state = State {
        guard: Guard::new(client.config.guard.clone()),
        client,
        datacenter,
        service,
        asked,
        read: read.param("stale", ""),
        feed,
        version: 0,
        last: None,
        confirmed: None,
        confirm_at: None,
        probe_at: None,
        trouble: None,
    };
    loop {
        let result = {
            let mut next = pin!(follow.next());
            loop {
                let due = state.due();
                let timer = async {
                    match due {
                        Some(due) => {
                            let pause = due.saturating_duration_since(state.client.now());
                            tokio::time::sleep(pause).await;
                        }
                        None => std::future::pending().await,
                    }
                };
                tokio::select! {
                    result = &mut next => break result,
                    () = timer => state.pass_time().await,
                }
            }
        };
        match result.and_then(|answered| state.take(&answered)) {
            Ok((index, news)) => {
                state.trouble(None);
                follow.told(index, news);
            }
            Err(error) => {
                follow.failed();
                tracing::debug!(service = %state.service, class = error.class(), %error, "watch failed");
                state.trouble(Some(error.class()));
                state.weigh(Guard::lost);
            }
        }
    }
}

struct State {
    client: Arc<Client>,
    datacenter: Option<Arc<str>>,
    service: ServiceName,
    asked: Asked,
    read: Read,
    feed: Feed<Snapshot>,
    guard: Guard,
    version: u64,
    last: Option<Arc<Snapshot>>,
    confirmed: Option<SystemTime>,
    // When to ask whether an empty answer is confirmed, and when to look at forgotten instances.
    confirm_at: Option<Instant>,
    probe_at: Option<Instant>,
    trouble: Option<&'static str>,
}

impl State {
    /// Reads an answer and lets the guard weigh it; the index, and whether there was news.
    fn take(&mut self, answered: &Answered) -> Result<(Option<u64>, bool), RegistryError> {
        let told = answered.told;
        let read = self.believe(answered)?;
        let first = self.last.is_none();
        if !read.is_empty() {
            self.client.saw(self.datacenter.as_ref(), [&self.service]);
        }
        self.confirmed = Some(self.client.config.clock.wall());
        let answer = Answer::new(read, told.index.unwrap_or(0)).with_filtered(told.filtered);
        let news = self.weigh(|guard, now| guard.observe(answer, now));
        if first {
            // Later, when an answer is empty, others that are listed still are the witnesses.
            let (client, datacenter) = (Arc::clone(&self.client), self.datacenter.clone());
            self.client.runtime.spawn(async move {
                if let Ok(services) = services(&client, datacenter.as_deref()).await {
                    client.saw(datacenter.as_ref(), services.keys());
                }
            });
        }
        Ok((told.index, news))
    }

    /// Reads instances with the reader of the default client, so that both believe the same.
    fn believe(&self, answered: &Answered) -> Result<Vec<Arc<Instance>>, RegistryError> {
        let read = outrigger_consul::read_instances(&answered.body, &self.service)?;
        if read.is_empty() && !answered.told.known_leader {
            // A server without a leader that knows of nothing may just have been started.
            let what = self.asked.what;
            return Err(RegistryError::Answer { what, class: "no_leader", source: None });
        }
        Ok(read)
    }

    /// Tells what is wrong with the answers, once per kind.
    fn trouble(&mut self, class: Option<&'static str>) {
        if std::mem::replace(&mut self.trouble, class) == class {
            return;
        }
        if let Some(class) = class {
            tracing::warn!(service = %self.service, class, "registry's answer not used");
        }
        let connected = !matches!(class, Some("unreachable" | "timeout"));
        let event = Event::Registry { connected, class: class.unwrap_or("ok") };
        self.client.config.observers.emit(&event);
    }

    fn weigh(&mut self, step: impl FnOnce(&mut Guard, Instant) -> Verdict) -> bool {
        let now = self.client.now();
        let held = self.guard.is_holding();
        let verdict = step(&mut self.guard, now);
        let begins = self.guard.is_holding();
        if held != begins {
            let event = Event::HoldingEmpty { service: &self.service, begins };
            self.client.config.observers.emit(&event);
            tracing::warn!(service = %self.service, begins, "holding instances no longer listed");
        }
        match self.guard.confirm_at() {
            None => self.confirm_at = None,
            Some(at) => {
                self.confirm_at.get_or_insert(at);
            }
        }
        if self.guard.suspects().next().is_none() {
            self.probe_at = None;
        } else {
            self.probe_at.get_or_insert(now);
        }
        self.publish(verdict)
    }

    /// Publishes what differs from the last snapshot; whether any instance did.
    fn publish(&mut self, verdict: Verdict) -> bool {
        // Nothing was ever answered, so there is nothing to say.
        let Some(confirmed) = self.confirmed else { return false };
        let Verdict { instances, freshness, .. } = verdict;
        let next = Snapshot::new(self.service.clone(), self.version + 1, instances, confirmed)
            .with_freshness(freshness);
        let same_set = self.last.as_ref().is_some_and(|last| last.instances == next.instances);
        if same_set && self.last.as_ref().is_some_and(|last| last.freshness == freshness) {
            return false;
        }
        self.version += 1;
        let next = Arc::new(next);
        tracing::debug!(
            service = %self.service,
            version = next.version,
            instances = next.instances.len(),
            freshness = freshness.as_str(),
            "snapshot"
        );
        self.last = Some(Arc::clone(&next));
        self.feed.publish(next);
        !same_set
    }

    fn due(&self) -> Option<Instant> {
        [self.guard.deadline(), self.confirm_at, self.probe_at].into_iter().flatten().min()
    }

    async fn pass_time(&mut self) {
        let now = self.client.now();
        if self.confirm_at.is_some_and(|at| at <= now) {
            self.confirm_at = None;
            if let Err(error) = self.confirm().await {
                tracing::debug!(service = %self.service, %error, "empty answer not confirmed");
            }
            if self.guard.confirm_at().is_some() {
                self.confirm_at = Some(self.client.now() + Duration::from_secs(10));
            }
        }
        if self.probe_at.is_some_and(|at| at <= now) {
            self.probe().await;
            self.probe_at = Some(self.client.now() + Duration::from_secs(5));
        }
        self.weigh(Guard::tick);
    }

    /// Asks a second time, and asks who else is listed.
    async fn confirm(&mut self) -> Result<(), RegistryError> {
        let listed = services(&self.client, self.datacenter.as_deref()).await?;
        let lists = |name: &ServiceName| listed.contains_key(name);
        let witness = self.client.witness(self.datacenter.as_ref(), &self.service, lists);
        let within = self.client.config.timeout;
        let answered = self.client.ask(&self.asked, self.read.clone(), within).await?;
        let told = answered.told;
        let answer = Answer::new(self.believe(&answered)?, told.index.unwrap_or(0))
            .with_filtered(told.filtered)
            .with_witness(witness);
        self.weigh(|guard, now| guard.observe(answer, now));
        Ok(())
    }

    /// Looks whether the instances that the registry forgot accept connections.
    async fn probe(&mut self) {
        let suspects: Vec<Arc<Instance>> = self.guard.suspects().cloned().collect();
        // In slices: a thousand connections at once are an attack.
        for slice in suspects.chunks(32) {
            let probes = slice.iter().map(|instance| {
                let instance = Arc::clone(instance);
                tokio::spawn(async move { (accepts(&instance.address).await, instance) })
            });
            let probes: Vec<_> = probes.collect();
            for probe in probes {
                if let Ok((accepts, instance)) = probe.await {
                    self.guard.probed(&instance.id, accepts);
                }
            }
        }
    }
}

async fn accepts(address: &Address) -> bool {
    const PATIENCE: Duration = Duration::from_secs(1);
    let connecting = async {
        for address in outrigger_consul::addresses(address).await? {
            if tokio::net::TcpStream::connect(address).await.is_ok() {
                return Ok(true);
            }
        }
        Ok::<_, std::io::Error>(false)
    };
    matches!(tokio::time::timeout(PATIENCE, connecting).await, Ok(Ok(true)))
}
