//! Instances with their checks, and checks by service, node and status.

use super::{CONSISTENT, Call, Found, Outcome, STREAMED, Step, visible};
use crate::acl::{Access, Authority, Resource};
use crate::filter::{CHECK, HEALTH};
use crate::model::{Check, Node, Service, Status};
use crate::reply::{Refusal, Reply};
use crate::state::State;
use crate::view::{HealthEntry, HealthView};

impl Call {
    pub(super) async fn health_service(&self, connect: bool) -> Outcome {
        let options = self.options()?;
        let query = &self.request.query;
        let name = self.request.named("Missing service name")?;
        let only_passing =
            query.flag("passing").map_err(|()| Refusal::bad("Invalid value for ?passing"))?;
        let filter = options.filter(HEALTH)?;
        let authority = self.authority()?;
        let tags: Vec<_> = query.all("tag").filter(|tag| !tag.is_empty()).collect();
        let meta: Vec<_> = query.all("node-meta").map(pair).collect();
        let wanted = |node: &Node, service: &Service| {
            tags.iter().all(|tag| service.tags.iter().any(|t| t.eq_ignore_ascii_case(tag)))
                && has_meta(node, &meta)
        };
        self.read(&options, STREAMED, |state, step| {
            let found = Found::at(state.catalog.service_index(name, true));
            if step == Step::Look {
                return found;
            }
            let instances: Vec<(&Node, &Service)> = if connect {
                state.catalog.services().filter(|(_, s)| s.connects(name)).collect()
            } else {
                state.catalog.instances(name).collect()
            };
            let instances = instances.into_iter().filter(|(node, s)| wanted(node, s));
            let (seen, hidden) = visible(&authority, instances, |(node, service)| {
                authority.may(Resource::Node, Access::Read, &node.name)
                    && authority.may(Resource::Service, Access::Read, &service.name)
            });
            let views: Vec<_> = seen
                .into_iter()
                .filter_map(|(node, service)| entry(state, node, service, only_passing))
                .filter(|view| filter.accepts(view))
                .collect();
            found.with(Ok(Reply::json(&views))).filtered(hidden)
        })
        .await
    }

    pub(super) async fn health_checks(&self) -> Outcome {
        let name = self.request.named("Missing service name")?;
        self.checks(|check| check.service_name == name).await
    }

    pub(super) async fn health_node(&self) -> Outcome {
        let name = self.request.named("Missing node name")?;
        self.checks(|check| check.node == name).await
    }

    pub(super) async fn health_state(&self) -> Outcome {
        let word = self.request.named("Missing check state")?;
        let wanted = Status::parse(word);
        self.checks(|check| word == "any" || Some(check.status) == wanted).await
    }

    async fn checks(&self, wanted: impl Fn(&Check) -> bool) -> Outcome {
        let options = self.options()?;
        let filter = options.filter(CHECK)?;
        let authority = self.authority()?;
        let meta: Vec<_> = self.request.query.all("node-meta").map(pair).collect();
        self.read(&options, CONSISTENT, |state, step| {
            let found = Found::at(state.catalog.checks_index());
            if step == Step::Look {
                return found;
            }
            let checks = state.catalog.checks().filter(|check| {
                wanted(check)
                    && (meta.is_empty()
                        || state.catalog.node(&check.node).is_some_and(|n| has_meta(n, &meta)))
            });
            let (seen, hidden) = visible(&authority, checks, |check| reads(&authority, check));
            let seen: Vec<_> = seen.into_iter().filter(|check| filter.accepts(check)).collect();
            found.with(Ok(Reply::json(&seen))).filtered(hidden)
        })
        .await
    }
}

fn reads(authority: &Authority, check: &Check) -> bool {
    authority.may(Resource::Node, Access::Read, &check.node)
        && (check.service_name.is_empty()
            || authority.may(Resource::Service, Access::Read, &check.service_name))
}

fn entry<'a>(
    state: &'a State,
    node: &'a Node,
    service: &'a Service,
    only_passing: bool,
) -> Option<HealthEntry<'a>> {
    let checks = state.catalog.checks_for(&node.name, &service.id);
    if only_passing && checks.iter().any(|check| check.status != Status::Passing) {
        return None;
    }
    Some(HealthEntry { node, service: HealthView::new(service), checks })
}

/// `key:value` of a `node-meta` parameter.
pub(super) fn pair(text: &str) -> (&str, &str) {
    text.split_once(':').unwrap_or((text, ""))
}

pub(super) fn has_meta(node: &Node, wanted: &[(&str, &str)]) -> bool {
    wanted.iter().all(|(key, value)| {
        node.meta.as_ref().and_then(|meta| meta.get(*key)).is_some_and(|v| v == value)
    })
}
