//! Sessions: who holds locks, and until when.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};

use super::catalog::Lost;

/// Consul waits twice the time to live before it ends a session.
const TTL_FACTOR: u32 = 2;
const MAX_LOCK_DELAY: Duration = Duration::from_secs(60);

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Session {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) node: String,
    pub(crate) lock_delay: Duration,
    /// Whether its keys are deleted when it ends; else they are freed.
    pub(crate) deletes: bool,
    /// As it was given; empty without one.
    pub(crate) ttl: String,
    pub(crate) ttl_span: Duration,
    pub(crate) node_checks: Vec<String>,
    pub(crate) service_checks: Vec<String>,
    pub(crate) expires: Option<Duration>,
    pub(crate) create_index: u64,
}

impl Session {
    /// All checks that end the session when they turn critical.
    pub(crate) fn checks(&self) -> impl Iterator<Item = &String> {
        self.node_checks.iter().chain(&self.service_checks)
    }

    pub(crate) fn held_until(&self, now: Duration) -> Option<Duration> {
        (!self.lock_delay.is_zero()).then(|| now + self.lock_delay.min(MAX_LOCK_DELAY))
    }

    pub(crate) fn view(&self) -> Value {
        let service_checks = (!self.service_checks.is_empty()).then(|| {
            self.service_checks
                .iter()
                .map(|id| json!({ "ID": id, "Namespace": "" }))
                .collect::<Vec<_>>()
        });
        json!({
            "ID": self.id, "Name": self.name, "Node": self.node,
            "LockDelay": u64::try_from(self.lock_delay.as_nanos()).unwrap_or(u64::MAX),
            "Behavior": if self.deletes { "delete" } else { "release" }, "TTL": self.ttl,
            "NodeChecks": self.node_checks, "ServiceChecks": service_checks,
            "CreateIndex": self.create_index, "ModifyIndex": self.create_index,
        })
    }
}

#[derive(Debug, Default)]
pub(crate) struct Sessions {
    sessions: BTreeMap<String, Session>,
    index: u64,
}

impl Sessions {
    pub(crate) fn index(&self) -> u64 {
        self.index
    }

    pub(crate) fn session(&self, id: &str) -> Option<&Session> {
        self.sessions.get(id)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Session> {
        self.sessions.values()
    }

    pub(crate) fn insert(&mut self, index: u64, now: Duration, mut session: Session) {
        session.create_index = index;
        self.index = index;
        let id = session.id.clone();
        self.sessions.insert(id.clone(), session);
        self.renew(now, &id);
    }

    /// Starts the time to live anew. It changes no index.
    pub(crate) fn renew(&mut self, now: Duration, id: &str) -> Option<&Session> {
        let session = self.sessions.get_mut(id)?;
        if !session.ttl_span.is_zero() {
            session.expires = Some(now + session.ttl_span * TTL_FACTOR);
        }
        Some(session)
    }

    pub(crate) fn remove(&mut self, index: u64, id: &str) -> Option<Session> {
        let session = self.sessions.remove(id)?;
        self.index = index;
        Some(session)
    }

    pub(crate) fn expired(&self, now: Duration) -> Vec<String> {
        self.ids(|session| session.expires.is_some_and(|at| at <= now))
    }

    pub(crate) fn next_expiry(&self) -> Option<Duration> {
        self.sessions.values().filter_map(|session| session.expires).min()
    }

    /// The sessions that end with lost checks or nodes.
    pub(crate) fn ended_by(&self, lost: &Lost) -> Vec<String> {
        if lost.checks.is_empty() && lost.nodes.is_empty() {
            return Vec::new();
        }
        self.ids(|session| {
            lost.nodes.contains(&session.node)
                || session.checks().any(|id| {
                    lost.checks.iter().any(|(node, check)| *node == session.node && check == id)
                })
        })
    }

    fn ids(&self, wanted: impl Fn(&Session) -> bool) -> Vec<String> {
        self.sessions.values().filter(|s| wanted(s)).map(|s| s.id.clone()).collect()
    }
}
