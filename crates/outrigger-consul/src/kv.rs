//! Keys and values.

use std::sync::Arc;

use base64::Engine as _;
use bytes::Bytes;
use outrigger_discovery::RegistryError;
use serde::Deserialize;

use crate::answer;
use crate::ask::Ask;
use crate::client::{Answered, Client};
use crate::session::SessionId;
use crate::watch::{Joined, KvState, KvStream, Shared, follow_key};

/// Most bytes that a value has; the registry answers 413 to more.
pub const MAX_VALUE: usize = 512 << 10;

/// One key and its value.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct KvEntry {
    /// The key.
    pub key: Arc<str>,
    /// The value; may be empty.
    pub value: Bytes,
    /// Changes with every write; what [`Kv::put_if`] compares.
    pub modify_index: u64,
    /// The session that holds the key as a lock.
    pub session: Option<Arc<str>>,
}

/// Keys and values of the registry.
///
/// Shape: a key is 1 to 512 bytes of segments joined by `/`, none empty, `.` or `..`, without
/// control characters; any other is [`RegistryError::Key`] before anything is sent.
#[derive(Clone, Debug)]
pub struct Kv {
    client: Arc<Client>,
    watches: Arc<Shared<Arc<str>, KvState>>,
}

impl Kv {
    pub(crate) fn new(client: &Arc<Client>, watches: &Arc<Shared<Arc<str>, KvState>>) -> Self {
        Self { client: Arc::clone(client), watches: Arc::clone(watches) }
    }

    /// Reads a key; `None` when there is no such key.
    ///
    /// # Errors
    /// [`RegistryError`]; reading may be repeated.
    ///
    /// # Cancel safety
    /// Safe: reading changes nothing.
    pub async fn get(&self, key: &str) -> Result<Option<KvEntry>, RegistryError> {
        let answered = self.client.ask_plain(&question(key, None)?).await?;
        read_entry(&answered)
    }

    /// The keys that begin with a prefix, sorted.
    ///
    /// # Errors
    /// [`RegistryError`]; reading may be repeated.
    ///
    /// # Cancel safety
    /// Safe: reading changes nothing.
    pub async fn keys(&self, prefix: &str) -> Result<Vec<String>, RegistryError> {
        let rule = format!("key_prefix \"{prefix}\" list");
        let prefix = prefix.strip_suffix('/').map_or((prefix, false), |rest| (rest, true));
        let mut ask = path("the keys", prefix.0)?;
        if prefix.1 {
            ask.target.push('/');
        }
        let ask = ask.param("keys", "").may_miss().needs(rule);
        let answered = self.client.ask_plain(&ask).await?;
        if !answered.found {
            return Ok(Vec::new());
        }
        answer::read(&answered.body).map_err(|wrong| refused("the keys", wrong))
    }

    /// Writes a key.
    ///
    /// # Errors
    /// [`RegistryError`]; [`RegistryError::Value`] for one longer than [`MAX_VALUE`].
    ///
    /// # Cancel safety
    /// Dropped half-way, it may or may not have been written.
    pub async fn put(&self, key: &str, value: impl Into<Bytes>) -> Result<(), RegistryError> {
        self.write(key, value.into(), &[]).await.map(|_| ())
    }

    /// Writes a key only when its `modify_index` is still the one given, 0 for "there is none";
    /// whether it was written.
    ///
    /// # Errors
    /// As [`Kv::put`].
    ///
    /// # Cancel safety
    /// Dropped half-way, it may or may not have been written.
    pub async fn put_if(
        &self,
        key: &str,
        value: impl Into<Bytes>,
        modify_index: u64,
    ) -> Result<bool, RegistryError> {
        self.write(key, value.into(), &[("cas", &modify_index.to_string())]).await
    }

    /// Writes a key and takes it as a lock for a session; whether the session has it now.
    ///
    /// # Errors
    /// As [`Kv::put`].
    ///
    /// # Cancel safety
    /// Dropped half-way, the session may or may not have it.
    pub async fn acquire(
        &self,
        key: &str,
        value: impl Into<Bytes>,
        session: &SessionId,
    ) -> Result<bool, RegistryError> {
        self.write(key, value.into(), &[("acquire", session.as_str())]).await
    }

    /// Gives a lock back; whether the session had it.
    ///
    /// # Errors
    /// As [`Kv::put`].
    ///
    /// # Cancel safety
    /// Dropped half-way, the session may or may not have it.
    pub async fn release(
        &self,
        key: &str,
        value: impl Into<Bytes>,
        session: &SessionId,
    ) -> Result<bool, RegistryError> {
        self.write(key, value.into(), &[("release", session.as_str())]).await
    }

    /// Deletes a key; one that is not there is deleted already.
    ///
    /// # Errors
    /// [`RegistryError`]; deleting may be repeated.
    ///
    /// # Cancel safety
    /// Dropped half-way, it may or may not have been deleted.
    pub async fn delete(&self, key: &str) -> Result<(), RegistryError> {
        let mut ask = path("a key's deletion", key)?.needs(writes(key));
        ask.method = http::Method::DELETE;
        self.client.ask_plain(&ask).await.map(|_| ())
    }

    /// Deletes a key only when its `modify_index` is still the one given; whether it was deleted.
    ///
    /// # Errors
    /// [`RegistryError`].
    ///
    /// # Cancel safety
    /// Dropped half-way, it may or may not have been deleted.
    pub async fn delete_if(&self, key: &str, modify_index: u64) -> Result<bool, RegistryError> {
        let mut ask = path("a key's deletion", key)?.needs(writes(key));
        ask.method = http::Method::DELETE;
        let ask = ask.param("cas", &modify_index.to_string());
        let answered = self.client.ask_plain(&ask).await?;
        answer::read(&answered.body).map_err(|wrong| refused(ask.what, wrong))
    }

    /// Watches a key; watches of one key share their traffic.
    ///
    /// Shape: as for services: at once when known, newest first, `Stale` while the registry is
    /// away, never an end. A key that vanishes yields a state without an entry.
    ///
    /// # Errors
    /// [`RegistryError::Key`].
    pub fn watch(&self, key: &str) -> Result<KvStream, RegistryError> {
        self.join(key).map(KvStream)
    }

    pub(crate) fn join(&self, key: &str) -> Result<Joined<KvState>, RegistryError> {
        question(key, None)?;
        let key: Arc<str> = key.into();
        let client = Arc::clone(&self.client);
        Ok(self.watches.join((None, Arc::clone(&key)), |feed| {
            let runtime = client.runtime.clone();
            runtime.spawn(follow_key(client, None, key, feed)).abort_handle()
        }))
    }

    async fn write(
        &self,
        key: &str,
        value: Bytes,
        params: &[(&str, &str)],
    ) -> Result<bool, RegistryError> {
        if value.len() > MAX_VALUE {
            return Err(RegistryError::Value { len: value.len(), max: MAX_VALUE });
        }
        let mut ask = path("a key's value", key)?.needs(writes(key)).body(value);
        ask.method = http::Method::PUT;
        for (name, value) in params {
            ask = ask.param(name, value);
        }
        let answered = self.client.ask_plain(&ask).await?;
        answer::read(&answered.body).map_err(|wrong| refused(ask.what, wrong))
    }
}

fn writes(key: &str) -> String {
    format!("key \"{key}\" write")
}

fn path(what: &'static str, key: &str) -> Result<Ask, RegistryError> {
    let plain = |part: &str| {
        !part.is_empty() && part != "." && part != ".." && !part.contains(char::is_control)
    };
    // The agent's router cleans such paths, by which another key would be meant.
    if !(1..=512).contains(&key.len()) || !key.split('/').all(plain) {
        let key: String = key.chars().take(64).collect();
        return Err(RegistryError::Key { key: key.escape_debug().to_string().into() });
    }
    Ok(key.split('/').fold(Ask::get(what, "/v1/kv"), Ask::segment))
}

pub(crate) fn question(key: &str, datacenter: Option<&str>) -> Result<Ask, RegistryError> {
    let rule = format!("key \"{key}\" read");
    Ok(path("a key", key)?.needs(rule).may_miss().param_if("dc", datacenter))
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Listed {
    key: String,
    #[serde(default)]
    value: Option<String>,
    modify_index: u64,
    #[serde(default)]
    session: Option<String>,
}

/// Reads what stands under a key; `None` for a 404.
pub(crate) fn read_entry(answered: &Answered) -> Result<Option<KvEntry>, RegistryError> {
    let what = "a key";
    if !answered.found {
        return Ok(None);
    }
    let listed: Vec<Listed> = answer::read(&answered.body).map_err(|wrong| refused(what, wrong))?;
    let wrong = |class| RegistryError::Answer { what, class, source: None };
    let [listed] = <[Listed; 1]>::try_from(listed).map_err(|_| wrong("not_one"))?;
    let value = listed.value.unwrap_or_default();
    let value = base64::engine::general_purpose::STANDARD.decode(value);
    Ok(Some(KvEntry {
        key: listed.key.into(),
        value: value.map_err(|_| wrong("bad_base64"))?.into(),
        modify_index: listed.modify_index,
        session: listed.session.map(Into::into),
    }))
}

fn refused(what: &'static str, wrong: answer::Refused) -> RegistryError {
    RegistryError::Answer { what, class: wrong.class, source: wrong.source }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_encoded_once_per_segment() {
        let ask = path("a key", "outrigger/policy/a b%2f").expect("a key");
        assert_eq!(ask.target, "/v1/kv/outrigger/policy/a%20b%252f");
    }

    #[test]
    fn a_key_that_the_agents_router_would_change_is_refused() {
        for key in ["", "/a", "a/", "a//b", "a/../b", ".", "a\nb"] {
            let error = path("a key", key).expect_err(key);
            assert!(matches!(error, RegistryError::Key { .. }), "{error}");
        }
    }

    #[test]
    fn a_value_may_be_absent() {
        let body = Bytes::from_static(br#"[{"Key":"a","Value":null,"ModifyIndex":7}]"#);
        let answered = Answered { told: crate::index::Told::default(), found: true, body };
        let entry = read_entry(&answered).expect("an answer").expect("an entry");
        assert_eq!((&*entry.value, entry.modify_index), (&b""[..], 7));
    }
}
