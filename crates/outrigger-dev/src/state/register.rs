//! Registrations with the agent, and their way into the catalogue.

use std::time::Duration;

use serde_json::Value;

use super::local::{LocalCheck, LocalService};
use super::{CheckDefinition, Registration, State};
use crate::duration;
use crate::model::{Check, Status};
use crate::registration::Probe;

const NODE_MAINTENANCE: &str = "_node_maintenance";
const NO_NODE_REASON: &str = "Maintenance mode is enabled for this node, but no reason was provided. This is a default message.";
const NO_SERVICE_REASON: &str = "Maintenance mode is enabled for this service, but no reason was \
                                 provided. This is a default message.";

/// Why a report about a check is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ReportError {
    /// No such check.
    Unknown,
    /// It is not a check that reports itself.
    NotTtl,
}

fn span(duration: Duration) -> String {
    if duration.is_zero() { String::new() } else { duration::format(duration) }
}

impl State {
    /// Registers an instance with its checks. A check that is there already keeps its status and
    /// output; checks that the registration does not name stay, unless `replace` says otherwise.
    pub(crate) fn register_service(
        &mut self,
        now: Duration,
        registration: Registration,
        replace: bool,
    ) {
        let index = self.step();
        let Registration { service, checks, source } = registration;
        let id = service.id.clone();
        self.local.services.insert(id.clone(), LocalService { service: service.clone(), source });
        let many = checks.len() > 1;
        let mut kept = Vec::new();
        for (at, definition) in checks.into_iter().enumerate() {
            let check_id = match (definition.id.is_empty(), many) {
                (false, _) => definition.id.clone(),
                (true, false) => format!("service:{id}"),
                (true, true) => format!("service:{id}:{}", at + 1),
            };
            let name = if definition.name.is_empty() {
                format!("Service '{}' check", service.name)
            } else {
                definition.name.clone()
            };
            let old = self.local.checks.get(&check_id).map(|old| old.check.clone());
            let given = Status::parse(&definition.status).unwrap_or(Status::Critical);
            let check = Check {
                status: old.as_ref().map_or(given, |old| old.status),
                output: old.map(|old| old.output).unwrap_or_default(),
                notes: definition.notes.clone(),
                service_id: id.clone(),
                service_name: service.name.clone(),
                service_tags: service.tags.clone(),
                kind: definition.probe.kind().to_owned(),
                interval: span(definition.interval),
                timeout: span(definition.timeout),
                ..self.blank_check(&check_id, &name)
            };
            self.add_check(now, check, Some(definition), None);
            kept.push(check_id);
        }
        if replace {
            let gone: Vec<_> = self
                .local
                .checks_of(&id)
                .map(|local| local.check.id.clone())
                .filter(|check| !kept.contains(check))
                .collect();
            for check in gone {
                self.remove_check(index, now, &check);
            }
        }
        self.sync_service(index, now, &id);
    }

    /// Registers a check by itself.
    pub(crate) fn register_check(
        &mut self,
        now: Duration,
        definition: CheckDefinition,
        source: Value,
    ) {
        let index = self.step();
        let id = if definition.id.is_empty() { &definition.name } else { &definition.id }.clone();
        let service = self.local.services.get(&definition.service_id).map(|l| l.service.clone());
        let check = Check {
            status: Status::parse(&definition.status).unwrap_or(Status::Critical),
            notes: definition.notes.clone(),
            service_id: definition.service_id.clone(),
            service_name: service.as_ref().map(|s| s.name.clone()).unwrap_or_default(),
            service_tags: service.map(|s| s.tags).unwrap_or_default(),
            kind: definition.probe.kind().to_owned(),
            // Unlike those of a service, these are written even when they are zero.
            interval: duration::format(definition.interval),
            timeout: duration::format(definition.timeout),
            ..self.blank_check(&id, &definition.name)
        };
        self.add_check(now, check, Some(definition), Some(source));
        self.sync_check(index, now, &id);
    }

    fn add_check(
        &mut self,
        now: Duration,
        check: Check,
        definition: Option<CheckDefinition>,
        source: Option<Value>,
    ) {
        self.local.generation += 1;
        let id = check.id.clone();
        let local = LocalCheck::new(now, self.local.generation, check, definition, source);
        self.local.checks.insert(id, local);
    }

    /// Removes an instance and its checks. False when there is none of this id.
    pub(crate) fn deregister_service(&mut self, now: Duration, id: &str) -> bool {
        if self.local.services.remove(id).is_none() {
            return false;
        }
        let index = self.step();
        self.local.checks.retain(|_, local| local.check.service_id != id);
        self.local.generation += 1;
        let node = self.identity.node.clone();
        let lost = self.catalog.delete_service(index, &node, id);
        self.end_sessions_of(index, now, &lost);
        true
    }

    /// Removes a check. False when there is none of this id.
    pub(crate) fn deregister_check(&mut self, now: Duration, id: &str) -> bool {
        if !self.local.checks.contains_key(id) {
            return false;
        }
        let index = self.step();
        self.remove_check(index, now, id);
        true
    }

    fn remove_check(&mut self, index: u64, now: Duration, id: &str) {
        self.local.checks.remove(id);
        self.local.generation += 1;
        let node = self.identity.node.clone();
        let lost = self.catalog.delete_check(index, &node, id);
        self.end_sessions_of(index, now, &lost);
    }

    /// Takes an instance's report about itself.
    pub(crate) fn heartbeat(
        &mut self,
        now: Duration,
        id: &str,
        status: Status,
        output: &str,
    ) -> Result<(), ReportError> {
        let local = self.local.checks.get_mut(id).ok_or(ReportError::Unknown)?;
        let output = local.heartbeat(now, output).ok_or(ReportError::NotTtl)?;
        self.set_check(now, id, status, output);
        Ok(())
    }

    /// Takes the result of a probe, unless the check has been registered anew meanwhile.
    pub(crate) fn probed(
        &mut self,
        now: Duration,
        id: &str,
        generation: u64,
        status: Status,
        output: String,
    ) {
        let Some(local) = self.local.checks.get_mut(id).filter(|l| l.generation == generation)
        else {
            return;
        };
        if let Some(status) = local.weigh(status) {
            self.set_check(now, id, status, output);
        }
    }

    /// Gives a check back the status that a state file remembers.
    pub(crate) fn restore_check(
        &mut self,
        now: Duration,
        id: &str,
        status: Status,
        output: String,
    ) {
        self.set_check(now, id, status, output);
    }

    pub(super) fn set_check(&mut self, now: Duration, id: &str, status: Status, output: String) {
        let Some(local) = self.local.checks.get_mut(id) else { return };
        if local.set(now, status, output) {
            let index = self.step();
            self.sync_check(index, now, id);
        }
    }

    /// Puts an instance into maintenance, or takes it out. False when there is none of this id.
    pub(crate) fn service_maintenance(
        &mut self,
        now: Duration,
        id: &str,
        reason: Option<&str>,
    ) -> bool {
        let Some(service) = self.local.services.get(id).map(|l| l.service.clone()) else {
            return false;
        };
        let check_id = format!("_service_maintenance:{id}");
        let blank = Check {
            service_id: id.to_owned(),
            service_name: service.name,
            service_tags: service.tags,
            ..self.blank_check(&check_id, "Service Maintenance Mode")
        };
        self.maintenance(now, blank, reason, NO_SERVICE_REASON);
        true
    }

    /// Puts the node, and with it every instance, into maintenance, or takes it out.
    pub(crate) fn node_maintenance(&mut self, now: Duration, reason: Option<&str>) {
        let blank = self.blank_check(NODE_MAINTENANCE, "Node Maintenance Mode");
        self.maintenance(now, blank, reason, NO_NODE_REASON);
    }

    fn maintenance(&mut self, now: Duration, blank: Check, reason: Option<&str>, default: &str) {
        let id = blank.id.clone();
        let exists = self.local.checks.contains_key(&id);
        match reason {
            Some(reason) if !exists => {
                let index = self.step();
                let notes = if reason.is_empty() { default } else { reason }.to_owned();
                let check = Check { notes, kind: "maintenance".to_owned(), ..blank };
                self.add_check(now, check, None, None);
                self.sync_check(index, now, &id);
            }
            None if exists => {
                self.deregister_check(now, &id);
            }
            _ => {}
        }
    }

    fn sync_service(&mut self, index: u64, now: Duration, id: &str) {
        let Some(local) = self.local.services.get(id) else { return };
        let node = self.identity.node.clone();
        self.catalog.ensure_service(index, &node, local.service.clone());
        let checks: Vec<_> = self.local.checks_of(id).map(|l| l.check.id.clone()).collect();
        for check in checks {
            self.sync_check(index, now, &check);
        }
    }

    fn sync_check(&mut self, index: u64, now: Duration, id: &str) {
        let Some(local) = self.local.checks.get_mut(id) else { return };
        local.deferred = None;
        let check = local.check.clone();
        let lost = self.catalog.ensure_check(index, check);
        self.end_sessions_of(index, now, &lost);
    }

    pub(super) fn sync_deferred(&mut self, now: Duration) {
        let due: Vec<_> = self
            .local
            .checks
            .iter()
            .filter(|(_, local)| local.deferred.is_some_and(|at| at <= now))
            .map(|(id, _)| id.clone())
            .collect();
        for id in due {
            let index = self.step();
            self.sync_check(index, now, &id);
        }
    }

    /// Deregisters the instances whose checks have been critical for longer than they allow.
    pub(super) fn reap(&mut self, now: Duration) {
        let floor = self.identity.deregister_floor;
        let due: Vec<_> = self
            .local
            .checks
            .values()
            .filter(|local| {
                let after = local.definition.as_ref().and_then(|d| d.deregister_after);
                after
                    .zip(local.critical_since)
                    .is_some_and(|(after, since)| now.saturating_sub(since) > after.max(floor))
            })
            .map(|local| local.check.service_id.clone())
            .collect();
        for id in due {
            if self.deregister_service(now, &id) {
                tracing::info!(instance = %id, "deregistered after a critical check");
            }
        }
    }

    /// The probes that must run: check id, generation and definition.
    pub(crate) fn probes(&self) -> Vec<(String, u64, CheckDefinition)> {
        self.local
            .checks
            .iter()
            .filter_map(|(id, local)| {
                let definition = local.definition.as_ref()?;
                let runs = !matches!(definition.probe, Probe::Ttl(_));
                runs.then(|| (id.clone(), local.generation, definition.clone()))
            })
            .collect()
    }
}
