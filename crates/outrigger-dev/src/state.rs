//! The whole memory of the agent, without a clock, a socket or a task: time comes in as `now`.
//!
//! `now` counts from the agent's start. Every write takes one step of the raft index, as in a real
//! cluster of one server, and says by its return whether there is something to tell to watchers.

use std::time::Duration;

use crate::acl::Acl;
use crate::model::{Check, Event, Meta, Node, Service, Status, Weights, uuid};
use crate::registration::{CheckDefinition, Registration};

pub(crate) mod catalog;
pub(crate) mod event;
pub(crate) mod kv;
pub(crate) mod local;
mod register;
pub(crate) mod session;

use catalog::{Catalog, Lost};
use event::Events;
use kv::KvStore;
use local::Local;
pub(crate) use register::ReportError;
use session::{Session, Sessions};

/// Version of Consul whose answers are given.
pub(crate) const CONSUL_VERSION: &str = "1.22.7";

/// The raft index at which a fresh server has registered itself.
const FIRST_INDEX: u64 = 11;
/// The raft index at which its node has got its addresses.
const READY_INDEX: u64 = 17;

/// What does not change while the agent runs.
#[derive(Debug, Clone)]
pub(crate) struct Identity {
    pub(crate) node: String,
    pub(crate) node_id: String,
    pub(crate) datacenter: String,
    /// Port of the fictitious server RPC, shown by `/v1/status/leader`.
    pub(crate) server_port: u16,
    /// The least time before a critical instance is deregistered.
    pub(crate) deregister_floor: Duration,
    /// How often critical instances are looked for.
    pub(crate) reap_every: Duration,
}

/// The agent's memory.
#[derive(Debug)]
pub struct State {
    pub(crate) identity: Identity,
    pub(crate) index: u64,
    pub(crate) catalog: Catalog,
    pub(crate) kv: KvStore,
    pub(crate) sessions: Sessions,
    pub(crate) events: Events,
    pub(crate) local: Local,
    pub(crate) acl: Acl,
    pub(crate) rng: fastrand::Rng,
    next_reap: Duration,
}

impl State {
    pub(crate) fn new(identity: Identity, acl: Acl, rng: fastrand::Rng) -> Self {
        let next_reap = identity.reap_every;
        let mut state = Self {
            identity,
            index: FIRST_INDEX,
            catalog: Catalog::default(),
            kv: KvStore::default(),
            sessions: Sessions::default(),
            events: Events::default(),
            local: Local::default(),
            acl,
            rng,
            next_reap,
        };
        state.register_itself();
        state
    }

    fn register_itself(&mut self) {
        let node = |meta: Option<Meta>, addresses: bool, identity: &Identity| Node {
            id: identity.node_id.clone(),
            name: identity.node.clone(),
            address: "127.0.0.1".to_owned(),
            datacenter: identity.datacenter.clone(),
            tagged_addresses: addresses.then(|| {
                ["lan", "lan_ipv4", "wan", "wan_ipv4"]
                    .into_iter()
                    .map(|key| (key.to_owned(), "127.0.0.1".to_owned()))
                    .collect()
            }),
            meta,
            create_index: 0,
            modify_index: 0,
        };
        let pairs = |pairs: &[(&str, &str)]| {
            pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect::<Meta>()
        };
        self.catalog.ensure_node(FIRST_INDEX, node(None, false, &self.identity));
        let service = Service {
            kind: String::new(),
            id: "consul".to_owned(),
            name: "consul".to_owned(),
            tags: Vec::new(),
            address: String::new(),
            tagged_addresses: std::collections::BTreeMap::new(),
            meta: pairs(&[
                ("non_voter", "false"),
                ("raft_version", "3"),
                ("read_replica", "false"),
                ("serf_protocol_current", "2"),
                ("serf_protocol_max", "5"),
                ("serf_protocol_min", "1"),
                ("version", CONSUL_VERSION),
            ]),
            port: i64::from(self.identity.server_port),
            weights: Weights { passing: 1, warning: 1 },
            enable_tag_override: false,
            proxy: serde_json::json!({}),
            connect: serde_json::json!({}),
            create_index: 0,
            modify_index: 0,
        };
        let name = self.identity.node.clone();
        self.catalog.ensure_service(FIRST_INDEX, &name, service);
        let check = Check {
            output: "Agent alive and reachable".to_owned(),
            status: Status::Passing,
            ..self.blank_check("serfHealth", "Serf Health Status")
        };
        self.catalog.ensure_check(FIRST_INDEX, check);
        self.index = READY_INDEX;
        let meta = pairs(&[("consul-network-segment", ""), ("consul-version", CONSUL_VERSION)]);
        self.catalog.ensure_node(READY_INDEX, node(Some(meta), true, &self.identity));
    }

    /// A critical check of this agent's node without any content.
    pub(crate) fn blank_check(&self, id: &str, name: &str) -> Check {
        Check {
            node: self.identity.node.clone(),
            id: id.to_owned(),
            name: name.to_owned(),
            status: Status::Critical,
            notes: String::new(),
            output: String::new(),
            service_id: String::new(),
            service_name: String::new(),
            service_tags: Vec::new(),
            kind: String::new(),
            interval: String::new(),
            timeout: String::new(),
            exposed_port: 0,
            definition: serde_json::json!({}),
            create_index: 0,
            modify_index: 0,
        }
    }

    /// One step of the raft index, taken by every write whatever it changes.
    pub(crate) fn step(&mut self) -> u64 {
        self.index += 1;
        self.index
    }

    /// Ends the sessions that stood on what a change has taken away.
    pub(crate) fn end_sessions_of(&mut self, index: u64, now: Duration, lost: &Lost) {
        for id in self.sessions.ended_by(lost) {
            self.end_session(index, now, &id);
        }
    }

    fn end_session(&mut self, index: u64, now: Duration, id: &str) {
        if let Some(session) = self.sessions.remove(index, id) {
            let until = session.held_until(now);
            self.kv.end_session(index, id, session.deletes, until);
        }
    }

    /// Creates a session; its id is drawn here.
    pub(crate) fn create_session(&mut self, now: Duration, mut session: Session) -> String {
        let index = self.step();
        session.id = uuid(&mut self.rng);
        let id = session.id.clone();
        self.sessions.insert(index, now, session);
        id
    }

    pub(crate) fn destroy_session(&mut self, now: Duration, id: &str) {
        let index = self.step();
        self.end_session(index, now, id);
    }

    /// Fires an event; agents whose filters do not match keep it out of their list.
    pub(crate) fn fire(&mut self, mut event: Event) -> Event {
        event.id = uuid(&mut self.rng);
        let matches = (event.node_filter.is_empty() || event.node_filter == self.identity.node)
            && (event.service_filter.is_empty()
                || self.local.named(&event.service_filter).any(|service| {
                    event.tag_filter.is_empty() || service.tags.contains(&event.tag_filter)
                }));
        if matches {
            self.events.push(event.clone());
        }
        event
    }

    /// Does what is due: expired checks and sessions, deferred outputs, critical instances that have
    /// been so for too long. True when something has changed.
    pub fn tick(&mut self, now: Duration) -> bool {
        let before = self.index;
        let expired: Vec<_> = self
            .local
            .checks
            .iter()
            .filter(|(_, check)| check.expires.is_some_and(|at| at <= now))
            .map(|(id, check)| (id.clone(), check.expired_output()))
            .collect();
        for (id, output) in expired {
            if let Some(local) = self.local.checks.get_mut(&id) {
                local.expires = None;
            }
            self.set_check(now, &id, Status::Critical, output);
        }
        self.sync_deferred(now);
        for id in self.sessions.expired(now) {
            self.destroy_session(now, &id);
        }
        if now >= self.next_reap {
            self.next_reap = now + self.identity.reap_every;
            self.reap(now);
        }
        self.index != before
    }

    /// When [`State::tick`] must be called next.
    #[must_use]
    pub fn next_deadline(&self) -> Duration {
        [self.local.next_deadline(), self.sessions.next_expiry()]
            .into_iter()
            .flatten()
            .fold(self.next_reap, Duration::min)
    }

    /// The last raft index.
    #[must_use]
    pub fn index(&self) -> u64 {
        self.index
    }

    /// The instances of a service in the catalogue, each with the worst status of its checks.
    #[must_use]
    pub fn instances(&self, service: &str) -> Vec<(Service, Status)> {
        self.catalog
            .instances(service)
            .map(|(node, service)| {
                let checks = self.catalog.checks_for(&node.name, &service.id);
                let worst = checks.iter().map(|check| check.status).max();
                (service.clone(), worst.unwrap_or(Status::Passing))
            })
            .collect()
    }

    /// The value of a key.
    #[must_use]
    pub fn value(&self, key: &str) -> Option<&[u8]> {
        self.kv.entry(key).map(|entry| entry.value.as_slice())
    }
}

#[cfg(test)]
mod tests;
