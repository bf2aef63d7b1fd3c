//! The settings as `--check` tells them.

use std::fmt;
use std::path::PathBuf;

use serde_json::{Map, Value as Json, json};

use super::origin::{Origin, Setting};
use super::value::{unknown_word, write_duration, write_upstream};
use super::{KEYS, Mode, Settings};

/// One setting as it is told: `inbound = 127.0.0.1:0 (default: the registry is on loopback)`.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Told {
    /// The key.
    pub key: &'static str,
    /// The value, for documents.
    pub value: Json,
    /// Where it comes from.
    pub origin: Origin,
    /// What stands for a value that is not there.
    absent: &'static str,
}

impl fmt::Display for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value = match &self.value {
            Json::Null => self.absent.to_owned(),
            Json::String(text) => text.clone(),
            Json::Array(items) if items.is_empty() => self.absent.to_owned(),
            Json::Array(items) => {
                let texts: Vec<_> =
                    items.iter().map(|item| item.as_str().unwrap_or_default()).collect();
                texts.join(" ")
            }
            other => other.to_string(),
        };
        write!(f, "{} = {value} ({})", self.key, self.origin)
    }
}

fn one<T: fmt::Display>(setting: &Setting<T>) -> (Json, Origin) {
    (json!(setting.value.to_string()), setting.origin.clone())
}

fn option<T: fmt::Display>(setting: &Setting<Option<T>>) -> (Json, Origin) {
    (json!(setting.value.as_ref().map(ToString::to_string)), setting.origin.clone())
}

fn path(setting: &Setting<Option<PathBuf>>) -> (Json, Origin) {
    let written = setting.value.as_ref().map(|path| path.display().to_string());
    (json!(written), setting.origin.clone())
}

fn list<T>(setting: &Setting<Vec<T>>, write: impl Fn(&T) -> String) -> (Json, Origin) {
    (setting.value.iter().map(write).collect(), setting.origin.clone())
}

impl Settings {
    /// Every setting, in the order of [`KEYS`].
    #[must_use]
    pub fn told(&self) -> Vec<Told> {
        KEYS.iter().map(|key| self.tell(key.name)).collect()
    }

    fn tell(&self, key: &'static str) -> Told {
        let switch = |setting: &Setting<bool>| (json!(setting.value), setting.origin.clone());
        let (value, origin) = match key {
            "service" => option(&self.service),
            "register" => switch(&self.register),
            "port" => (json!(self.port.value), self.port.origin.clone()),
            "socket" => path(&self.socket),
            "protocol" => (json!(self.protocol.value.as_str()), self.protocol.origin.clone()),
            "workers" => option(&self.workers),
            "language" => option(&self.language),
            "version" => option(&self.version),
            "zone" => option(&self.zone),
            "tag" => list(&self.tag, Clone::clone),
            "health" => option(&self.health),
            "drain" => (json!(write_duration(self.drain.value)), self.drain.origin.clone()),
            "inbound" => one(&self.inbound),
            "advertise" => {
                let written = self.advertise.value.map(|(address, port)| match port {
                    Some(port) => std::net::SocketAddr::new(address, port).to_string(),
                    None => address.to_string(),
                });
                (json!(written), self.advertise.origin.clone())
            }
            "outbound" => one(&self.outbound),
            "admin" => one(&self.admin),
            "probe" => option(&self.probe),
            "consul" => option(&self.consul),
            "snapshot" => path(&self.snapshot),
            "tls_cert" => path(&self.tls_cert),
            "tls_key" => path(&self.tls_key),
            "policy" => list(&self.policy, |path| path.display().to_string()),
            "endpoints" => list(&self.endpoints, |(name, list)| {
                let list: Vec<_> = list.iter().map(ToString::to_string).collect();
                format!("{name}={}", list.join(","))
            }),
            "upstream" => list(&self.upstream, write_upstream),
            "unknown" => (json!(unknown_word(self.unknown.value)), self.unknown.origin.clone()),
            "connect" => list(&self.connect, ToString::to_string),
            "upgrade" => list(&self.upgrade, Clone::clone),
            "trust" => list(&self.trust, Clone::clone),
            _ => switch(&self.edge),
        };
        let absent = match (key, self.mode) {
            ("port", Mode::Run) => "a free one",
            ("advertise", _) => "the inbound address",
            ("probe", _) => "off",
            ("tls_cert", _) => "none: in the clear",
            ("workers", _) => "one for each core",
            _ => "none",
        };
        Told { key, value, origin, absent }
    }

    /// What the project told, in one line: `guessed: service = pricing (pyproject.toml), …`.
    #[must_use]
    pub fn guessed(&self) -> Option<String> {
        let guessed: Vec<String> = self
            .told()
            .into_iter()
            .filter(|told| matches!(told.origin, Origin::Project(_)))
            .map(|told| {
                let value = told.value.as_str().map_or_else(|| told.value.to_string(), Into::into);
                format!("{} {value} ({})", told.key, told.origin.place())
            })
            .collect();
        (!guessed.is_empty()).then(|| format!("guessed: {}", guessed.join(", ")))
    }

    /// The document of `--check --json`.
    #[must_use]
    pub fn to_json(&self) -> Json {
        let told = self.told().into_iter();
        let settings: Map<String, Json> =
            told.map(|told| (told.key.to_owned(), told.origin.to_json(&told.value))).collect();
        let command = match self.mode {
            Mode::Run => "run",
            Mode::Sidecar => "sidecar",
        };
        json!({ "command": command, "settings": settings })
    }
}
