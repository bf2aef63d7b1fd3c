//! Which handler answers which path, and what all reading handlers share: the blocking query.

use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::Duration;

use http::header::{HeaderName, HeaderValue};
use serde_json::Value;

use crate::acl::Authority;
use crate::clock;
use crate::reply::{Refusal, Reply};
use crate::request::{Consistency, ReadOptions, Request};
use crate::shared::Shared;
use crate::state::State;

mod acl;
mod agent;
mod agent_check;
mod catalog;
mod event;
mod health;
pub(crate) mod kv;
mod session;
mod status;
mod txn;

const DEFAULT_POLICY: HeaderName = HeaderName::from_static("x-consul-default-acl-policy");
const INDEX: HeaderName = HeaderName::from_static("x-consul-index");
const KNOWN_LEADER: HeaderName = HeaderName::from_static("x-consul-knownleader");
const LAST_CONTACT: HeaderName = HeaderName::from_static("x-consul-lastcontact");
const CONSISTENCY: HeaderName = HeaderName::from_static("x-consul-effective-consistency");
const BACKEND: HeaderName = HeaderName::from_static("x-consul-query-backend");
const FILTERED: HeaderName = HeaderName::from_static("x-consul-results-filtered-by-acls");

/// The endpoints; a path that ends with a slash takes everything below it.
const ROUTES: &[(&str, &[&str], Endpoint)] = &[
    ("/v1/acl/policies", &["GET"], Endpoint::AclPolicies),
    ("/v1/acl/policy", &["PUT"], Endpoint::AclPolicyCreate),
    ("/v1/acl/policy/", &["GET", "DELETE"], Endpoint::AclPolicy),
    ("/v1/acl/token", &["PUT"], Endpoint::AclTokenCreate),
    ("/v1/acl/token/", &["GET", "DELETE"], Endpoint::AclToken),
    ("/v1/acl/token/self", &["GET"], Endpoint::AclTokenSelf),
    ("/v1/acl/tokens", &["GET"], Endpoint::AclTokens),
    ("/v1/agent/check/deregister/", &["PUT"], Endpoint::CheckDeregister),
    ("/v1/agent/check/fail/", &["PUT"], Endpoint::CheckFail),
    ("/v1/agent/check/pass/", &["PUT"], Endpoint::CheckPass),
    ("/v1/agent/check/register", &["PUT"], Endpoint::CheckRegister),
    ("/v1/agent/check/update/", &["PUT"], Endpoint::CheckUpdate),
    ("/v1/agent/check/warn/", &["PUT"], Endpoint::CheckWarn),
    ("/v1/agent/checks", &["GET"], Endpoint::AgentChecks),
    ("/v1/agent/health/service/id/", &["GET"], Endpoint::AgentHealthId),
    ("/v1/agent/health/service/name/", &["GET"], Endpoint::AgentHealthName),
    ("/v1/agent/maintenance", &["PUT"], Endpoint::NodeMaintenance),
    ("/v1/agent/members", &["GET"], Endpoint::AgentMembers),
    ("/v1/agent/self", &["GET"], Endpoint::AgentSelf),
    ("/v1/agent/service/", &["GET"], Endpoint::AgentService),
    ("/v1/agent/service/deregister/", &["PUT"], Endpoint::ServiceDeregister),
    ("/v1/agent/service/maintenance/", &["PUT"], Endpoint::ServiceMaintenance),
    ("/v1/agent/service/register", &["PUT"], Endpoint::ServiceRegister),
    ("/v1/agent/services", &["GET"], Endpoint::AgentServices),
    ("/v1/catalog/datacenters", &["GET"], Endpoint::Datacenters),
    ("/v1/catalog/deregister", &["PUT"], Endpoint::CatalogDeregister),
    ("/v1/catalog/node/", &["GET"], Endpoint::CatalogNode),
    ("/v1/catalog/node-services/", &["GET"], Endpoint::CatalogNodeServices),
    ("/v1/catalog/nodes", &["GET"], Endpoint::CatalogNodes),
    ("/v1/catalog/register", &["PUT"], Endpoint::CatalogRegister),
    ("/v1/catalog/service/", &["GET"], Endpoint::CatalogService),
    ("/v1/catalog/services", &["GET"], Endpoint::CatalogServices),
    ("/v1/event/fire/", &["PUT"], Endpoint::EventFire),
    ("/v1/event/list", &["GET"], Endpoint::EventList),
    ("/v1/health/checks/", &["GET"], Endpoint::HealthChecks),
    ("/v1/health/connect/", &["GET"], Endpoint::HealthConnect),
    ("/v1/health/node/", &["GET"], Endpoint::HealthNode),
    ("/v1/health/service/", &["GET"], Endpoint::HealthService),
    ("/v1/health/state/", &["GET"], Endpoint::HealthState),
    ("/v1/kv/", &["GET", "PUT", "DELETE"], Endpoint::Kv),
    ("/v1/session/create", &["PUT"], Endpoint::SessionCreate),
    ("/v1/session/destroy/", &["PUT"], Endpoint::SessionDestroy),
    ("/v1/session/info/", &["GET"], Endpoint::SessionInfo),
    ("/v1/session/list", &["GET"], Endpoint::SessionList),
    ("/v1/session/node/", &["GET"], Endpoint::SessionNode),
    ("/v1/session/renew/", &["PUT"], Endpoint::SessionRenew),
    ("/v1/status/leader", &["GET"], Endpoint::StatusLeader),
    ("/v1/status/peers", &["GET"], Endpoint::StatusPeers),
    ("/v1/txn", &["PUT"], Endpoint::Txn),
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Endpoint {
    AclPolicies,
    AclPolicy,
    AclPolicyCreate,
    AclToken,
    AclTokenCreate,
    AclTokenSelf,
    AclTokens,
    AgentChecks,
    AgentHealthId,
    AgentHealthName,
    AgentMembers,
    AgentSelf,
    AgentService,
    AgentServices,
    CatalogDeregister,
    CatalogNode,
    CatalogNodeServices,
    CatalogNodes,
    CatalogRegister,
    CatalogService,
    CatalogServices,
    CheckDeregister,
    CheckFail,
    CheckPass,
    CheckRegister,
    CheckUpdate,
    CheckWarn,
    Datacenters,
    EventFire,
    EventList,
    HealthChecks,
    HealthConnect,
    HealthNode,
    HealthService,
    HealthState,
    Kv,
    NodeMaintenance,
    ServiceDeregister,
    ServiceMaintenance,
    ServiceRegister,
    SessionCreate,
    SessionDestroy,
    SessionInfo,
    SessionList,
    SessionNode,
    SessionRenew,
    StatusLeader,
    StatusPeers,
    Txn,
}

/// A request on its way through its handler.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) request: Request,
    pub(crate) shared: Arc<Shared>,
}

/// A handler's answer.
pub(crate) type Outcome = Result<Reply, Refusal>;

/// Finds the route of a decoded path; its rest goes into the request.
fn route(path: &str) -> Option<(&'static [&'static str], Endpoint, &str)> {
    ROUTES
        .iter()
        .filter_map(|(pattern, methods, endpoint)| {
            let rest = path.strip_prefix(pattern)?;
            (pattern.ends_with('/') || rest.is_empty())
                .then_some((pattern.len(), (*methods, *endpoint, rest)))
        })
        .max_by_key(|(length, _)| *length)
        .map(|(_, found)| found)
}

/// Answers one request. `path` is decoded and clean.
pub(crate) async fn answer(shared: Arc<Shared>, path: &str, mut request: Request) -> Reply {
    if path == "/" {
        return Reply::text(http::StatusCode::OK, crate::BANNER);
    }
    let Some((methods, endpoint, rest)) = route(path) else {
        let below = format!("{path}/");
        if ROUTES.iter().any(|(pattern, ..)| *pattern == below) {
            return Reply::redirect(&below).with_status(http::StatusCode::MOVED_PERMANENTLY);
        }
        let why = if path.starts_with("/v1/") {
            "Invalid URL path: not a recognized HTTP API endpoint\n"
        } else {
            "Invalid URL path: if attempting to use the HTTP API, ensure the path starts with '/v1/'\n"
        };
        return Reply::text(http::StatusCode::NOT_FOUND, why);
    };
    rest.clone_into(&mut request.rest);
    let call = Call { request, shared };
    let policy = if call.state().acl.default_allow { "allow" } else { "deny" };
    let mut reply = call.answer(methods, endpoint).await;
    reply.set(DEFAULT_POLICY, HeaderValue::from_static(policy));
    reply
}

/// Some of Consul's errors carry an index too: always 1, as without a leader. A client that takes it
/// for a real one starts its watch anew.
fn refused(endpoint: Endpoint, refusal: Refusal) -> Reply {
    let is_read = matches!(
        endpoint,
        Endpoint::AclPolicies
            | Endpoint::AclTokens
            | Endpoint::CatalogNode
            | Endpoint::CatalogNodeServices
            | Endpoint::CatalogNodes
            | Endpoint::CatalogService
            | Endpoint::CatalogServices
            | Endpoint::HealthChecks
            | Endpoint::HealthNode
            | Endpoint::HealthState
            | Endpoint::SessionInfo
            | Endpoint::SessionList
            | Endpoint::SessionNode
    );
    let mut reply = Reply::from(refusal);
    if is_read && matches!(reply.status.as_u16(), 403 | 500) {
        reply.set(INDEX, HeaderValue::from(1));
        reply.set(KNOWN_LEADER, HeaderValue::from_static("false"));
        reply.set(LAST_CONTACT, HeaderValue::from_static("0"));
        reply.set(BACKEND, HeaderValue::from_static("blocking-query"));
    }
    reply
}

impl Call {
    async fn answer(&self, methods: &'static [&'static str], endpoint: Endpoint) -> Reply {
        let method = self.request.method.as_str();
        if method == "OPTIONS" {
            let mut reply = Reply::ok();
            reply.set_text(http::header::ALLOW, &crate::reply::allowed_methods(methods));
            return reply;
        }
        if !methods.contains(&method) {
            return Refusal::Method { method: method.to_owned(), allowed: methods }.into();
        }
        self.run(endpoint).await.unwrap_or_else(|refusal| refused(endpoint, refusal))
    }

    async fn run(&self, endpoint: Endpoint) -> Outcome {
        match endpoint {
            Endpoint::AclPolicies => self.acl_policies(),
            Endpoint::AclPolicy => self.acl_policy(),
            Endpoint::AclPolicyCreate => self.acl_policy_create(),
            Endpoint::AclToken => self.acl_token(),
            Endpoint::AclTokenCreate => self.acl_token_create(),
            Endpoint::AclTokenSelf => self.acl_token_self(),
            Endpoint::AclTokens => self.acl_tokens(),
            Endpoint::AgentChecks => self.agent_checks(),
            Endpoint::AgentHealthId => self.agent_health_id(),
            Endpoint::AgentHealthName => self.agent_health_name(),
            Endpoint::AgentMembers => self.agent_members(),
            Endpoint::AgentSelf => self.agent_self(),
            Endpoint::AgentService => self.agent_service().await,
            Endpoint::AgentServices => self.agent_services(),
            Endpoint::CatalogDeregister => self.catalog_deregister(),
            Endpoint::CatalogNode => self.catalog_node(false).await,
            Endpoint::CatalogNodeServices => self.catalog_node(true).await,
            Endpoint::CatalogNodes => self.catalog_nodes().await,
            Endpoint::CatalogRegister => self.catalog_register(),
            Endpoint::CatalogService => self.catalog_service().await,
            Endpoint::CatalogServices => self.catalog_services().await,
            Endpoint::CheckDeregister => self.check_deregister(),
            Endpoint::CheckFail => self.check_note(crate::model::Status::Critical),
            Endpoint::CheckPass => self.check_note(crate::model::Status::Passing),
            Endpoint::CheckRegister => self.check_register(),
            Endpoint::CheckUpdate => self.check_update(),
            Endpoint::CheckWarn => self.check_note(crate::model::Status::Warning),
            Endpoint::Datacenters => Ok(Reply::json(&[&self.identity().datacenter])),
            Endpoint::EventFire => self.event_fire(),
            Endpoint::EventList => self.event_list().await,
            Endpoint::HealthChecks => self.health_checks().await,
            Endpoint::HealthConnect => self.health_service(true).await,
            Endpoint::HealthNode => self.health_node().await,
            Endpoint::HealthService => self.health_service(false).await,
            Endpoint::HealthState => self.health_state().await,
            Endpoint::Kv => self.kv().await,
            Endpoint::NodeMaintenance => self.node_maintenance(),
            Endpoint::ServiceDeregister => self.service_deregister(),
            Endpoint::ServiceMaintenance => self.service_maintenance(),
            Endpoint::ServiceRegister => self.service_register(),
            Endpoint::SessionCreate => self.session_create(),
            Endpoint::SessionDestroy => self.session_destroy(),
            Endpoint::SessionInfo => self.session_info().await,
            Endpoint::SessionList => self.session_list().await,
            Endpoint::SessionNode => self.session_node().await,
            Endpoint::SessionRenew => self.session_renew(),
            Endpoint::StatusLeader => self.status_leader(),
            Endpoint::StatusPeers => self.status_peers(),
            Endpoint::Txn => self.txn(),
        }
    }

    /// The memory; held for moments only, never over an await.
    fn state(&self) -> MutexGuard<'_, State> {
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn identity(&self) -> &crate::state::Identity {
        &self.shared.identity
    }

    fn now(&self) -> Duration {
        clock::since(self.shared.started)
    }

    fn authority(&self) -> Result<Authority, Refusal> {
        Ok(self.state().acl.authority(self.request.token())?)
    }

    fn options(&self) -> Result<ReadOptions, Refusal> {
        ReadOptions::parse(&self.request.query, &self.identity().datacenter)
    }

    /// Changes the memory and wakes whoever waits.
    fn change<T>(&self, change: impl FnOnce(&mut State, Duration) -> T) -> T {
        let now = self.now();
        let result = change(&mut self.state(), now);
        self.shared.changed();
        result
    }

    /// Runs a reading query, again after each change until its index passes the asker's or the wait
    /// is over.
    async fn read(
        &self,
        options: &ReadOptions,
        shows: Shows,
        query: impl Fn(&State, Step) -> Found,
    ) -> Outcome {
        let mut changes = self.shared.changes();
        let mut least = options.index;
        let mut was_missing = false;
        let wait = options.wait + jitter(options.wait);
        let deadline = clock::now() + wait;
        if least > 0 {
            loop {
                changes.catch_up();
                let found = query(&self.state(), Step::Look);
                if found.is_missing {
                    // What was not there and still is not is no news, whatever its index says.
                    if was_missing {
                        least = found.index.max(1);
                    }
                    was_missing = true;
                }
                if found.index.max(1) > least {
                    break;
                }
                if tokio::time::timeout_at(deadline, changes.changed()).await.is_err() {
                    break;
                }
            }
        }
        let streams = shows.streams && (least > 0 || self.request.query.has("cached"));
        let found = query(&self.state(), Step::Answer);
        let mut reply = found.reply?;
        reply.set(INDEX, HeaderValue::from(found.index.max(1)));
        // Consul 1.22 answers waiting reads of health from a stream, and then says that it knows no
        // leader. Clients must live with it, so they get it here too.
        let (leader, backend) =
            if streams { ("false", "streaming") } else { ("true", "blocking-query") };
        reply.set(KNOWN_LEADER, HeaderValue::from_static(leader));
        reply.set(LAST_CONTACT, HeaderValue::from_static("0"));
        reply.set(BACKEND, HeaderValue::from_static(backend));
        if shows.consistency {
            let level = match options.consistency {
                Consistency::Leader => "leader",
                Consistency::Stale => "stale",
                Consistency::Consistent => "consistent",
            };
            reply.set(CONSISTENCY, HeaderValue::from_static(level));
        }
        if found.is_filtered {
            reply.set(FILTERED, HeaderValue::from_static("true"));
        }
        Ok(reply)
    }
}

/// What a reading endpoint says about its way to the answer.
#[derive(Debug, Clone, Copy)]
struct Shows {
    consistency: bool,
    streams: bool,
}

/// Keys and sessions.
const PLAIN: Shows = Shows { consistency: false, streams: false };
/// Catalogue and checks.
const CONSISTENT: Shows = Shows { consistency: true, streams: false };
/// Instances with their health.
const STREAMED: Shows = Shows { consistency: true, streams: true };

/// Whether a query is only asked for its index, or for the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Look,
    Answer,
}

/// What a query found in the memory at one moment.
struct Found {
    index: u64,
    reply: Outcome,
    /// The one thing asked for does not exist.
    is_missing: bool,
    /// Access control took something away from an asker who named a token.
    is_filtered: bool,
}

impl Found {
    fn at(index: u64) -> Self {
        Self { index, reply: Ok(Reply::ok()), is_missing: false, is_filtered: false }
    }

    fn with(mut self, reply: Outcome) -> Self {
        self.reply = reply;
        self
    }

    fn filtered(mut self, is_filtered: bool) -> Self {
        self.is_filtered = is_filtered;
        self
    }

    fn missing(mut self, is_missing: bool) -> Self {
        self.is_missing = is_missing;
        self
    }
}

/// Consul adds up to a sixteenth of the wait, so that many watchers do not return at once.
fn jitter(wait: Duration) -> Duration {
    wait.mul_f64(fastrand::f64() / 16.0)
}

/// Keeps what may be seen, and says whether something was taken away.
fn visible<T>(
    authority: &Authority,
    items: impl Iterator<Item = T>,
    may: impl Fn(&T) -> bool,
) -> (Vec<T>, bool) {
    let mut hidden = false;
    let kept = items
        .filter(|item| {
            let seen = may(item);
            hidden |= !seen;
            seen
        })
        .collect();
    (kept, hidden && authority.is_named)
}

/// Marks an answer from the agent's own memory as filtered.
fn mark_filtered(mut reply: Reply, is_filtered: bool) -> Reply {
    if is_filtered {
        reply.set(FILTERED, HeaderValue::from_static("true"));
    }
    reply
}

fn array(values: Vec<Value>) -> Reply {
    Reply::json(&Value::Array(values))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_route_wins_and_keeps_the_rest_as_it_stands() {
        let found = |path| route(path).map(|(_, endpoint, rest)| (endpoint, rest));
        assert_eq!(found("/v1/agent/service/web-1"), Some((Endpoint::AgentService, "web-1")));
        assert_eq!(found("/v1/agent/service/register"), Some((Endpoint::ServiceRegister, "")));
        assert_eq!(
            found("/v1/agent/service/deregister/a/b"),
            Some((Endpoint::ServiceDeregister, "a/b"))
        );
        assert_eq!(found("/v1/kv/"), Some((Endpoint::Kv, "")));
        assert_eq!(found("/v1/nope"), None);
    }

    #[test]
    fn the_jitter_is_at_most_a_sixteenth() {
        for _ in 0..1000 {
            assert!(jitter(Duration::from_secs(160)) <= Duration::from_secs(10));
        }
    }
}
