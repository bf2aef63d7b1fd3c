//! What environment and files say: `OUTRIGGER_*`, then `outrigger.toml`.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use outrigger_core::ServiceName;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use toml::{Table, Value};

use crate::destination::folded;
use crate::{Inbound, Rules};

/// Process-wide settings, before the builder adds its own.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Settings {
    /// Who this process is and where it stands.
    pub process: Process,
    /// How services are called that have no rules of their own.
    pub rules: Rules,
    /// How single services are called.
    pub services: BTreeMap<ServiceName, Rules>,
    /// What this service accepts.
    pub inbound: Inbound,
}

/// Who this process is and where it stands.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Process {
    /// `OUTRIGGER_CONSUL`: the registry's URL, or `none`. Default `CONSUL_HTTP_ADDR`, else
    /// `http://127.0.0.1:8500`.
    pub consul: Option<String>,
    /// `OUTRIGGER_VERSION`: the service's version.
    pub version: Option<String>,
    /// `OUTRIGGER_ZONE`: the zone it runs in.
    pub zone: Option<String>,
    /// `OUTRIGGER_ADVERTISE`: `ADDR` or `ADDR:PORT` that others reach it at. Default the
    /// listener's address.
    pub advertise: Option<String>,
    /// `OUTRIGGER_ADVERTISE_LOOPBACK`: whether a loopback address may be announced to a registry on
    /// another machine. Default false: whoever finds it there connects to itself.
    pub advertise_loopback: Option<bool>,
    /// `OUTRIGGER_SNAPSHOT`: a directory, made if it is not there, that keeps the last good set of
    /// each service that is called, `NAME.json`, for a start while the registry is away. Not a
    /// file: each service's set is replaced by itself. Default none.
    pub snapshot: Option<PathBuf>,
    /// `OUTRIGGER_POLICY`: policy files, or directories of them, separated by `;`.
    pub policy: Vec<PathBuf>,
    /// `OUTRIGGER_ACCESS_LOG`: `stderr`, `none`, or a file, which is followed by its name when it
    /// is rotated. Default `stderr`, for what policies want to be logged; named here, failures are
    /// logged without a policy too, and with `none` nothing is.
    pub access_log: Option<String>,
    /// `OUTRIGGER_DRAIN`: how long requests in flight get to end. Default 30 s.
    #[serde(with = "humantime_serde")]
    pub drain: Option<Duration>,
    /// `OUTRIGGER_ADMIN`: the loopback address of the admin surface, or `off`. Default off. Not
    /// heard under `OUTRIGGER_BESIDE=1`, where it names the sidecar's.
    pub admin: Option<AdminAddress>,
    /// `OUTRIGGER_ENDPOINTS`: `NAME=HOST:PORT[,HOST:PORT…]`, several separated by `;`. They
    /// replace the registry for that name.
    pub endpoints: BTreeMap<ServiceName, Vec<SocketAddr>>,
}

/// Where the admin surface is served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum AdminAddress {
    /// Nowhere.
    Off,
    /// Here; a loopback address.
    At(SocketAddr),
}

impl<'de> Deserialize<'de> for AdminAddress {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(from)?;
        let wrong = || {
            let allowed = "a loopback address such as \"127.0.0.1:15990\", or \"off\"";
            serde::de::Error::custom(format!("`admin` is {text:?}; allowed is {allowed}"))
        };
        if text == "off" {
            return Ok(Self::Off);
        }
        let address: SocketAddr = text.parse().map_err(|_| wrong())?;
        if address.ip().to_canonical().is_loopback() { Ok(Self::At(address)) } else { Err(wrong()) }
    }
}

/// A setting that cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SettingsError {
    /// The file that was named cannot be read.
    #[error("{} cannot be read", path.display())]
    Unreadable {
        /// Which file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The file holds something wrong; the message has line, column and what is allowed.
    #[error("{}: {message}", path.display())]
    File {
        /// Which file.
        path: PathBuf,
        /// Where and what.
        message: String,
    },
    /// A variable holds something wrong.
    #[error("{variable}={value}: {message}")]
    Variable {
        /// Which variable.
        variable: String,
        /// Its value.
        value: String,
        /// What is wrong and what is allowed.
        message: String,
    },
}

/// Variables that say something about the process, and the key each stands for.
const PROCESS: [(&str, &str); 11] = [
    ("OUTRIGGER_CONSUL", "consul"),
    ("OUTRIGGER_VERSION", "version"),
    ("OUTRIGGER_ZONE", "zone"),
    ("OUTRIGGER_ADVERTISE", "advertise"),
    ("OUTRIGGER_ADVERTISE_LOOPBACK", "advertise_loopback"),
    ("OUTRIGGER_SNAPSHOT", "snapshot"),
    ("OUTRIGGER_POLICY", "policy"),
    ("OUTRIGGER_ACCESS_LOG", "access_log"),
    ("OUTRIGGER_DRAIN", "drain"),
    ("OUTRIGGER_ENDPOINTS", "endpoints"),
    ("OUTRIGGER_ADMIN", "admin"),
];

/// Rules that stand at the top level, for which a variable has no `__`.
const TOP_LEVEL: [(&str, &str); 3] = [
    ("OUTRIGGER_TIMEOUT", "timeout"),
    ("OUTRIGGER_IDLE_TIMEOUT", "idle_timeout"),
    ("OUTRIGGER_CONNECT_TIMEOUT", "connect_timeout"),
];

impl Settings {
    /// Reads the environment and the file that it names, or `outrigger.toml` in the working
    /// directory if there is one.
    ///
    /// # Errors
    /// [`SettingsError`] names file or variable, value, and what is allowed.
    pub fn from_env() -> Result<Self, SettingsError> {
        let variables: Vec<(String, String)> = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .filter(|(name, _)| name.starts_with("OUTRIGGER_"))
            .collect();
        // Set by the sidecar for those who want to look at it: the port is its own.
        let is_beside = variables.iter().any(|(name, it)| name == "OUTRIGGER_BESIDE" && it == "1");
        let variables: Vec<_> =
            variables.into_iter().filter(|(n, _)| !is_beside || n != "OUTRIGGER_ADMIN").collect();
        let named = variables.iter().find(|(name, _)| name == "OUTRIGGER_CONFIG");
        let file = match named {
            Some((_, path)) => Some(read(Path::new(path))?),
            None => match read(Path::new("outrigger.toml")) {
                Ok(file) => Some(file),
                Err(SettingsError::Unreadable { source, .. })
                    if source.kind() == std::io::ErrorKind::NotFound =>
                {
                    None
                }
                Err(error) => return Err(error),
            },
        };
        Self::of(file.as_ref().map(|(path, text)| (path.as_path(), text.as_str())), &variables)
    }

    /// The settings that a file's text and a list of variables make.
    ///
    /// # Errors
    /// As [`Settings::from_env`].
    pub fn of(
        file: Option<(&Path, &str)>,
        variables: &[(String, String)],
    ) -> Result<Self, SettingsError> {
        let mut whole = Table::new();
        let mut settings = Self::default();
        if let Some((path, text)) = file {
            let wrong = |message: String| SettingsError::File { path: path.to_owned(), message };
            whole = text.parse().map_err(|e: toml::de::Error| wrong(e.to_string()))?;
            settings = split(&whole).map_err(wrong)?;
        }
        for (variable, value) in variables {
            if variable.is_empty() || value.is_empty() {
                continue;
            }
            let Some(path) = key_path(variable) else { continue };
            let wrong = |message: String| SettingsError::Variable {
                variable: variable.clone(),
                value: value.clone(),
                message,
            };
            let parsed = match path.as_slice() {
                [key] if key == "endpoints" => endpoints(value).map_err(wrong)?,
                [key] if key == "advertise_loopback" => scalar(value),
                [key] if key == "policy" => paths(value),
                [key] if PROCESS.iter().any(|(_, known)| known == key) => {
                    Value::String(value.clone())
                }
                _ => scalar(value),
            };
            put(&mut whole, &path, parsed).map_err(wrong)?;
            // After each variable, so that the one that is wrong is the one that is named.
            settings = split(&whole).map_err(wrong)?;
        }
        Ok(settings)
    }
}

fn read(path: &Path) -> Result<(PathBuf, String), SettingsError> {
    match std::fs::read_to_string(path) {
        Ok(text) => Ok((path.to_owned(), text)),
        Err(source) => Err(SettingsError::Unreadable { path: path.to_owned(), source }),
    }
}

/// The key that a variable stands for; `None` for one that is somebody else's, such as a flag's.
fn key_path(variable: &str) -> Option<Vec<String>> {
    let known = PROCESS.iter().chain(&TOP_LEVEL).find(|(name, _)| *name == variable);
    if let Some((_, key)) = known {
        return Some(vec![(*key).to_owned()]);
    }
    let rest = variable.strip_prefix("OUTRIGGER_")?;
    rest.contains("__").then(|| rest.split("__").map(str::to_ascii_lowercase).collect())
}

/// A variable's text as the value it most likely means: a number, a list, a truth, else a text.
fn scalar(text: &str) -> Value {
    format!("v = {text}")
        .parse::<Table>()
        .ok()
        .and_then(|mut table| table.remove("v"))
        .unwrap_or_else(|| Value::String(text.to_owned()))
}

fn paths(text: &str) -> Value {
    let paths = text.split(';').map(str::trim).filter(|path| !path.is_empty());
    Value::Array(paths.map(|path| Value::String(path.to_owned())).collect())
}

fn endpoints(text: &str) -> Result<Value, String> {
    let mut table = Table::new();
    for entry in text.split(';').map(str::trim).filter(|entry| !entry.is_empty()) {
        let (name, addresses) = entry
            .split_once('=')
            .ok_or_else(|| format!("{entry:?} is not of the form NAME=HOST:PORT[,HOST:PORT]"))?;
        let list = addresses.split(',').map(|a| Value::String(a.trim().to_owned())).collect();
        table.insert(name.trim().to_owned(), Value::Array(list));
    }
    Ok(Value::Table(table))
}

fn put(table: &mut Table, path: &[String], value: Value) -> Result<(), String> {
    let [key, rest @ ..] = path else { return Ok(()) };
    if rest.is_empty() {
        table.insert(key.clone(), value);
        return Ok(());
    }
    let below = table.entry(key.clone()).or_insert_with(|| Value::Table(Table::new()));
    match below {
        Value::Table(below) => put(below, rest, value),
        _ => Err(format!("`{key}` is a value, so nothing can be set below it")),
    }
}

/// Takes the file's tables apart: what concerns the process, single services, the inbound half;
/// all the rest are rules.
fn split(whole: &Table) -> Result<Settings, String> {
    let mut rest = whole.clone();
    let mut process = Table::new();
    for (_, key) in PROCESS {
        if let Some(value) = rest.remove(key) {
            process.insert(key.to_owned(), value);
        }
    }
    let inbound = rest.remove("inbound");
    let services = rest.remove("services");
    let mut settings = Settings {
        process: checked(process, "")?,
        rules: rules(rest.clone(), "")?,
        services: BTreeMap::new(),
        inbound: match inbound {
            Some(Value::Table(table)) => {
                let inbound: Inbound = checked(table, "inbound: ")?;
                inbound.validate().map_err(|error| error.to_string())?;
                inbound
            }
            Some(_) => return Err("`inbound` is a table".to_owned()),
            None => Inbound::default(),
        },
    };
    match services {
        None => {}
        Some(Value::Table(services)) => {
            for (name, own) in services {
                let place = format!("services.{name}: ");
                let service = folded(&name).map_err(|e| format!("{place}{e}"))?;
                let Value::Table(own) = own else {
                    return Err(format!("{place}a table of rules is wanted"));
                };
                let mut merged = rest.clone();
                merge(&mut merged, own);
                if settings.services.insert(service, rules(merged, &place)?).is_some() {
                    return Err(format!("{place}there twice, but for its case"));
                }
            }
        }
        Some(_) => return Err("`services` is a table of tables".to_owned()),
    }
    Ok(settings)
}

fn rules(table: Table, place: &str) -> Result<Rules, String> {
    let rules: Rules = checked(table, place)?;
    rules.validate().map_err(|error| format!("{place}{error}"))?;
    Ok(rules)
}

fn checked<T: DeserializeOwned>(table: Table, place: &str) -> Result<T, String> {
    T::deserialize(Value::Table(table))
        .map_err(|error| format!("{place}{}", error.to_string().trim_end()))
}

/// Lays `over` upon `table`: tables are merged key by key, everything else is replaced.
fn merge(table: &mut Table, over: Table) {
    for (key, value) in over {
        match (table.get_mut(&key), value) {
            (Some(Value::Table(below)), Value::Table(above)) => merge(below, above),
            (_, value) => {
                table.insert(key, value);
            }
        }
    }
}

#[cfg(test)]
mod tests;
