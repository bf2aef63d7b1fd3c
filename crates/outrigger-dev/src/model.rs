//! What the agent stores, in the shapes in which Consul's API shows it.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::{Value, json};

/// Health of one check, or of all checks of an instance: the worst of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Status {
    /// Answers as it should.
    Passing,
    /// Answers, with a warning.
    Warning,
    /// Does not answer, or in maintenance.
    Critical,
}

impl Status {
    /// Reads one of Consul's three words.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        match word {
            "passing" => Some(Self::Passing),
            "warning" => Some(Self::Warning),
            "critical" => Some(Self::Critical),
            _ => None,
        }
    }

    /// Consul's word for it.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Passing => "passing",
            Self::Warning => "warning",
            Self::Critical => "critical",
        }
    }
}

/// Key and value pairs of nodes and services.
pub type Meta = BTreeMap<String, String>;

/// A machine of the catalogue; the agent itself is one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
#[non_exhaustive]
pub struct Node {
    /// UUID, or empty for nodes registered from outside.
    #[serde(rename = "ID")]
    pub id: String,
    /// Its name.
    #[serde(rename = "Node")]
    pub name: String,
    /// Its address.
    pub address: String,
    /// Always the agent's own.
    pub datacenter: String,
    /// `lan`, `wan` and others.
    pub tagged_addresses: Option<BTreeMap<String, String>>,
    /// Free-form pairs.
    pub meta: Option<Meta>,
    /// The index that created it.
    pub create_index: u64,
    /// The last index that changed it.
    pub modify_index: u64,
}

/// An address with its port.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
#[non_exhaustive]
pub struct ServiceAddress {
    /// IP address or name.
    pub address: String,
    /// Port.
    pub port: i64,
}

/// How much traffic an instance takes, by its health.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
#[non_exhaustive]
pub struct Weights {
    /// While it is passing.
    pub passing: i64,
    /// While it is warning.
    pub warning: i64,
}

/// A registered instance of a service.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Service {
    /// Empty for a usual service, else one of Consul's proxy kinds.
    pub kind: String,
    /// Unique per node.
    pub id: String,
    /// The service's name.
    pub name: String,
    /// Tags in the order of registration.
    pub tags: Vec<String>,
    /// Its address; empty means the node's.
    pub address: String,
    /// `lan_ipv4` and others.
    pub tagged_addresses: BTreeMap<String, ServiceAddress>,
    /// Free-form pairs.
    pub meta: Meta,
    /// Its port, unchecked as in Consul.
    pub port: i64,
    /// Traffic weights.
    pub weights: Weights,
    /// Whether others may change the tags.
    pub enable_tag_override: bool,
    /// Proxy settings as registered.
    pub proxy: Value,
    /// Connect settings as registered.
    pub connect: Value,
    /// The index that created it.
    pub create_index: u64,
    /// The last index that changed it.
    pub modify_index: u64,
}

impl Service {
    /// Whether the content is the same, indexes apart.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        Self { create_index: 0, modify_index: 0, ..self.clone() }
            == Self { create_index: 0, modify_index: 0, ..other.clone() }
    }

    /// Whether it can be called through Connect under this name.
    pub(crate) fn connects(&self, name: &str) -> bool {
        (self.name == name && self.connect["Native"] == true)
            || (self.kind == "connect-proxy" && self.proxy["DestinationServiceName"] == name)
    }
}

/// One check of a node or of an instance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
#[non_exhaustive]
pub struct Check {
    /// Name of its node.
    pub node: String,
    /// Unique per node.
    #[serde(rename = "CheckID")]
    pub id: String,
    /// For people.
    pub name: String,
    /// Verdict.
    pub status: Status,
    /// For people.
    pub notes: String,
    /// What the last run said.
    pub output: String,
    /// The instance it belongs to; empty for the whole node.
    #[serde(rename = "ServiceID")]
    pub service_id: String,
    /// That instance's service.
    pub service_name: String,
    /// That instance's tags.
    pub service_tags: Vec<String>,
    /// `ttl`, `http`, `tcp`, `grpc`, `maintenance` or empty.
    #[serde(rename = "Type")]
    pub kind: String,
    /// Go duration, or empty.
    pub interval: String,
    /// Go duration, or empty.
    pub timeout: String,
    /// Always 0 here.
    pub exposed_port: u16,
    /// As registered through the catalogue; `{}` else.
    pub definition: Value,
    /// The index that created it; 0 in the agent's own list.
    pub create_index: u64,
    /// The last index that changed it; 0 in the agent's own list.
    pub modify_index: u64,
}

impl Check {
    /// Whether the content is the same, indexes apart.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        Self { create_index: 0, modify_index: 0, ..self.clone() }
            == Self { create_index: 0, modify_index: 0, ..other.clone() }
    }

    /// The shape of `/v1/agent/health/service/…`, which shows less than the others.
    pub(crate) fn agent_health_view(&self) -> Value {
        json!({
            "Node": self.node, "CheckID": self.id, "Name": self.name, "Status": self.status,
            "Notes": self.notes, "Output": self.output, "ServiceID": self.service_id,
            "ServiceName": self.service_name,
            "ServiceTags": (!self.service_tags.is_empty()).then_some(&self.service_tags), "Type": "",
            "ExposedPort": 0,
            "Definition": {
                "Interval": "0s", "Timeout": "0s", "DeregisterCriticalServiceAfter": "0s",
                "HTTP": "", "Header": null, "Method": "", "Body": "", "TLSServerName": "",
                "TLSSkipVerify": false, "TCP": "", "TCPUseTLS": false, "UDP": "", "GRPC": "",
                "OSService": "", "GRPCUseTLS": false,
            },
            "CreateIndex": 0, "ModifyIndex": 0,
        })
    }
}

/// A user event, as the agent lists it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Event {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) payload: Vec<u8>,
    pub(crate) node_filter: String,
    pub(crate) service_filter: String,
    pub(crate) tag_filter: String,
    pub(crate) ltime: u64,
}

/// A random identifier in the form that Consul uses for nodes, sessions and events.
pub(crate) fn uuid(rng: &mut fastrand::Rng) -> String {
    let hex = format!("{:032x}", rng.u128(..));
    format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
}
