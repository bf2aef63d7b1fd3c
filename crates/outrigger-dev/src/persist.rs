//! The state file: registrations and keys, written whole and atomically.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::Path;
use std::time::Duration;

use base64::Engine as _;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::model::Status;
use crate::registration::{CheckDefinition, Registration};
use crate::state::State;

const VERSION: u32 = 1;

#[derive(Debug, Serialize, Deserialize)]
struct File {
    version: u32,
    services: Vec<Value>,
    checks: Vec<Value>,
    /// Status and output by check id, so that a restart does not make everything critical.
    statuses: BTreeMap<String, (String, String)>,
    keys: Vec<Key>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Key {
    key: String,
    value: String,
    flags: u64,
}

/// The whole state that outlives the process. Sessions, events and tokens do not.
pub(crate) fn snapshot(state: &State) -> Vec<u8> {
    let base64 = base64::engine::general_purpose::STANDARD;
    let file = File {
        version: VERSION,
        services: state.local.services.values().map(|local| local.source.clone()).collect(),
        checks: state.local.checks.values().filter_map(|local| local.source.clone()).collect(),
        statuses: state
            .local
            .checks
            .iter()
            .filter(|(_, local)| local.definition.is_some())
            .map(|(id, local)| {
                (id.clone(), (local.check.status.word().to_owned(), local.check.output.clone()))
            })
            .collect(),
        keys: state
            .kv
            .list("")
            .map(|entry| Key {
                key: entry.key.clone(),
                value: base64.encode(&entry.value),
                flags: entry.flags,
            })
            .collect(),
    };
    // Plain data with text keys always has a JSON form.
    serde_json::to_vec(&file).unwrap_or_default()
}

/// Replaces the file in one step, so that a crash leaves the old or the new one.
pub(crate) fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".new");
    let new = path.with_file_name(name);
    fs::write(&new, bytes)?;
    fs::rename(&new, path)
}

/// Brings a fresh state to what the file says. A file that is not there is an empty one; one that
/// cannot be read is an error, never silently forgotten.
pub(crate) fn restore(state: &mut State, path: &Path) -> io::Result<()> {
    let bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    let invalid = |why: String| {
        io::Error::new(io::ErrorKind::InvalidData, format!("{}: {why}", path.display()))
    };
    let file: File = serde_json::from_slice(&bytes).map_err(|e| invalid(e.to_string()))?;
    if file.version != VERSION {
        return Err(invalid(format!("version {} is not {VERSION}", file.version)));
    }
    let now = Duration::ZERO;
    for body in file.services {
        let registration = Registration::decode(&body).map_err(|e| invalid(e.0))?;
        state.register_service(now, registration, false);
    }
    for body in file.checks {
        let definition = CheckDefinition::decode(&body).map_err(|e| invalid(e.0))?;
        state.register_check(now, definition, body);
    }
    for (id, (word, output)) in file.statuses {
        let status = Status::parse(&word).ok_or_else(|| invalid(format!("status {word:?}")))?;
        state.restore_check(now, &id, status, output);
    }
    for Key { key, value, flags } in file.keys {
        let value = base64::engine::general_purpose::STANDARD
            .decode(&value)
            .map_err(|e| invalid(e.to_string()))?;
        let index = state.step();
        state.kv.set(index, &key, value, flags);
    }
    Ok(())
}
