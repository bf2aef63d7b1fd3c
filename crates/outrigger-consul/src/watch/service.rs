//! The watch of one service.

use std::collections::{BTreeMap, BTreeSet};
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use outrigger_core::{Address, Event, Freshness, Instance, InstanceId, ServiceName, Snapshot};
use outrigger_discovery::{Answer, Feed, Guard, RegistryError, Verdict};

use crate::Dial;
use crate::answer::{self, Instances};
use crate::ask::Ask;
use crate::client::Client;
use crate::follow::{Follow, Followed};
use crate::resolve;

/// Follows a service for as long as somebody reads.
pub(crate) async fn follow_service(
    client: Arc<Client>,
    datacenter: Option<Arc<str>>,
    service: ServiceName,
    feed: Feed<Snapshot>,
) {
    let ask = Ask::get("a service's instances", "/v1/health/service")
        .segment(service.as_str())
        .needs(format!("service \"{service}\" read, node_prefix \"\" read"))
        .param_if("dc", datacenter.as_deref());
    let mut follow = Follow::new(&client, ask.clone());
    let mut state = State {
        guard: Guard::new(client.config.guard.clone()),
        client,
        datacenter,
        service,
        ask,
        feed,
        version: 0,
        last: None,
        confirmed: SystemTime::UNIX_EPOCH,
        confirm_at: None,
        probe_at: None,
        aged: false,
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
                    biased;
                    result = &mut next => break result,
                    () = timer => state.pass_time().await,
                }
            }
        };
        let judged = match result {
            Ok(followed) => state.take(followed).await,
            Err(error) => Err(error),
        };
        match judged {
            Ok(read) => {
                // Not an error, and not the whole truth either: the token may not see everything.
                state.trouble(read.filtered.then_some("filtered"));
                follow.told(read.index, read.news);
            }
            Err(error) => {
                follow.failed();
                state.lose(&error);
            }
        }
    }
}

struct State {
    client: Arc<Client>,
    datacenter: Option<Arc<str>>,
    service: ServiceName,
    ask: Ask,
    feed: Feed<Snapshot>,
    guard: Guard,
    version: u64,
    last: Option<Arc<Snapshot>>,
    confirmed: SystemTime,
    // When to ask whether an empty answer is confirmed, and when to look at forgotten instances.
    confirm_at: Option<Instant>,
    probe_at: Option<Instant>,
    aged: bool,
    trouble: Option<&'static str>,
}

/// What came of an answer.
struct Read {
    index: Option<u64>,
    news: bool,
    filtered: bool,
}

impl State {
    /// Reads an answer and lets the guard weigh it.
    async fn take(&mut self, followed: Followed) -> Result<Read, RegistryError> {
        let Followed { answered, aged } = followed;
        let told = answered.told;
        let read = self.read(answered.body).await?;
        if read.is_empty() && !told.known_leader {
            // A server without a leader that knows of nothing may just have been started.
            return Err(refused(&self.ask, "no_leader"));
        }
        self.aged = aged;
        let first = self.last.is_none();
        if !read.is_empty() {
            self.client.saw(self.datacenter.as_ref(), [&self.service]);
        }
        self.confirmed = self.client.config.clock.wall();
        let index = told.index.unwrap_or(0);
        let answer = Answer::new(read, index).with_filtered(told.filtered);
        let news = self.weigh(|guard, now| guard.observe(answer, now));
        if first {
            // Later, when an answer is empty, others that are listed still are the witnesses.
            self.note_catalogue();
        }
        Ok(Read { index: told.index, news, filtered: told.filtered })
    }

    async fn read(&self, body: bytes::Bytes) -> Result<Vec<Arc<Instance>>, RegistryError> {
        // From about here on, reading takes longer than a task may keep its thread.
        const LARGE: usize = 128 << 10;
        let most = self.client.config.max_instances;
        let read = if body.len() < LARGE {
            answer::instances(&body, &self.service, most)
        } else {
            let service = self.service.clone();
            let reading = move || answer::instances(&body, &service, most);
            let joined = tokio::task::spawn_blocking(reading).await;
            joined.map_err(|_| refused(&self.ask, "unreadable"))?
        };
        let Instances { list, left_out } = read.map_err(|wrong| RegistryError::Answer {
            what: self.ask.what,
            class: wrong.class,
            source: wrong.source,
        })?;
        for (class, count) in left_out {
            tracing::warn!(service = %self.service, class, count, "instances left out");
        }
        Ok(self.reuse(list))
    }

    // An instance that did not change stays the same allocation: whoever compares is done sooner.
    fn reuse(&self, mut list: Vec<Arc<Instance>>) -> Vec<Arc<Instance>> {
        let Some(last) = &self.last else { return list };
        let known: BTreeMap<&InstanceId, &Arc<Instance>> =
            last.instances.iter().map(|instance| (&instance.id, instance)).collect();
        for instance in &mut list {
            if let Some(same) = known.get(&instance.id).filter(|known| ***known == *instance) {
                *instance = Arc::clone(same);
            }
        }
        list
    }

    fn lose(&mut self, error: &RegistryError) {
        tracing::debug!(service = %self.service, class = error.class(), %error, "watch failed");
        self.trouble(Some(error.class()));
        self.weigh(Guard::lost);
    }

    /// Tells what is wrong with the answers, once per kind.
    fn trouble(&mut self, class: Option<&'static str>) {
        if std::mem::replace(&mut self.trouble, class) == class {
            return;
        }
        if let Some(class) = class {
            let needs = &*self.ask.rule;
            tracing::warn!(service = %self.service, class, needs, "trouble with the registry");
        }
        // Whether the agent can be reached at all is the gate's to know.
        let connected = self.client.gate.is_up();
        let event = Event::Registry { connected, class: class.unwrap_or("ok") };
        self.client.config.observers.emit(&event);
    }

    fn weigh(&mut self, step: impl FnOnce(&mut Guard, Instant) -> Verdict) -> bool {
        let now = self.client.now();
        let held = self.guard.is_holding();
        let verdict = step(&mut self.guard, now);
        let holds = self.guard.is_holding();
        if held != holds {
            self.client
                .config
                .observers
                .emit(&Event::HoldingEmpty { service: &self.service, begins: holds });
            if holds {
                tracing::warn!(service = %self.service, "registry lists no instances: held");
            } else {
                tracing::info!(service = %self.service, "held no longer");
            }
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

    /// Publishes what differs from the last snapshot; whether anything did.
    fn publish(&mut self, verdict: Verdict) -> bool {
        let Verdict { instances, mut freshness, .. } = verdict;
        if freshness == Freshness::Live && self.aged {
            freshness = Freshness::Stale;
        }
        if self.version == 0 && self.confirmed == SystemTime::UNIX_EPOCH {
            // Nothing was ever answered, so there is nothing to say.
            return false;
        }
        let next = Snapshot::new(self.service.clone(), self.version + 1, instances, self.confirmed)
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
        let catalogue = self.client.services(self.datacenter.as_deref(), true).await?;
        let listed: BTreeSet<ServiceName> = catalogue.into_keys().collect();
        let witness = self.client.witness(self.datacenter.as_ref(), &self.service, &listed);
        let answered = self.client.ask_plain(&self.ask.clone().param("stale", "")).await?;
        let told = answered.told;
        let read = self.read(answered.body).await?;
        if !told.known_leader {
            return Err(refused(&self.ask, "no_leader"));
        }
        let answer = Answer::new(read, told.index.unwrap_or(0))
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
                let dialer = Arc::clone(&self.client.config.dialer);
                tokio::spawn(async move {
                    let accepts = accepts(&instance.address, &*dialer).await;
                    (instance, accepts)
                })
            });
            let probes: Vec<_> = probes.collect();
            for probe in probes {
                if let Ok((instance, accepts)) = probe.await {
                    self.guard.probed(&instance.id, accepts);
                }
            }
        }
    }

    fn note_catalogue(&self) {
        let (client, datacenter) = (Arc::clone(&self.client), self.datacenter.clone());
        self.client.runtime.spawn(async move {
            // What fails here is missing as a witness later, which only makes us wait longer.
            if let Ok(services) = client.services(datacenter.as_deref(), true).await {
                client.saw(datacenter.as_ref(), services.keys());
            }
        });
    }
}

fn refused(ask: &Ask, class: &'static str) -> RegistryError {
    RegistryError::Answer { what: ask.what, class, source: None }
}

async fn accepts(address: &Address, dialer: &dyn Dial) -> bool {
    const PATIENCE: Duration = Duration::from_secs(1);
    let connecting = async {
        for address in resolve::addresses(address).await? {
            if dialer.dial(&address.ip().to_string(), address.port()).await.is_ok() {
                return Ok(true);
            }
        }
        Ok::<_, std::io::Error>(false)
    };
    matches!(tokio::time::timeout(PATIENCE, connecting).await, Ok(Ok(true)))
}
