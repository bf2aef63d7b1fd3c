//! What clients register: services and checks, decoded and validated in Consul's order and words.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use serde_json::{Value, json};

use crate::decode::{DecodeError, Fields};
use crate::model::{Meta, Service, ServiceAddress, Status, Weights};

const SERVICE_KEYS: &[&str] = &[
    "kind",
    "id",
    "name",
    "tags",
    "address",
    "taggedaddresses",
    "socketpath",
    "meta",
    "port",
    "ports",
    "check",
    "checks",
    "weights",
    "token",
    "enabletagoverride",
    "proxy",
    "connect",
    "locality",
    "namespace",
    "partition",
];

const CHECK_KEYS: &[&str] = &[
    "id",
    "checkid",
    "name",
    "status",
    "notes",
    "scriptargs",
    "args",
    "script",
    "http",
    "h2ping",
    "h2pingusetls",
    "header",
    "method",
    "body",
    "disableredirects",
    "tcp",
    "tcpusetls",
    "udp",
    "interval",
    "aliasnode",
    "aliasservice",
    "dockercontainerid",
    "shell",
    "osservice",
    "grpc",
    "grpcusetls",
    "tlsservername",
    "tlsskipverify",
    "timeout",
    "ttl",
    "successbeforepassing",
    "failuresbeforewarning",
    "failuresbeforecritical",
    "proxyhttp",
    "proxygrpc",
    "deregistercriticalserviceafter",
    "outputmaxsize",
    "serviceid",
    "token",
    "namespace",
    "partition",
    "sessionname",
];

/// How the status of a check comes about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Probe {
    /// The instance reports itself, at least this often.
    Ttl(Duration),
    Http {
        url: String,
        method: String,
        headers: BTreeMap<String, Vec<String>>,
        body: String,
    },
    Tcp {
        address: String,
    },
    Grpc {
        target: String,
        tls: bool,
    },
    Script,
    /// Known to Consul, not run here; with Consul's word for it.
    Other(&'static str),
}

impl Probe {
    /// Consul's word for the kind of check.
    pub(crate) const fn kind(&self) -> &'static str {
        match self {
            Self::Ttl(_) => "ttl",
            Self::Http { .. } => "http",
            Self::Tcp { .. } => "tcp",
            Self::Grpc { .. } => "grpc",
            Self::Script => "script",
            Self::Other(kind) => kind,
        }
    }
}

/// A check as a client defines it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CheckDefinition {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) notes: String,
    pub(crate) status: String,
    pub(crate) service_id: String,
    pub(crate) probe: Probe,
    pub(crate) interval: Duration,
    pub(crate) ttl: Duration,
    pub(crate) timeout: Duration,
    pub(crate) deregister_after: Option<Duration>,
    pub(crate) success_before_passing: u32,
    pub(crate) failures_before_warning: u32,
    pub(crate) failures_before_critical: u32,
}

impl CheckDefinition {
    pub(crate) fn decode(body: &Value) -> Result<Self, DecodeError> {
        let fields = Fields::of(body)?;
        fields.only(CHECK_KEYS)?;
        let ttl = fields.duration("ttl")?;
        let http = fields.string("http")?;
        let tcp = fields.string("tcp")?;
        let grpc = fields.string("grpc")?;
        let has = |key: &str| fields.string(key).map(|text| !text.is_empty());
        let script = ["scriptargs", "args"]
            .iter()
            .any(|key| fields.strings(key).is_ok_and(|args| args.is_some_and(|a| !a.is_empty())));
        let probe = if !http.is_empty() {
            Probe::Http {
                url: http,
                method: fields.string("method")?,
                headers: headers(&fields)?,
                body: fields.string("body")?,
            }
        } else if !tcp.is_empty() {
            Probe::Tcp { address: tcp }
        } else if !grpc.is_empty() {
            Probe::Grpc { target: grpc, tls: fields.boolean("grpcusetls")? }
        } else if script {
            if has("dockercontainerid")? { Probe::Other("docker") } else { Probe::Script }
        } else if has("udp")? {
            Probe::Other("udp")
        } else if has("h2ping")? {
            Probe::Other("h2ping")
        } else if has("osservice")? {
            Probe::Other("os_service")
        } else if has("aliasnode")? || has("aliasservice")? {
            Probe::Other("alias")
        } else {
            Probe::Ttl(ttl)
        };
        let count =
            |key: &str| fields.integer(key).map(|n| u32::try_from(n.max(0)).unwrap_or(u32::MAX));
        let id = fields.string("checkid")?;
        let deregister = fields.duration("deregistercriticalserviceafter")?;
        Ok(Self {
            id: if id.is_empty() { fields.string("id")? } else { id },
            name: fields.string("name")?,
            notes: fields.string("notes")?,
            status: fields.string("status")?,
            service_id: fields.string("serviceid")?,
            probe,
            interval: fields.duration("interval")?,
            ttl,
            timeout: fields.duration("timeout")?,
            deregister_after: (!deregister.is_zero()).then_some(deregister),
            success_before_passing: count("successbeforepassing")?,
            failures_before_warning: count("failuresbeforewarning")?,
            failures_before_critical: count("failuresbeforecritical")?,
        })
    }

    /// Consul's rules for a check, and ours: kinds that this agent does not run are refused rather
    /// than left critical for ever.
    pub(crate) fn validate(&self) -> Result<(), String> {
        let is_ttl = matches!(self.probe, Probe::Ttl(_));
        let is_alias = self.probe == Probe::Other("alias");
        if !self.interval.is_zero() && !self.ttl.is_zero() {
            return Err("Interval and TTL cannot both be specified".to_owned());
        }
        if !is_ttl && !is_alias && self.interval.is_zero() {
            return Err(
                "Interval must be > 0 for Script, HTTP, H2PING, TCP, UDP or OSService checks"
                    .to_owned(),
            );
        }
        if is_ttl && self.ttl.is_zero() {
            return Err("TTL must be > 0 for TTL checks".to_owned());
        }
        if self.failures_before_warning > self.failures_before_critical {
            return Err(
                "FailuresBeforeWarning can't be higher than FailuresBeforeCritical".to_owned()
            );
        }
        if let Probe::Other(kind) = self.probe {
            return Err(format!("this development agent does not run {kind} checks"));
        }
        Ok(())
    }
}

/// A service with its checks, as a client registers it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Registration {
    pub(crate) service: Service,
    pub(crate) checks: Vec<CheckDefinition>,
    /// The body, from which a state file can register it again.
    pub(crate) source: Value,
}

impl Registration {
    /// Decodes the body of `/v1/agent/service/register`.
    pub(crate) fn decode(body: &Value) -> Result<Self, DecodeError> {
        let fields = Fields::of(body)?;
        fields.only(SERVICE_KEYS)?;
        let name = fields.string("name")?;
        let mut checks = Vec::new();
        if let Some(check) = fields.value("check") {
            checks.push(CheckDefinition::decode(check)?);
        }
        for check in fields.list("checks")? {
            checks.push(CheckDefinition::decode(check)?);
        }
        let mut service = decode_service(&fields, name)?;
        default_tagged_addresses(&mut service);
        Ok(Self { service, checks, source: body.clone() })
    }
}

/// Decodes the `Service` of `/v1/catalog/register`, which calls the name `Service`.
pub(crate) fn catalog_service(body: &Value) -> Result<Service, DecodeError> {
    let fields = Fields::of(body)?;
    let name = fields.string("service")?;
    decode_service(&fields, name)
}

fn decode_service(fields: &Fields<'_>, name: String) -> Result<Service, DecodeError> {
    let id = fields.string("id")?;
    let weights = match fields.object("weights")? {
        Some(w) => Weights { passing: w.integer("passing")?, warning: w.integer("warning")? },
        None => Weights { passing: 1, warning: 1 },
    };
    let mut tagged_addresses = BTreeMap::new();
    if let Some(Value::Object(map)) = fields.value("taggedaddresses") {
        for (key, value) in map {
            let address = Fields::of(value)?;
            tagged_addresses.insert(
                key.clone(),
                ServiceAddress {
                    address: address.string("address")?,
                    port: address.integer("port")?,
                },
            );
        }
    }
    Ok(Service {
        kind: fields.string("kind")?,
        id: if id.is_empty() { name.clone() } else { id },
        name,
        tags: fields.strings("tags")?.unwrap_or_default(),
        address: fields.string("address")?,
        tagged_addresses,
        meta: fields.pairs("meta")?.unwrap_or_default(),
        port: fields.integer("port")?,
        weights,
        enable_tag_override: fields.boolean("enabletagoverride")?,
        proxy: fields.value("proxy").cloned().unwrap_or_else(|| json!({})),
        connect: fields.value("connect").cloned().unwrap_or_else(|| json!({})),
        create_index: 0,
        modify_index: 0,
    })
}

/// The agent adds `lan_ipv4` and its like from a literal address.
fn default_tagged_addresses(service: &mut Service) {
    let Ok(ip) = service.address.parse::<IpAddr>() else { return };
    let keys = match ip {
        IpAddr::V4(_) => ["lan_ipv4", "wan_ipv4"],
        IpAddr::V6(_) => ["lan_ipv6", "wan_ipv6"],
    };
    for key in keys {
        let address = service.address.clone();
        let port = service.port;
        service.tagged_addresses.entry(key.to_owned()).or_insert(ServiceAddress { address, port });
    }
}

/// Consul's rules for a registered service, in its order; the first one that is broken is named.
pub(crate) fn validate(registration: &Registration) -> Result<(), String> {
    let service = &registration.service;
    if service.name.is_empty() {
        return Err("Missing service name".to_owned());
    }
    if is_unspecified(&service.address) {
        return Err("Invalid service address".to_owned());
    }
    validate_weights(service.weights).map_err(|e| format!("Invalid Weights: {e}"))?;
    validate_meta(&service.meta).map_err(|e| format!("Invalid Service Meta: {e}"))?;
    for check in &registration.checks {
        check.validate().map_err(|e| format!("Invalid check: {e}"))?;
    }
    let status =
        |check: &CheckDefinition| check.status.is_empty() || Status::parse(&check.status).is_some();
    if !registration.checks.iter().all(status) {
        return Err("Status for checks must 'passing', 'warning', 'critical'".to_owned());
    }
    Ok(())
}

pub(crate) fn is_unspecified(address: &str) -> bool {
    address.parse::<IpAddr>().is_ok_and(|ip| ip.is_unspecified())
}

fn validate_weights(weights: Weights) -> Result<(), &'static str> {
    const MAX: i64 = 65_535;
    if weights.passing < 1 {
        return Err("Passing must be greater than 0");
    }
    if weights.warning < 0 {
        return Err("Warning must be greater or equal than 0");
    }
    if weights.passing > MAX || weights.warning > MAX {
        return Err("DNS Weight must be between 0 and 65535");
    }
    Ok(())
}

fn validate_meta(meta: &Meta) -> Result<(), String> {
    if meta.len() > 64 {
        return Err("Node metadata cannot contain more than 64 key/value pairs".to_owned());
    }
    for (key, value) in meta {
        let broken = if key.is_empty() {
            "Key cannot be blank".to_owned()
        } else if !key.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-') {
            "Key contains invalid characters".to_owned()
        } else if key.len() > 128 {
            "Key is too long (limit: 128 characters)".to_owned()
        } else if key.starts_with("consul-") {
            "Key prefix 'consul-' is reserved for internal use".to_owned()
        } else if value.len() > 512 {
            "Value is too long (limit: 512 characters)".to_owned()
        } else {
            continue;
        };
        return Err(format!("Couldn't load metadata pair ('{key}', '{value}'): {broken}"));
    }
    Ok(())
}

fn headers(fields: &Fields<'_>) -> Result<BTreeMap<String, Vec<String>>, DecodeError> {
    let Some(Value::Object(map)) = fields.value("header") else { return Ok(BTreeMap::new()) };
    let wrong =
        |name: &String| DecodeError(format!("json: header {name:?} is not a list of strings"));
    map.iter()
        .map(|(name, values)| {
            let values = values
                .as_array()
                .and_then(|v| v.iter().map(|s| s.as_str().map(str::to_owned)).collect())
                .ok_or_else(|| wrong(name))?;
            Ok((name.clone(), values))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(body: Value) -> String {
        match Registration::decode(&body) {
            Ok(registration) => validate(&registration).unwrap_err(),
            Err(e) => e.0,
        }
    }

    #[test]
    fn the_id_defaults_to_the_name_and_weights_to_one() {
        let registration = Registration::decode(&json!({"name": "web"})).unwrap();
        assert_eq!(registration.service.id, "web");
        assert_eq!(registration.service.weights, Weights { passing: 1, warning: 1 });
        assert!(registration.service.tagged_addresses.is_empty());
    }

    #[test]
    fn a_literal_address_is_tagged_by_family_and_a_name_is_not() {
        let v4 = Registration::decode(&json!({"Name": "a", "Address": "10.0.0.1", "Port": 1}));
        assert!(v4.unwrap().service.tagged_addresses.contains_key("wan_ipv4"));
        let v6 = Registration::decode(&json!({"Name": "a", "Address": "fd00::1"}));
        assert!(v6.unwrap().service.tagged_addresses.contains_key("lan_ipv6"));
        let name = Registration::decode(&json!({"Name": "a", "Address": "db.internal"}));
        assert!(name.unwrap().service.tagged_addresses.is_empty());
    }

    #[test]
    fn refusals_use_the_words_of_consul() {
        for (body, words) in [
            (json!({}), "Missing service name"),
            (json!({"Name": "x", "Address": "::"}), "Invalid service address"),
            (
                json!({"Name": "x", "Weights": {"Passing": 0}}),
                "Invalid Weights: Passing must be greater than 0",
            ),
            (
                json!({"Name": "x", "Meta": {"a.b": "1"}}),
                "Invalid Service Meta: Couldn't load metadata pair ('a.b', '1'): Key contains invalid characters",
            ),
            (json!({"Name": "x", "Check": {"TTL": "abc"}}), "time: invalid duration \"abc\""),
            (
                json!({"Name": "x", "Check": {"TTL": "1s", "Interval": "1s"}}),
                "Invalid check: Interval and TTL cannot both be specified",
            ),
            (json!({"Name": "x", "Nmae": 1}), "json: unknown field \"Nmae\""),
        ] {
            assert_eq!(refused(body), words);
        }
    }
}
