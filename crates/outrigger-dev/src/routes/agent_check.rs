//! The agent's own checks: registered, reported, removed.

use std::collections::BTreeMap;

use super::{Call, Outcome, agent, mark_filtered, visible};
use crate::acl::{Access, Authority, Resource};
use crate::decode::Fields;
use crate::filter::CHECK;
use crate::model::{Check, Status};
use crate::registration::{CheckDefinition, Probe};
use crate::reply::{Refusal, Reply};
use crate::state::local::LocalCheck;
use crate::state::{ReportError, State};

fn unknown_check(id: &str) -> Refusal {
    Refusal::NotFound(format!(
        "Unknown check ID {id:?}. Ensure that the check ID is passed, not the check name."
    ))
}

impl Call {
    pub(super) fn agent_checks(&self) -> Outcome {
        let authority = self.authority()?;
        let filter = self.expression(CHECK)?;
        let state = self.state();
        let checks = state.local.checks.values().map(|local| &local.check);
        let (seen, hidden) = visible(&authority, checks, |check| reads(&authority, check));
        let views: BTreeMap<_, _> = seen
            .into_iter()
            .filter(|check| filter.accepts(check))
            .map(|check| (check.id.as_str(), check))
            .collect();
        Ok(mark_filtered(Reply::json(&views), hidden))
    }

    pub(super) fn check_register(&self) -> Outcome {
        let body = self.request.json()?;
        let definition = CheckDefinition::decode(&body)?;
        if definition.name.is_empty() {
            return Err(Refusal::bad("Missing check name"));
        }
        if !definition.status.is_empty() && Status::parse(&definition.status).is_none() {
            return Err(Refusal::bad("Bad check status"));
        }
        let authority = self.authority()?;
        definition.validate().map_err(|e| Refusal::bad(format!("Invalid check: {e}")))?;
        {
            let state = self.state();
            let service_id = &definition.service_id;
            let service = state.local.services.get(service_id);
            if !service_id.is_empty() && service.is_none() {
                return Err(Refusal::NotFound(format!("ServiceID {service_id:?} does not exist")));
            }
            writes(&authority, self, service.map_or("", |local| local.service.name.as_str()))?;
            let id = if definition.id.is_empty() { &definition.name } else { &definition.id };
            if let Some(old) = state.local.checks.get(id) {
                writes(&authority, self, &old.check.service_name)?;
            }
        }
        if definition.probe == Probe::Script {
            return Err(Refusal::server(agent::SCRIPTS));
        }
        self.change(|state, now| state.register_check(now, definition, body));
        Ok(Reply::ok())
    }

    pub(super) fn check_deregister(&self) -> Outcome {
        let id = &self.request.rest;
        self.may_write_check(id)?;
        self.change(|state, now| state.deregister_check(now, id));
        Ok(Reply::ok())
    }

    /// `pass`, `warn` and `fail`, each with a note as output.
    pub(super) fn check_note(&self, status: Status) -> Outcome {
        let note = self.request.query.get("note").unwrap_or_default();
        self.report(status, note)
    }

    pub(super) fn check_update(&self) -> Outcome {
        let body = self.request.json()?;
        let fields = Fields::of(&body)?;
        let word = fields.string("status")?;
        let status = Status::parse(&word)
            .ok_or_else(|| Refusal::bad(format!("Invalid check status: '{word}'")))?;
        self.report(status, &fields.string("output")?)
    }

    fn report(&self, status: Status, output: &str) -> Outcome {
        let id = &self.request.rest;
        self.may_write_check(id)?;
        self.change(|state: &mut State, now| state.heartbeat(now, id, status, output)).map_err(
            |error| match error {
                ReportError::Unknown => unknown_check(id),
                ReportError::NotTtl => {
                    Refusal::server(format!("CheckID {id:?} does not have associated TTL"))
                }
            },
        )?;
        Ok(Reply::ok())
    }

    fn may_write_check(&self, id: &str) -> Result<(), Refusal> {
        let authority = self.authority()?;
        let state = self.state();
        let LocalCheck { check, .. } =
            state.local.checks.get(id).ok_or_else(|| unknown_check(id))?;
        writes(&authority, self, &check.service_name)
    }
}

/// A check belongs to its service, or to the node.
fn writes(authority: &Authority, call: &Call, service: &str) -> Result<(), Refusal> {
    let (resource, name) = if service.is_empty() {
        (Resource::Node, call.identity().node.as_str())
    } else {
        (Resource::Service, service)
    };
    Ok(authority.check(resource, Access::Write, name)?)
}

pub(super) fn reads(authority: &Authority, check: &Check) -> bool {
    if check.service_name.is_empty() {
        authority.may(Resource::Node, Access::Read, &check.node)
    } else {
        authority.may(Resource::Service, Access::Read, &check.service_name)
    }
}
