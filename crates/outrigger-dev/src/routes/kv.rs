//! Keys and values.

use std::collections::BTreeSet;

use http::header::{CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderValue, X_CONTENT_TYPE_OPTIONS};
use serde_json::json;

use super::{Call, Found, Outcome, PLAIN, Step, array, visible};
use crate::acl::{Access, Resource};
use crate::reply::{Refusal, Reply};
use crate::request::check_datacenter;
use crate::state::kv::Entry;

/// Consul's default bound of one value.
pub(crate) const VALUE_MAX: usize = 512 * 1024;

impl Call {
    pub(super) async fn kv(&self) -> Outcome {
        self.options()?;
        let key = self.request.rest.as_str();
        check_key(key)?;
        let query = &self.request.query;
        match self.request.method.as_str() {
            "GET" if query.has("keys") => self.kv_keys(key).await,
            "GET" if query.has("recurse") => self.kv_list(key).await,
            "GET" => self.kv_get(key).await,
            "PUT" => self.kv_put(key),
            _ => self.kv_delete(key),
        }
    }

    async fn kv_get(&self, key: &str) -> Outcome {
        if key.is_empty() {
            return Err(Refusal::bad("Missing key name"));
        }
        let authority = self.authority()?;
        let raw = self.request.query.has("raw");
        self.read(&self.options()?, PLAIN, |state, step| {
            let entry = state.kv.entry(key);
            let found = Found::at(state.kv.key_index(key)).missing(entry.is_none());
            if step == Step::Look {
                return found;
            }
            if let Err(denied) = authority.check(Resource::Key, Access::Read, key) {
                return found.with(Err(denied.into()));
            }
            found.with(Ok(match entry {
                None => Reply::empty(http::StatusCode::NOT_FOUND),
                Some(entry) if raw => raw_value(entry),
                Some(entry) => array(vec![entry.view(true)]),
            }))
        })
        .await
    }

    async fn kv_list(&self, prefix: &str) -> Outcome {
        let authority = self.authority()?;
        self.read(&self.options()?, PLAIN, |state, step| {
            let found = Found::at(state.kv.prefix_index(prefix));
            if step == Step::Look {
                return found;
            }
            let (seen, hidden) = visible(&authority, state.kv.list(prefix), |entry| {
                authority.may(Resource::Key, Access::Read, &entry.key)
            });
            let reply = if seen.is_empty() {
                Reply::empty(http::StatusCode::NOT_FOUND)
            } else {
                array(seen.into_iter().map(|entry| entry.view(true)).collect())
            };
            found.with(Ok(reply)).filtered(hidden)
        })
        .await
    }

    async fn kv_keys(&self, prefix: &str) -> Outcome {
        let authority = self.authority()?;
        let query = &self.request.query;
        // Consul still reads its own old misspelling.
        let separator = query.get("separator").or_else(|| query.get("seperator")).unwrap_or("");
        self.read(&self.options()?, PLAIN, |state, step| {
            let found = Found::at(state.kv.prefix_index(prefix));
            if step == Step::Look {
                return found;
            }
            let (seen, hidden) = visible(&authority, state.kv.list(prefix), |entry| {
                authority.may(Resource::Key, Access::Read, &entry.key)
            });
            let keys: BTreeSet<&str> =
                seen.iter().map(|entry| cut(&entry.key, prefix.len(), separator)).collect();
            let reply = if keys.is_empty() && !prefix.is_empty() {
                Reply::empty(http::StatusCode::NOT_FOUND)
            } else {
                Reply::json(&keys)
            };
            found.with(Ok(reply)).filtered(hidden)
        })
        .await
    }

    fn kv_put(&self, key: &str) -> Outcome {
        if key.is_empty() {
            return Err(Refusal::bad("Missing key name"));
        }
        self.conflicts(&["cas", "acquire", "release"])?;
        let query = &self.request.query;
        let flags = query.number("flags")?.unwrap_or_default();
        let cas = query.number("cas")?;
        let (acquire, release) = (query.get("acquire"), query.get("release"));
        let size = self.request.body.len();
        if size > VALUE_MAX {
            return Err(too_large(size));
        }
        self.authority()?.check(Resource::Key, Access::Write, key)?;
        let value = self.request.body.to_vec();
        let done = self.change(|state, now| {
            if let Some(session) = acquire {
                if state.kv.is_delayed(now, key) {
                    return Ok(false);
                }
                let index = state.step();
                if session.is_empty() {
                    return Err(Refusal::server("raft apply failed: missing session"));
                }
                if state.sessions.session(session).is_none() {
                    let why = format!("raft apply failed: invalid session {session:?}");
                    return Err(Refusal::Server(why));
                }
                return Ok(state.kv.lock(index, key, value, flags, session));
            }
            let index = state.step();
            match (release, cas) {
                (Some(""), _) => Err(Refusal::server("raft apply failed: missing session")),
                (Some(session), _) => Ok(state.kv.unlock(index, key, value, flags, session)),
                (None, Some(cas)) => Ok(state.kv.set_cas(index, key, value, flags, cas)),
                (None, None) => {
                    state.kv.set(index, key, value, flags);
                    Ok(true)
                }
            }
        })?;
        Ok(Reply::json(&json!(done)))
    }

    fn kv_delete(&self, key: &str) -> Outcome {
        self.conflicts(&["recurse", "cas"])?;
        let query = &self.request.query;
        let tree = query.has("recurse");
        if key.is_empty() && !tree {
            return Err(Refusal::bad("Missing key name"));
        }
        let cas = query.number("cas")?;
        let authority = self.authority()?;
        if tree && !authority.may_write_tree(key) {
            return Err(authority.denied(Resource::Key, Access::Write, key).into());
        }
        if !tree {
            authority.check(Resource::Key, Access::Write, key)?;
        }
        let done = self.change(|state, _| {
            let index = state.step();
            match cas {
                Some(cas) => return state.kv.delete_cas(index, key, cas),
                None if tree => state.kv.delete_tree(index, key),
                None => state.kv.delete(index, key),
            }
            true
        });
        Ok(Reply::json(&json!(done)))
    }

    fn conflicts(&self, exclusive: &[&str]) -> Result<(), Refusal> {
        let query = &self.request.query;
        check_datacenter(query, &self.identity().datacenter)?;
        if exclusive.iter().filter(|key| query.has(key)).count() > 1 {
            return Err(Refusal::bad(format!("Conflicting flags: {}\n", query.sorted())));
        }
        Ok(())
    }
}

/// The refusal of a value that is too large, in Consul's words.
pub(crate) fn too_large(size: usize) -> Refusal {
    Refusal::TooLarge(format!(
        "Request body({size} bytes) too large, max size: {VALUE_MAX} bytes. See \
         https://developer.hashicorp.com/docs/agent/config/config-files#kv_max_value_size."
    ))
}

fn check_key(key: &str) -> Result<(), Refusal> {
    if key.starts_with(' ') || key.ends_with(' ') {
        return Err(Refusal::server("invalid key name, leading/trailing spaces are not allowed"));
    }
    Ok(())
}

fn raw_value(entry: &Entry) -> Reply {
    let mut reply = Reply::ok();
    reply.set(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    reply.set(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    reply.set(CONTENT_SECURITY_POLICY, HeaderValue::from_static("sandbox"));
    reply.body = entry.value.clone().into();
    reply
}

/// A key up to and with the first separator after the prefix.
fn cut<'a>(key: &'a str, prefix: usize, separator: &str) -> &'a str {
    if separator.is_empty() {
        return key;
    }
    match key[prefix..].find(separator) {
        Some(at) => &key[..prefix + at + separator.len()],
        None => key,
    }
}
