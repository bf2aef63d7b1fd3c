//! The agent's own services, and the agent itself.

use std::collections::BTreeMap;

use http::StatusCode;
use http::header::HeaderName;
use serde_json::{Value, json};

use super::{Call, Outcome, mark_filtered, visible};
use crate::acl::{Access, Resource};
use crate::clock;
use crate::filter::{AGENT_SERVICE, Filter};
use crate::model::{Service, Status};
use crate::registration::{self, Registration};
use crate::reply::{Refusal, Reply};
use crate::request::{ReadOptions, parse_bool};
use crate::state::{CONSUL_VERSION, State};
use crate::view::AgentView;

const CONTENT_HASH: HeaderName = HeaderName::from_static("x-consul-contenthash");
const REASON: HeaderName = HeaderName::from_static("x-consul-reason");

pub(super) fn unknown_service(id: &str) -> Refusal {
    Refusal::NotFound(format!(
        "Unknown service ID {id:?}. Ensure that the service ID is passed, not the service name."
    ))
}

impl Call {
    pub(super) fn agent_services(&self) -> Outcome {
        let authority = self.authority()?;
        let filter = self.expression(AGENT_SERVICE)?;
        let state = self.state();
        let services = state.local.services.values().map(|local| &local.service);
        let (seen, hidden) = visible(&authority, services, |service| {
            authority.may(Resource::Service, Access::Read, &service.name)
        });
        let views: BTreeMap<_, _> = seen
            .into_iter()
            .map(|s| (s.id.as_str(), AgentView::new(s, &self.identity().datacenter)))
            .filter(|(_, view)| filter.accepts(view))
            .collect();
        Ok(mark_filtered(Reply::json(&views), hidden))
    }

    /// One instance, with Consul's way of waiting for it: by a hash of its content.
    pub(super) async fn agent_service(&self) -> Outcome {
        let authority = self.authority()?;
        let options = ReadOptions::parse(&self.request.query, &self.identity().datacenter)?;
        let known = self.request.query.get("hash").unwrap_or_default();
        let deadline = clock::now() + options.wait;
        let mut changes = self.shared.changes();
        loop {
            changes.catch_up();
            let mut view = {
                let state = self.state();
                let id = &self.request.rest;
                let local = state
                    .local
                    .services
                    .get(id)
                    .ok_or_else(|| Refusal::NotFound(format!("unknown service ID: {id}")))?;
                authority.check(Resource::Service, Access::Read, &local.service.name)?;
                json!(AgentView::new(&local.service, &self.identity().datacenter))
            };
            let hash = content_hash(&view.to_string());
            let waits = !known.is_empty() && known == hash;
            if waits && tokio::time::timeout_at(deadline, changes.changed()).await.is_ok() {
                continue;
            }
            view["ContentHash"] = json!(hash);
            let mut reply = Reply::json(&view);
            reply.set_text(CONTENT_HASH, &hash);
            return Ok(reply);
        }
    }

    pub(super) fn service_register(&self) -> Outcome {
        let registration = Registration::decode(&self.request.json()?)?;
        registration::validate(&registration).map_err(Refusal::bad)?;
        let authority = self.authority()?;
        let name = &registration.service.name;
        authority.check(Resource::Service, Access::Write, name)?;
        let id = registration.service.id.clone();
        if let Some(old) = self.state().local.services.get(&id) {
            authority.check(Resource::Service, Access::Write, &old.service.name)?;
        }
        if registration.checks.iter().any(|c| c.probe == registration::Probe::Script) {
            return Err(Refusal::server(SCRIPTS));
        }
        let replace = match self.request.query.get("replace-existing-checks") {
            None => false,
            Some(value) => value.is_empty() || value == "true",
        };
        self.change(|state, now| state.register_service(now, registration, replace));
        Ok(Reply::ok())
    }

    pub(super) fn service_deregister(&self) -> Outcome {
        let id = &self.request.rest;
        self.may_write_instance(id)?;
        self.change(|state, now| state.deregister_service(now, id));
        Ok(Reply::ok())
    }

    pub(super) fn service_maintenance(&self) -> Outcome {
        let id = self.request.named("Missing service ID")?;
        let reason = self.maintenance_reason()?;
        self.may_write_instance(id)?;
        self.change(|state, now| state.service_maintenance(now, id, reason));
        Ok(Reply::ok())
    }

    pub(super) fn node_maintenance(&self) -> Outcome {
        let reason = self.maintenance_reason()?;
        self.authority()?.check(Resource::Node, Access::Write, &self.identity().node)?;
        self.change(|state, now| state.node_maintenance(now, reason));
        Ok(Reply::ok())
    }

    /// `None` to leave maintenance.
    fn maintenance_reason(&self) -> Result<Option<&str>, Refusal> {
        let query = &self.request.query;
        let raw = query.get("enable").ok_or_else(|| Refusal::bad("Missing value for enable"))?;
        let enable = parse_bool(raw)
            .ok_or_else(|| Refusal::bad(format!("Invalid value for enable: {raw:?}")))?;
        Ok(enable.then(|| query.get("reason").unwrap_or_default()))
    }

    fn may_write_instance(&self, id: &str) -> Result<(), Refusal> {
        let authority = self.authority()?;
        let state = self.state();
        let local = state.local.services.get(id).ok_or_else(|| unknown_service(id))?;
        Ok(authority.check(Resource::Service, Access::Write, &local.service.name)?)
    }

    pub(super) fn agent_health_id(&self) -> Outcome {
        let id = self.request.named("Missing serviceID")?;
        let authority = self.authority()?;
        let state = self.state();
        let Some(local) = state.local.services.get(id) else {
            let why = format!("ServiceId {id} not found");
            let body = json!({ "AggregatedStatus": "critical", "Service": null, "Checks": null });
            return Ok(self.health_reply(StatusCode::NOT_FOUND, &why, &body));
        };
        authority.check(Resource::Service, Access::Read, &local.service.name)?;
        let health = self.health_of(&state, &local.service);
        Ok(self.health_reply(code(health.worst), health.word, &health.view))
    }

    pub(super) fn agent_health_name(&self) -> Outcome {
        let name = self.request.named("Missing service Name")?;
        self.authority()?.check(Resource::Service, Access::Read, name)?;
        let state = self.state();
        let found: Vec<_> =
            state.local.named(name).map(|service| self.health_of(&state, service)).collect();
        let worst = found.iter().max_by_key(|health| health.worst).map(|h| (code(h.worst), h.word));
        let body = Value::Array(found.into_iter().map(|health| health.view).collect());
        Ok(match worst {
            Some((code, word)) => self.health_reply(code, word, &body),
            None => {
                let why = format!("ServiceName {name} Not Found");
                self.health_reply(StatusCode::NOT_FOUND, &why, &body)
            }
        })
    }

    fn health_of(&self, state: &State, service: &Service) -> Health {
        let checks: Vec<_> = state
            .local
            .checks
            .values()
            .map(|local| &local.check)
            .filter(|check| check.service_id == service.id || check.service_id.is_empty())
            .collect();
        let worst = checks.iter().map(|check| check.status).max().unwrap_or(Status::Passing);
        let maintained = checks.iter().any(|check| check.kind == "maintenance");
        let word = if maintained { "maintenance" } else { worst.word() };
        let view = json!({
            "AggregatedStatus": word,
            "Service": AgentView::new(service, &self.identity().datacenter),
            "Checks": checks.iter().map(|check| check.agent_health_view()).collect::<Vec<_>>(),
        });
        Health { worst, word, view }
    }

    /// `why` is the aggregated status, or what was not found.
    fn health_reply(&self, code: StatusCode, why: &str, body: &Value) -> Reply {
        let accept = self.request.headers.get(http::header::ACCEPT);
        let wants_text = accept.is_some_and(|v| v.as_bytes().starts_with(b"text/plain"))
            || self.request.query.get("format") == Some("text");
        let mut reply =
            if wants_text { Reply::word(code, why) } else { Reply::json(body).with_status(code) };
        reply.set_text(REASON, why);
        reply
    }

    pub(super) fn agent_self(&self) -> Outcome {
        let identity = self.identity();
        self.authority()?.check(Resource::Agent, Access::Read, &identity.node)?;
        let state = self.state();
        let count = |n: usize| n.to_string();
        let ttls = state.local.checks.values().filter(|c| c.check.kind == "ttl").count();
        Ok(Reply::json(&json!({
            "Config": {
                "Datacenter": identity.datacenter, "PrimaryDatacenter": identity.datacenter,
                "NodeName": identity.node, "NodeID": identity.node_id, "Revision": "",
                "Server": true, "Version": CONSUL_VERSION, "BindAddr": "127.0.0.1",
            },
            // Tells whoever looks that this is not Consul.
            "DebugConfig": { "DevMode": true, "Agent": "outrigger-dev" },
            "Coord": { "Vec": [0, 0, 0, 0, 0, 0, 0, 0], "Error": 1.5, "Adjustment": 0, "Height": 1e-5 },
            "Member": self.member(&state),
            "Stats": {
                "agent": {
                    "check_monitors": "0", "check_ttls": count(ttls),
                    "checks": count(state.local.checks.len()),
                    "services": count(state.local.services.len()),
                },
                "build": { "prerelease": "", "revision": "", "version": CONSUL_VERSION },
                "consul": {
                    "acl": if state.acl.enabled { "enabled" } else { "disabled" },
                    "bootstrap": "false", "known_datacenters": "1", "leader": "true",
                    "leader_addr": format!("127.0.0.1:{}", identity.server_port), "server": "true",
                },
                "raft": {
                    "applied_index": state.index().to_string(),
                    "commit_index": state.index().to_string(),
                    "last_log_index": state.index().to_string(), "state": "Leader", "term": "2",
                },
            },
            "Meta": { "consul-network-segment": "", "consul-version": CONSUL_VERSION },
        })))
    }

    pub(super) fn agent_members(&self) -> Outcome {
        let authority = self.authority()?;
        let state = self.state();
        let seen = authority.may(Resource::Node, Access::Read, &self.identity().node);
        let members = if seen { vec![self.member(&state)] } else { Vec::new() };
        Ok(mark_filtered(super::array(members), !seen && authority.is_named))
    }

    fn member(&self, state: &State) -> Value {
        let identity = self.identity();
        let wan = self.request.query.get("wan").is_some_and(|v| !v.is_empty());
        let name = if wan {
            format!("{}.{}", identity.node, identity.datacenter)
        } else {
            identity.node.clone()
        };
        let mut member = json!({
            "Name": name, "Addr": "127.0.0.1", "Port": identity.server_port,
            "Tags": {
                "acls": if state.acl.enabled { "1" } else { "0" },
                "build": format!("{CONSUL_VERSION}:"), "dc": identity.datacenter, "ft_fs": "1",
                "ft_si": "1", "id": identity.node_id, "port": identity.server_port.to_string(),
                "raft_vsn": "3", "role": "consul", "segment": "", "vsn": "2", "vsn_max": "3",
                "vsn_min": "2",
            },
            "Status": 1, "ProtocolMin": 1, "ProtocolMax": 5, "ProtocolCur": 2, "DelegateMin": 2,
            "DelegateMax": 5, "DelegateCur": 4,
        });
        if !wan {
            member["Tags"]["wan_join_port"] = json!(identity.server_port.to_string());
        }
        member
    }

    /// The filter of an endpoint that takes no other reading options.
    pub(super) fn expression(&self, fields: &[crate::filter::Field]) -> Result<Filter, Refusal> {
        Ok(Filter::new(self.request.query.get("filter").unwrap_or_default(), fields)?)
    }
}

/// The health of one instance as its agent sees it.
struct Health {
    worst: Status,
    word: &'static str,
    view: Value,
}

pub(super) const SCRIPTS: &str = "Scripts are disabled on this agent from remote calls; to enable, \
                                  configure 'enable_script_checks' to true";

const fn code(status: Status) -> StatusCode {
    match status {
        Status::Passing => StatusCode::OK,
        Status::Warning => StatusCode::TOO_MANY_REQUESTS,
        Status::Critical => StatusCode::SERVICE_UNAVAILABLE,
    }
}

/// FNV-1a: any stable hash does, its value means nothing to clients.
fn content_hash(text: &str) -> String {
    let hash = text.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    format!("{hash:016x}")
}
