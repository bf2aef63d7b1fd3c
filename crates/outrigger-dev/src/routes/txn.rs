//! Transactions over keys: all operations or none.

use base64::Engine as _;
use http::StatusCode;
use http::header::{CONTENT_TYPE, HeaderValue};
use serde_json::{Value, json};

use super::{Call, Outcome};
use crate::acl::{Access, Resource};
use crate::decode::Fields;
use crate::reply::{Refusal, Reply};
use crate::request::check_datacenter;
use crate::state::kv::KvStore;

/// Consul's bound of one transaction.
const OPERATIONS_MAX: usize = 128;

struct Operation {
    verb: String,
    key: String,
    value: Vec<u8>,
    flags: u64,
    index: u64,
    session: String,
}

impl Operation {
    fn only_reads(&self) -> bool {
        matches!(
            self.verb.as_str(),
            "get" | "get-tree" | "check-index" | "check-session" | "check-not-exists"
        )
    }
}

impl Call {
    pub(super) fn txn(&self) -> Outcome {
        check_datacenter(&self.request.query, &self.identity().datacenter)?;
        let body = self.request.json()?;
        let operations = body
            .as_array()
            .map(Vec::as_slice)
            .unwrap_or_default()
            .iter()
            .map(operation)
            .collect::<Result<Vec<_>, _>>()?;
        if operations.len() > OPERATIONS_MAX {
            return Err(Refusal::TooLarge(format!(
                "Transaction contains too many operations ({} > {OPERATIONS_MAX})",
                operations.len()
            )));
        }
        let authority = self.authority()?;
        for op in &operations {
            let access = if op.only_reads() { Access::Read } else { Access::Write };
            authority.check(Resource::Key, access, &op.key)?;
        }
        let only_reads = operations.iter().all(Operation::only_reads);
        let (results, errors) = self.change(|state, now| {
            let index = state.step();
            let sessions = |id: &str| state.sessions.session(id).is_some();
            let mut results = Vec::new();
            let mut errors = Vec::new();
            // Nothing is kept of a transaction that fails: it works on a copy.
            let mut kv = state.kv.clone();
            for (at, op) in operations.iter().enumerate() {
                if op.verb == "lock" && kv.is_delayed(now, &op.key) {
                    let what = format!("failed to lock key {:?} due to lock delay", op.key);
                    errors.push(json!({ "OpIndex": at, "What": what }));
                    continue;
                }
                match apply(&mut kv, index, op, sessions) {
                    Ok(found) => results.extend(found.into_iter().map(|kv| json!({ "KV": kv }))),
                    Err(what) => errors.push(json!({ "OpIndex": at, "What": what })),
                }
            }
            if errors.is_empty() {
                state.kv = kv;
            }
            (results, errors)
        });
        let failed = !errors.is_empty();
        let mut body = if failed {
            json!({ "Results": null, "Errors": errors })
        } else {
            json!({ "Results": results, "Errors": null })
        };
        if only_reads {
            // Consul runs such a transaction as a query and shows the query's own data.
            for (key, value) in [
                ("Index", json!(1)),
                ("LastContact", json!(0)),
                ("KnownLeader", json!(true)),
                ("ConsistencyLevel", json!("")),
                ("NotModified", json!(false)),
                ("Backend", json!(0)),
                ("ResultsFilteredByACLs", json!(false)),
            ] {
                body[key] = value;
            }
        }
        let mut reply = Reply::json(&body);
        if failed {
            reply = reply.with_status(StatusCode::CONFLICT);
            reply.set(CONTENT_TYPE, HeaderValue::from_static("application/json; charset=utf-8"));
        }
        if only_reads {
            reply.set(super::KNOWN_LEADER, HeaderValue::from_static("true"));
            reply.set(super::LAST_CONTACT, HeaderValue::from_static("0"));
        }
        Ok(reply)
    }
}

fn operation(body: &Value) -> Result<Operation, Refusal> {
    let fields = Fields::of(body)?;
    let Some(kv) = fields.object("kv")? else {
        return Err(Refusal::bad(
            "this development agent runs transactions over keys only (an operation without KV)",
        ));
    };
    let value = base64::engine::general_purpose::STANDARD
        .decode(kv.string("value")?)
        .map_err(|e| Refusal::bad(format!("Request decode failed: {e}")))?;
    if value.len() > super::kv::VALUE_MAX {
        return Err(super::kv::too_large(value.len()));
    }
    let number = |key| kv.integer(key).map(|n| u64::try_from(n).unwrap_or_default());
    Ok(Operation {
        verb: kv.string("verb")?,
        key: kv.string("key")?,
        value,
        flags: number("flags")?,
        index: number("index")?,
        session: kv.string("session")?,
    })
}

fn apply(
    kv: &mut KvStore,
    index: u64,
    op: &Operation,
    has_session: impl Fn(&str) -> bool,
) -> Result<Vec<Value>, String> {
    let key = op.key.as_str();
    let view = |kv: &KvStore, value| kv.entry(key).map(|entry| entry.view(value));
    let value = op.value.clone();
    match op.verb.as_str() {
        "set" => kv.set(index, key, value, op.flags),
        "cas" => {
            if !kv.set_cas(index, key, value, op.flags, op.index) {
                return Err(format!("failed to set key {key:?}, index is stale"));
            }
        }
        "lock" => {
            if !has_session(&op.session) {
                return Err(format!("invalid session {:?}", op.session));
            }
            if !kv.lock(index, key, value, op.flags, &op.session) {
                return Err(format!("failed to lock key {key:?}, lock is already held"));
            }
        }
        "unlock" => {
            if !kv.unlock(index, key, value, op.flags, &op.session) {
                return Err(format!(
                    "failed to unlock key {key:?}, lock isn't held, or is held by another session"
                ));
            }
        }
        "delete" => {
            kv.delete(index, key);
            return Ok(Vec::new());
        }
        "delete-tree" => {
            kv.delete_tree(index, key);
            return Ok(Vec::new());
        }
        "delete-cas" => {
            if !kv.delete_cas(index, key, op.index) {
                return Err(format!("failed to delete key {key:?}, index is stale"));
            }
            return Ok(Vec::new());
        }
        "get" => {
            return view(kv, true)
                .map(|view| vec![view])
                .ok_or_else(|| format!("key {key:?} doesn't exist"));
        }
        "get-tree" => return Ok(kv.list(key).map(|entry| entry.view(true)).collect()),
        "check-index" => match kv.entry(key) {
            Some(entry) if entry.modify_index == op.index => {}
            Some(entry) => {
                return Err(format!(
                    "failed index check for key {key:?}, current modify index {} != {}",
                    entry.modify_index, op.index
                ));
            }
            None => return Err(format!("failed to check index, key {key:?} doesn't exist")),
        },
        "check-session" => match kv.entry(key) {
            Some(entry) if entry.session == op.session => {}
            Some(entry) => {
                return Err(format!(
                    "failed session check for key {key:?}, current session {:?} != {:?}",
                    entry.session, op.session
                ));
            }
            None => return Err(format!("failed to check session, key {key:?} doesn't exist")),
        },
        "check-not-exists" => {
            if kv.entry(key).is_some() {
                return Err(format!("key {key:?} exists"));
            }
            return Ok(Vec::new());
        }
        other => return Err(format!("unknown KV verb {other:?}")),
    }
    Ok(view(kv, false).into_iter().collect())
}
