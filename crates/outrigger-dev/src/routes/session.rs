//! Sessions.

use std::time::Duration;

use serde_json::{Value, json};

use super::{Call, Found, Outcome, PLAIN, Step, array, visible};
use crate::acl::{Access, Resource};
use crate::decode::{DecodeError, Fields};
use crate::duration;
use crate::model::Status;
use crate::reply::{Refusal, Reply};
use crate::request::check_datacenter;
use crate::state::session::Session;

const TTL_MIN: Duration = Duration::from_secs(10);
const TTL_MAX: Duration = Duration::from_secs(86_400);
const LOCK_DELAY: Duration = Duration::from_secs(15);
const SERF: &str = "serfHealth";

impl Call {
    pub(super) fn session_create(&self) -> Outcome {
        check_datacenter(&self.request.query, &self.identity().datacenter)?;
        let body = match self.request.body.is_empty() {
            true => Value::Null,
            false => self.request.json()?,
        };
        let session = self.decode_session(&body)?;
        self.authority()?.check(Resource::Session, Access::Write, &session.node)?;
        let session = with_ttl(session)?;
        self.check_checks(&session)?;
        let id = self.change(|state, now| state.create_session(now, session));
        Ok(Reply::json(&json!({ "ID": id })))
    }

    fn decode_session(&self, body: &Value) -> Result<Session, Refusal> {
        let fields = Fields::of(body)?;
        let node = fields.string("node")?;
        let behavior = fields.string("behavior")?;
        if !matches!(behavior.as_str(), "" | "release" | "delete") {
            return Err(Refusal::server(format!("Invalid Behavior setting '{behavior}'")));
        }
        // Consul has an old and a new list; the old one speaks only when it says something of its own.
        let old = fields.strings("checks")?.unwrap_or_else(|| vec![SERF.to_owned()]);
        let new = fields.strings("nodechecks")?.unwrap_or_else(|| vec![SERF.to_owned()]);
        let node_checks = match (old.as_slice(), new.is_empty()) {
            ([], _) | (_, true) => Vec::new(),
            ([only], false) if only == SERF => new,
            (_, false) => [old, new].concat(),
        };
        let service_checks = fields
            .list("servicechecks")?
            .iter()
            .map(|check| Fields::of(check)?.string("id"))
            .collect::<Result<_, _>>()?;
        Ok(Session {
            id: String::new(),
            name: fields.string("name")?,
            node: if node.is_empty() { self.identity().node.clone() } else { node },
            lock_delay: lock_delay(&fields)?,
            deletes: behavior == "delete",
            ttl: fields.string("ttl")?,
            ttl_span: Duration::ZERO,
            node_checks,
            service_checks,
            expires: None,
            create_index: 0,
        })
    }

    fn check_checks(&self, session: &Session) -> Result<(), Refusal> {
        let state = self.state();
        if state.catalog.node(&session.node).is_none() {
            return Err(Refusal::server("apply failed: Missing node registration"));
        }
        for id in session.checks() {
            match state.catalog.check(&session.node, id) {
                None => {
                    let why = format!("apply failed: Missing check '{id}' registration");
                    return Err(Refusal::Server(why));
                }
                Some(check) if check.status == Status::Critical => {
                    let why = format!("apply failed: Check '{id}' is in critical state");
                    return Err(Refusal::Server(why));
                }
                Some(_) => {}
            }
        }
        Ok(())
    }

    pub(super) fn session_destroy(&self) -> Outcome {
        check_datacenter(&self.request.query, &self.identity().datacenter)?;
        let id = self.request.named("Missing session")?;
        let authority = self.authority()?;
        let node = self.state().sessions.session(id).map(|session| session.node.clone());
        if let Some(node) = node {
            authority.check(Resource::Session, Access::Write, &node)?;
            self.change(|state, now| state.destroy_session(now, id));
        }
        Ok(Reply::json(&true))
    }

    pub(super) fn session_renew(&self) -> Outcome {
        let id = self.request.named("Missing session")?;
        let authority = self.authority()?;
        let node = self.state().sessions.session(id).map(|session| session.node.clone());
        let gone = || Refusal::NotFound(format!("Session id '{id}' not found"));
        let node = node.ok_or_else(gone)?;
        authority.check(Resource::Session, Access::Write, &node)?;
        let view = self.change(|state, now| state.sessions.renew(now, id).map(Session::view));
        Ok(array(vec![view.ok_or_else(gone)?]))
    }

    pub(super) async fn session_info(&self) -> Outcome {
        let id = self.request.named("Missing session")?;
        self.sessions(Some(id), None).await
    }

    pub(super) async fn session_list(&self) -> Outcome {
        self.sessions(None, None).await
    }

    pub(super) async fn session_node(&self) -> Outcome {
        let node = self.request.named("Missing node name")?;
        self.sessions(None, Some(node)).await
    }

    async fn sessions(&self, id: Option<&str>, node: Option<&str>) -> Outcome {
        let options = self.options()?;
        let authority = self.authority()?;
        self.read(&options, PLAIN, |state, step| {
            let one = id.and_then(|id| state.sessions.session(id));
            let index = one.map_or_else(|| state.sessions.index(), |session| session.create_index);
            let found = Found::at(index).missing(id.is_some() && one.is_none());
            if step == Step::Look {
                return found;
            }
            let all = state.sessions.iter().filter(|session| {
                id.is_none_or(|id| session.id == id) && node.is_none_or(|n| session.node == n)
            });
            let (seen, hidden) = visible(&authority, all, |session| {
                authority.may(Resource::Session, Access::Read, &session.node)
            });
            let views = seen.into_iter().map(Session::view).collect();
            found.with(Ok(array(views))).filtered(hidden)
        })
        .await
    }
}

/// A Go duration, or a number: of seconds below 1000, of nanoseconds above, as Consul reads it.
fn lock_delay(fields: &Fields<'_>) -> Result<Duration, DecodeError> {
    match fields.value("lockdelay") {
        None => Ok(LOCK_DELAY),
        Some(Value::Number(number))
            if number.as_f64().is_some_and(|n| (0.0..1000.0).contains(&n)) =>
        {
            Ok(Duration::from_secs_f64(number.as_f64().unwrap_or_default()))
        }
        Some(_) => fields.duration("lockdelay"),
    }
}

fn with_ttl(mut session: Session) -> Result<Session, Refusal> {
    if session.ttl.is_empty() {
        return Ok(session);
    }
    let ttl = &session.ttl;
    let span = duration::parse(ttl).ok_or_else(|| {
        Refusal::server(format!("Session TTL '{ttl}' invalid: time: invalid duration {ttl:?}"))
    })?;
    if !span.is_zero() && !(TTL_MIN..=TTL_MAX).contains(&span) {
        return Err(Refusal::server(format!(
            "Invalid Session TTL '{}', must be between [10s=24h0m0s]",
            span.as_nanos()
        )));
    }
    session.ttl_span = span;
    Ok(session)
}
