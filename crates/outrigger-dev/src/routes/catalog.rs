//! The catalogue as a whole, and registrations that go around the agent.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

use super::health::{has_meta, pair};
use super::{CONSISTENT, Call, Found, Outcome, Step, visible};
use crate::acl::{Access, Resource};
use crate::decode::{DecodeError, Fields};
use crate::filter::{CATALOG_SERVICE, NODE};
use crate::model::{Check, Node, Service, Status};
use crate::registration;
use crate::reply::{Refusal, Reply};
use crate::request::check_datacenter;
use crate::view::{CatalogView, HealthView};

impl Call {
    pub(super) async fn catalog_services(&self) -> Outcome {
        let options = self.options()?;
        let filter = options.filter(CATALOG_SERVICE)?;
        let authority = self.authority()?;
        let meta: Vec<_> = self.request.query.all("node-meta").map(pair).collect();
        self.read(&options, CONSISTENT, |state, step| {
            let found = Found::at(state.catalog.services_index());
            if step == Step::Look {
                return found;
            }
            let services = state.catalog.services().filter(|(node, _)| has_meta(node, &meta));
            let (seen, hidden) = visible(&authority, services, |(_, service)| {
                authority.may(Resource::Service, Access::Read, &service.name)
            });
            let mut names: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
            for (node, service) in seen {
                if filter.accepts(&CatalogView::new(node, service)) {
                    let tags = names.entry(&service.name).or_default();
                    tags.extend(service.tags.iter().map(String::as_str));
                }
            }
            found.with(Ok(Reply::json(&names))).filtered(hidden)
        })
        .await
    }

    pub(super) async fn catalog_service(&self) -> Outcome {
        let options = self.options()?;
        let name = self.request.named("Missing service name")?;
        let filter = options.filter(CATALOG_SERVICE)?;
        let authority = self.authority()?;
        let query = &self.request.query;
        let tags: Vec<_> = query.all("tag").filter(|tag| !tag.is_empty()).collect();
        let meta: Vec<_> = query.all("node-meta").map(pair).collect();
        self.read(&options, CONSISTENT, |state, step| {
            let found = Found::at(state.catalog.service_index(name, false));
            if step == Step::Look {
                return found;
            }
            let instances = state.catalog.instances(name).filter(|(node, service)| {
                tags.iter().all(|tag| service.tags.iter().any(|t| t.eq_ignore_ascii_case(tag)))
                    && has_meta(node, &meta)
            });
            let (seen, hidden) = visible(&authority, instances, |(node, service)| {
                authority.may(Resource::Node, Access::Read, &node.name)
                    && authority.may(Resource::Service, Access::Read, &service.name)
            });
            let views: Vec<_> = seen
                .into_iter()
                .map(|(node, service)| CatalogView::new(node, service))
                .filter(|view| filter.accepts(view))
                .collect();
            found.with(Ok(Reply::json(&views))).filtered(hidden)
        })
        .await
    }

    pub(super) async fn catalog_nodes(&self) -> Outcome {
        let options = self.options()?;
        let filter = options.filter(NODE)?;
        let authority = self.authority()?;
        let meta: Vec<_> = self.request.query.all("node-meta").map(pair).collect();
        self.read(&options, CONSISTENT, |state, step| {
            let found = Found::at(state.catalog.nodes_index());
            if step == Step::Look {
                return found;
            }
            let nodes = state.catalog.nodes().filter(|node| has_meta(node, &meta));
            let (seen, hidden) = visible(&authority, nodes, |node| {
                authority.may(Resource::Node, Access::Read, &node.name)
            });
            let seen: Vec<_> = seen.into_iter().filter(|node| filter.accepts(node)).collect();
            found.with(Ok(Reply::json(&seen))).filtered(hidden)
        })
        .await
    }

    /// One node with its services: as a map by id, or as a list.
    pub(super) async fn catalog_node(&self, as_list: bool) -> Outcome {
        let options = self.options()?;
        let name = self.request.named("Missing node name")?;
        let authority = self.authority()?;
        self.read(&options, CONSISTENT, |state, step| {
            let node = state.catalog.node_or_id(name);
            let found = Found::at(match node {
                Some(node) => state.catalog.node_index(&node.name),
                None => state.catalog.node_index(name),
            });
            if step == Step::Look {
                return found;
            }
            let readable = node.filter(|n| authority.may(Resource::Node, Access::Read, &n.name));
            let Some(node) = readable else {
                let body =
                    if as_list { json!({ "Node": null, "Services": [] }) } else { json!(null) };
                let hidden = node.is_some() && authority.is_named;
                return found.with(Ok(Reply::json(&body))).filtered(hidden);
            };
            let services = state.catalog.services_of_node(&node.name);
            let (seen, hidden) = visible(&authority, services, |service| {
                authority.may(Resource::Service, Access::Read, &service.name)
            });
            let services = if as_list {
                Value::Array(seen.into_iter().map(|s| json!(HealthView::new(s))).collect())
            } else {
                let views = seen.into_iter().map(|s| (s.id.clone(), json!(HealthView::new(s))));
                Value::Object(views.collect::<Map<_, _>>())
            };
            let body = json!({ "Node": node, "Services": services });
            found.with(Ok(Reply::json(&body))).filtered(hidden)
        })
        .await
    }

    pub(super) fn catalog_register(&self) -> Outcome {
        check_datacenter(&self.request.query, &self.identity().datacenter)?;
        let body = self.request.json()?;
        let External { node, skip_node, service, checks } =
            External::decode(&body, &self.identity().datacenter)?;
        if node.name.is_empty() {
            return Err(Refusal::server("Must provide node"));
        }
        if node.address.is_empty() && !skip_node {
            return Err(Refusal::server("Must provide address if SkipNodeUpdate is not set"));
        }
        if let Some(service) = &service {
            if service.name.is_empty() {
                return Err(Refusal::server(if service.id.is_empty() {
                    "service name (Service.Service) is required; both Service ID (Service.ID) and Service Name cannot be empty"
                } else {
                    "Must provide service name (Service.Service) when service ID is provided"
                }));
            }
            if registration::is_unspecified(&service.address) {
                return Err(Refusal::server("Invalid service address"));
            }
        }
        let authority = self.authority()?;
        {
            let state = self.state();
            if !skip_node || state.catalog.node(&node.name).is_none() {
                authority.check(Resource::Node, Access::Write, &node.name)?;
            }
            if let Some(service) = &service {
                authority.check(Resource::Service, Access::Write, &service.name)?;
            }
            let known = |id: &str| {
                service.as_ref().is_some_and(|s| s.id == id)
                    || state.catalog.service(&node.name, id).is_some()
            };
            if checks.iter().any(|c| !c.service_id.is_empty() && !known(&c.service_id)) {
                return Err(Refusal::server("raft apply failed: Missing service registration"));
            }
            if skip_node && state.catalog.node(&node.name).is_none() {
                return Err(Refusal::server("raft apply failed: Missing node registration"));
            }
        }
        self.change(|state, now| {
            let index = state.step();
            let name = node.name.clone();
            if !skip_node {
                state.catalog.ensure_node(index, node);
            }
            if let Some(service) = service {
                state.catalog.ensure_service(index, &name, service);
            }
            for check in checks {
                let lost = state.catalog.ensure_check(index, check);
                state.end_sessions_of(index, now, &lost);
            }
        });
        Ok(Reply::json(&true))
    }

    pub(super) fn catalog_deregister(&self) -> Outcome {
        let body = self.request.json()?;
        let fields = Fields::of(&body)?;
        let node = fields.string("node")?;
        let service = fields.string("serviceid")?;
        let check = fields.string("checkid")?;
        if node.is_empty() {
            return Err(Refusal::server("Must provide node"));
        }
        let authority = self.authority()?;
        let owner = {
            let state = self.state();
            let of_check = state.catalog.check(&node, &check).map(|c| c.service_name.clone());
            let of_service = state.catalog.service(&node, &service).map(|s| s.name.clone());
            of_service.or(of_check).filter(|name| !name.is_empty())
        };
        match owner {
            Some(name) if !authority.may(Resource::Node, Access::Write, &node) => {
                authority.check(Resource::Service, Access::Write, &name)?;
            }
            Some(_) => {}
            None => authority.check(Resource::Node, Access::Write, &node)?,
        }
        self.change(|state, now| {
            let index = state.step();
            let lost = if !service.is_empty() {
                state.catalog.delete_service(index, &node, &service)
            } else if !check.is_empty() {
                state.catalog.delete_check(index, &node, &check)
            } else {
                state.catalog.delete_node(index, &node)
            };
            state.end_sessions_of(index, now, &lost);
        });
        Ok(Reply::json(&true))
    }
}

/// A registration that names its own node.
struct External {
    node: Node,
    skip_node: bool,
    service: Option<Service>,
    checks: Vec<Check>,
}

impl External {
    fn decode(body: &Value, datacenter: &str) -> Result<Self, DecodeError> {
        let fields = Fields::of(body)?;
        let node = Node {
            id: fields.string("id")?,
            name: fields.string("node")?,
            address: fields.string("address")?,
            datacenter: datacenter.to_owned(),
            tagged_addresses: fields.pairs("taggedaddresses")?,
            meta: fields.pairs("nodemeta")?,
            create_index: 0,
            modify_index: 0,
        };
        let service = fields.value("service").map(registration::catalog_service).transpose()?;
        let one = fields.value("check").into_iter();
        let checks = one
            .chain(fields.list("checks")?)
            .map(|check| external_check(check, &node.name))
            .collect::<Result<_, _>>()?;
        Ok(Self { node, skip_node: fields.boolean("skipnodeupdate")?, service, checks })
    }
}

fn external_check(body: &Value, node: &str) -> Result<Check, DecodeError> {
    let fields = Fields::of(body)?;
    let id = fields.string("checkid")?;
    let name = fields.string("name")?;
    let word = fields.string("status")?;
    let status = match word.as_str() {
        "" => Status::Critical,
        word => Status::parse(word)
            .ok_or_else(|| DecodeError(format!("unknown check status {word:?}")))?,
    };
    Ok(Check {
        node: node.to_owned(),
        id: if id.is_empty() { name.clone() } else { id },
        name,
        status,
        notes: fields.string("notes")?,
        output: fields.string("output")?,
        service_id: fields.string("serviceid")?,
        service_name: String::new(),
        service_tags: Vec::new(),
        kind: fields.string("type")?,
        interval: String::new(),
        timeout: String::new(),
        exposed_port: 0,
        definition: fields.value("definition").cloned().unwrap_or_else(|| json!({})),
        create_index: 0,
        modify_index: 0,
    })
}
