//! The shapes in which answers show services. They borrow: a list of thousands is written straight
//! from the memory.

use std::collections::BTreeMap;

use serde::{Serialize, Serializer};
use serde_json::{Map, Value};

use crate::model::{Check, Meta, Node, Service, ServiceAddress, Weights};

fn is_zero(port: &i64) -> bool {
    *port == 0
}

fn is_empty_object(value: &Value) -> bool {
    value.as_object().is_none_or(Map::is_empty)
}

/// Proxy settings with the parts that Consul always shows.
#[derive(Debug)]
struct Proxy<'a>(&'a Value);

impl Serialize for Proxy<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let empty = Value::Object(Map::new());
        let mut all: BTreeMap<&str, &Value> =
            BTreeMap::from([("MeshGateway", &empty), ("Expose", &empty)]);
        let mode = Value::String(String::new());
        all.insert("Mode", &mode);
        all.extend(self.0.as_object().into_iter().flatten().map(|(k, v)| (k.as_str(), v)));
        all.serialize(serializer)
    }
}

/// The shape of `/v1/agent/services`.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct AgentView<'a> {
    #[serde(skip_serializing_if = "str::is_empty")]
    kind: &'a str,
    #[serde(rename = "ID")]
    id: &'a str,
    service: &'a str,
    tags: &'a [String],
    meta: &'a Meta,
    port: i64,
    address: &'a str,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    tagged_addresses: &'a BTreeMap<String, ServiceAddress>,
    weights: Weights,
    enable_tag_override: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    proxy: Option<&'a Value>,
    #[serde(skip_serializing_if = "is_empty_object")]
    connect: &'a Value,
    datacenter: &'a str,
}

impl<'a> AgentView<'a> {
    pub(crate) fn new(service: &'a Service, datacenter: &'a str) -> Self {
        Self {
            kind: &service.kind,
            id: &service.id,
            service: &service.name,
            tags: &service.tags,
            meta: &service.meta,
            port: service.port,
            address: &service.address,
            tagged_addresses: &service.tagged_addresses,
            weights: service.weights,
            enable_tag_override: service.enable_tag_override,
            proxy: (!service.kind.is_empty()).then_some(&service.proxy),
            connect: &service.connect,
            datacenter,
        }
    }
}

/// The shape inside `/v1/health/service` and `/v1/catalog/node`.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct HealthView<'a> {
    #[serde(skip_serializing_if = "str::is_empty")]
    kind: &'a str,
    #[serde(rename = "ID")]
    id: &'a str,
    service: &'a str,
    tags: &'a [String],
    address: &'a str,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    tagged_addresses: &'a BTreeMap<String, ServiceAddress>,
    meta: Option<&'a Meta>,
    #[serde(skip_serializing_if = "is_zero")]
    port: i64,
    weights: Weights,
    enable_tag_override: bool,
    proxy: Proxy<'a>,
    connect: &'a Value,
    peer_name: &'static str,
    create_index: u64,
    modify_index: u64,
}

impl<'a> HealthView<'a> {
    pub(crate) fn new(service: &'a Service) -> Self {
        Self {
            kind: &service.kind,
            id: &service.id,
            service: &service.name,
            tags: &service.tags,
            address: &service.address,
            tagged_addresses: &service.tagged_addresses,
            meta: (!service.meta.is_empty()).then_some(&service.meta),
            port: service.port,
            weights: service.weights,
            enable_tag_override: service.enable_tag_override,
            proxy: Proxy(&service.proxy),
            connect: &service.connect,
            peer_name: "",
            create_index: service.create_index,
            modify_index: service.modify_index,
        }
    }
}

/// One element of `/v1/health/service`.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct HealthEntry<'a> {
    pub(crate) node: &'a Node,
    pub(crate) service: HealthView<'a>,
    pub(crate) checks: Vec<&'a Check>,
}

/// The flat shape of `/v1/catalog/service`, a service joined with its node.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct CatalogView<'a> {
    #[serde(rename = "ID")]
    id: &'a str,
    node: &'a str,
    address: &'a str,
    datacenter: &'a str,
    tagged_addresses: Option<&'a BTreeMap<String, String>>,
    node_meta: Option<&'a Meta>,
    service_kind: &'a str,
    #[serde(rename = "ServiceID")]
    service_id: &'a str,
    service_name: &'a str,
    service_tags: &'a [String],
    service_address: &'a str,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    service_tagged_addresses: &'a BTreeMap<String, ServiceAddress>,
    service_weights: Weights,
    service_meta: &'a Meta,
    service_port: i64,
    service_ports: Option<()>,
    service_socket_path: &'static str,
    service_enable_tag_override: bool,
    service_proxy: Proxy<'a>,
    service_connect: &'a Value,
    service_locality: Option<()>,
    create_index: u64,
    modify_index: u64,
}

impl<'a> CatalogView<'a> {
    pub(crate) fn new(node: &'a Node, service: &'a Service) -> Self {
        Self {
            id: &node.id,
            node: &node.name,
            address: &node.address,
            datacenter: &node.datacenter,
            tagged_addresses: node.tagged_addresses.as_ref(),
            node_meta: node.meta.as_ref(),
            service_kind: &service.kind,
            service_id: &service.id,
            service_name: &service.name,
            service_tags: &service.tags,
            service_address: &service.address,
            service_tagged_addresses: &service.tagged_addresses,
            service_weights: service.weights,
            service_meta: &service.meta,
            service_port: service.port,
            service_ports: None,
            service_socket_path: "",
            service_enable_tag_override: service.enable_tag_override,
            service_proxy: Proxy(&service.proxy),
            service_connect: &service.connect,
            service_locality: None,
            create_index: service.create_index,
            modify_index: service.modify_index,
        }
    }
}
