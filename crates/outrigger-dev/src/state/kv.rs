//! Keys and values with check-and-set, locks, and the memory of deleted keys that lets a blocking
//! query on a prefix see a deletion.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use base64::Engine as _;
use serde_json::{Value, json};

/// One key.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) key: String,
    pub(crate) value: Vec<u8>,
    pub(crate) flags: u64,
    /// The session that holds the lock, or empty.
    pub(crate) session: String,
    /// How often the lock was taken.
    pub(crate) lock_index: u64,
    pub(crate) create_index: u64,
    pub(crate) modify_index: u64,
}

impl Entry {
    pub(crate) fn view(&self, with_value: bool) -> Value {
        let value = (with_value && !self.value.is_empty())
            .then(|| base64::engine::general_purpose::STANDARD.encode(&self.value));
        let mut view = json!({
            "LockIndex": self.lock_index, "Key": self.key, "Flags": self.flags, "Value": value,
            "CreateIndex": self.create_index, "ModifyIndex": self.modify_index,
        });
        if !self.session.is_empty() {
            view["Session"] = json!(self.session);
        }
        view
    }
}

/// The store. Keys are kept in byte order, as Consul lists them.
#[derive(Debug, Default, Clone)]
pub(crate) struct KvStore {
    entries: BTreeMap<String, Entry>,
    graves: BTreeMap<String, u64>,
    index: u64,
    delays: HashMap<String, Duration>,
}

impl KvStore {
    pub(crate) fn entry(&self, key: &str) -> Option<&Entry> {
        self.entries.get(key)
    }

    /// The index of a key: its own, or the store's while it is absent.
    pub(crate) fn key_index(&self, key: &str) -> u64 {
        self.entries.get(key).map_or(self.index, |entry| entry.modify_index)
    }

    pub(crate) fn list(&self, prefix: &str) -> impl Iterator<Item = &Entry> {
        let end = prefix.to_owned();
        self.entries
            .range(prefix.to_owned()..)
            .take_while(move |(key, _)| key.starts_with(&end))
            .map(|(_, entry)| entry)
    }

    /// The index of all keys under a prefix, deleted ones counted; the store's when there are none.
    pub(crate) fn prefix_index(&self, prefix: &str) -> u64 {
        if prefix.is_empty() {
            return self.index;
        }
        let living = self.list(prefix).map(|entry| entry.modify_index).max();
        let dead = self
            .graves
            .range(prefix.to_owned()..)
            .take_while(|(key, _)| key.starts_with(prefix))
            .map(|(_, index)| *index)
            .max();
        living.max(dead).unwrap_or(self.index)
    }

    /// Sets a key and keeps its lock. The lock counter starts anew, as it does in Consul.
    pub(crate) fn set(&mut self, index: u64, key: &str, value: Vec<u8>, flags: u64) {
        let session = self.entries.get(key).map(|e| e.session.clone()).unwrap_or_default();
        self.put(index, Entry { key: key.to_owned(), value, flags, session, ..Entry::default() });
    }

    /// Sets a key if its last change has this index; 0 means that it must not exist.
    pub(crate) fn set_cas(
        &mut self,
        index: u64,
        key: &str,
        value: Vec<u8>,
        flags: u64,
        cas: u64,
    ) -> bool {
        let matches = match self.entries.get(key) {
            Some(entry) => cas != 0 && entry.modify_index == cas,
            None => cas == 0,
        };
        if matches {
            self.set(index, key, value, flags);
        }
        matches
    }

    /// Takes the lock of a key for a session that exists, unless another session holds it.
    pub(crate) fn lock(
        &mut self,
        index: u64,
        key: &str,
        value: Vec<u8>,
        flags: u64,
        session: &str,
    ) -> bool {
        let lock_index = match self.entries.get(key) {
            Some(old) if old.session == session => old.lock_index,
            Some(old) if !old.session.is_empty() => return false,
            Some(old) => old.lock_index + 1,
            None => 1,
        };
        let session = session.to_owned();
        let key = key.to_owned();
        self.put(index, Entry { key, value, flags, session, lock_index, ..Entry::default() });
        true
    }

    /// Gives the lock back, if this session holds it.
    pub(crate) fn unlock(
        &mut self,
        index: u64,
        key: &str,
        value: Vec<u8>,
        flags: u64,
        session: &str,
    ) -> bool {
        let Some(old) = self.entries.get(key).filter(|old| old.session == session) else {
            return false;
        };
        let lock_index = old.lock_index;
        let key = key.to_owned();
        self.put(index, Entry { key, value, flags, lock_index, ..Entry::default() });
        true
    }

    pub(crate) fn delete(&mut self, index: u64, key: &str) {
        if self.entries.remove(key).is_some() {
            self.graves.insert(key.to_owned(), index);
            self.index = index;
        }
    }

    /// Deletes a key if its last change has this index; an absent key counts as deleted.
    pub(crate) fn delete_cas(&mut self, index: u64, key: &str, cas: u64) -> bool {
        match self.entries.get(key) {
            None => true,
            Some(entry) if entry.modify_index == cas => {
                self.delete(index, key);
                true
            }
            Some(_) => false,
        }
    }

    pub(crate) fn delete_tree(&mut self, index: u64, prefix: &str) {
        let keys: Vec<_> = self.list(prefix).map(|entry| entry.key.clone()).collect();
        for key in keys {
            self.delete(index, &key);
        }
    }

    /// Ends the locks of a session: keys are freed or deleted, and held back for the delay.
    pub(crate) fn end_session(
        &mut self,
        index: u64,
        session: &str,
        delete: bool,
        held_until: Option<Duration>,
    ) {
        let held: Vec<_> =
            self.entries.values().filter(|e| e.session == session).cloned().collect();
        for entry in held {
            if let Some(until) = held_until {
                self.delays.insert(entry.key.clone(), until);
            }
            if delete {
                self.delete(index, &entry.key);
            } else {
                self.put(index, Entry { session: String::new(), ..entry });
            }
        }
    }

    /// Whether a lock of this key must wait because a session that held it ended a moment ago.
    pub(crate) fn is_delayed(&mut self, now: Duration, key: &str) -> bool {
        self.delays.retain(|_, until| *until > now);
        self.delays.contains_key(key)
    }

    fn put(&mut self, index: u64, mut entry: Entry) {
        if let Some(old) = self.entries.get(&entry.key) {
            entry.create_index = old.create_index;
            entry.modify_index = old.modify_index;
            if *old == entry {
                return;
            }
        } else {
            entry.create_index = index;
        }
        entry.modify_index = index;
        self.index = index;
        self.graves.remove(&entry.key);
        self.entries.insert(entry.key.clone(), entry);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn store() -> KvStore {
        let mut kv = KvStore::default();
        kv.set(5, "a/1", b"x".to_vec(), 0);
        kv.set(6, "a/2", b"y".to_vec(), 0);
        kv
    }

    #[test]
    fn a_deletion_raises_the_index_of_its_prefix_only() {
        let mut kv = store();
        kv.set(7, "b", Vec::new(), 0);
        kv.delete(8, "a/1");
        assert_eq!(kv.prefix_index("a/"), 8);
        assert_eq!(kv.prefix_index("b"), 7);
    }

    #[test]
    fn the_same_value_again_changes_no_index() {
        let mut kv = store();
        kv.set(9, "a/1", b"x".to_vec(), 0);
        assert_eq!(kv.key_index("a/1"), 5);
    }

    #[test]
    fn check_and_set_with_zero_only_creates() {
        let mut kv = store();
        assert!(!kv.set_cas(9, "a/1", Vec::new(), 0, 0));
        assert!(kv.set_cas(9, "new", Vec::new(), 0, 0));
        assert!(!kv.set_cas(10, "new", b"v".to_vec(), 0, 8), "a stale index is refused");
        assert!(kv.set_cas(10, "new", b"v".to_vec(), 0, 9));
    }

    #[test]
    fn a_lock_is_counted_and_held_by_one_session() {
        let mut kv = store();
        assert!(kv.lock(9, "l", Vec::new(), 0, "s1"));
        assert!(!kv.lock(10, "l", Vec::new(), 0, "s2"));
        assert!(kv.unlock(11, "l", Vec::new(), 0, "s1"));
        assert!(kv.lock(12, "l", Vec::new(), 0, "s2"));
        assert_eq!(kv.entry("l").unwrap().lock_index, 2);
    }

    #[test]
    fn an_ended_session_frees_or_deletes_its_keys_and_delays_them() {
        let mut kv = store();
        assert!(kv.lock(9, "keep", b"v".to_vec(), 0, "s1"));
        assert!(kv.lock(10, "drop", b"v".to_vec(), 0, "s2"));
        kv.end_session(11, "s1", false, Some(Duration::from_secs(20)));
        kv.end_session(12, "s2", true, None);
        assert_eq!(kv.entry("keep").unwrap().session, "");
        assert!(kv.entry("drop").is_none());
        assert!(kv.is_delayed(Duration::from_secs(19), "keep"));
        assert!(!kv.is_delayed(Duration::from_secs(20), "keep"));
    }
}
