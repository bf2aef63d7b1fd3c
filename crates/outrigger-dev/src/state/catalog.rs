//! Nodes, services and checks, each change under the indexes that blocking queries wait for.
//!
//! *Source*: the rules of Consul's state store, as its HTTP documentation describes them and as they
//! are observable on 1.22.7: a service has its own index; checks of a node count for all of its
//! services; the index of an absent service is that of the last service that vanished.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::model::{Check, Node, Service, Status};

/// Node name and service or check id.
pub(crate) type Key = (String, String);

/// The catalogue of one datacenter.
#[derive(Debug, Default)]
pub(crate) struct Catalog {
    nodes: BTreeMap<String, Node>,
    services: BTreeMap<Key, Service>,
    by_name: BTreeMap<String, BTreeSet<Key>>,
    checks: BTreeMap<Key, Check>,
    /// Check ids by node and service id; the empty service id holds those of the node itself.
    checks_of: BTreeMap<Key, BTreeSet<String>>,
    nodes_index: u64,
    services_index: u64,
    checks_index: u64,
    node_indexes: HashMap<String, u64>,
    service_indexes: HashMap<String, u64>,
    service_extinction: Option<u64>,
    node_extinction: u64,
}

/// What a change of the catalogue means for sessions: those on these checks or nodes end.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Lost {
    pub(crate) checks: Vec<Key>,
    pub(crate) nodes: Vec<String>,
}

impl Catalog {
    pub(crate) fn nodes(&self) -> impl Iterator<Item = &Node> {
        self.nodes.values()
    }

    pub(crate) fn node(&self, name: &str) -> Option<&Node> {
        self.nodes.get(name)
    }

    /// A node by name, or by its id.
    pub(crate) fn node_or_id(&self, name: &str) -> Option<&Node> {
        self.nodes
            .get(name)
            .or_else(|| self.nodes.values().find(|node| !node.id.is_empty() && node.id == name))
    }

    pub(crate) fn services(&self) -> impl Iterator<Item = (&Node, &Service)> {
        self.services.iter().filter_map(|((node, _), s)| Some((self.nodes.get(node)?, s)))
    }

    pub(crate) fn service(&self, node: &str, id: &str) -> Option<&Service> {
        self.services.get(&(node.to_owned(), id.to_owned()))
    }

    /// The instances of a service, by node and id.
    pub(crate) fn instances(&self, name: &str) -> impl Iterator<Item = (&Node, &Service)> {
        self.by_name
            .get(name)
            .into_iter()
            .flatten()
            .filter_map(|key| Some((self.nodes.get(&key.0)?, self.services.get(key)?)))
    }

    pub(crate) fn services_of_node(&self, node: &str) -> impl Iterator<Item = &Service> {
        let from = (node.to_owned(), String::new());
        let node = node.to_owned();
        self.services.range(from..).take_while(move |((n, _), _)| *n == node).map(|(_, s)| s)
    }

    pub(crate) fn checks(&self) -> impl Iterator<Item = &Check> {
        self.checks.values()
    }

    pub(crate) fn check(&self, node: &str, id: &str) -> Option<&Check> {
        self.checks.get(&(node.to_owned(), id.to_owned()))
    }

    pub(crate) fn checks_of_node(&self, node: &str) -> impl Iterator<Item = &Check> {
        let from = (node.to_owned(), String::new());
        let node = node.to_owned();
        self.checks.range(from..).take_while(move |((n, _), _)| *n == node).map(|(_, c)| c)
    }

    /// The checks that count for an instance: first those of its node, then its own.
    pub(crate) fn checks_for(&self, node: &str, service_id: &str) -> Vec<&Check> {
        ["", service_id]
            .iter()
            .filter(|id| !(id.is_empty() && service_id.is_empty()))
            .filter_map(|id| self.checks_of.get(&(node.to_owned(), (*id).to_owned())))
            .flatten()
            .filter_map(|id| self.checks.get(&(node.to_owned(), id.clone())))
            .collect()
    }

    pub(crate) fn nodes_index(&self) -> u64 {
        self.nodes_index
    }

    pub(crate) fn services_index(&self) -> u64 {
        self.services_index
    }

    pub(crate) fn checks_index(&self) -> u64 {
        self.checks_index
    }

    /// The index of one node's view; without it, that of the last node that vanished.
    pub(crate) fn node_index(&self, name: &str) -> u64 {
        self.node_indexes.get(name).copied().unwrap_or(self.node_extinction)
    }

    /// The index of a service's view, with or without its checks.
    pub(crate) fn service_index(&self, name: &str, with_checks: bool) -> u64 {
        let exists = self.by_name.get(name).is_some_and(|keys| !keys.is_empty());
        if !exists && let Some(index) = self.service_extinction {
            return index;
        }
        if let Some(index) = self.service_indexes.get(name) {
            return *index;
        }
        let checks = if with_checks { self.checks_index } else { 0 };
        self.nodes_index.max(self.services_index).max(checks)
    }

    pub(crate) fn ensure_node(&mut self, index: u64, mut node: Node) {
        if let Some(old) = self.nodes.get(&node.name) {
            (node.create_index, node.modify_index) = (old.create_index, old.modify_index);
            if *old == node {
                return;
            }
        } else {
            node.create_index = index;
        }
        node.modify_index = index;
        let name = node.name.clone();
        self.nodes.insert(name.clone(), node);
        self.nodes_index = index;
        self.node_indexes.insert(name.clone(), index);
        self.touch_services_of(index, &name);
    }

    pub(crate) fn ensure_service(&mut self, index: u64, node: &str, mut service: Service) {
        let key = (node.to_owned(), service.id.clone());
        if let Some(old) = self.services.get(&key) {
            if old.is_same(&service) {
                return;
            }
            service.create_index = old.create_index;
            if old.name != service.name {
                let name = old.name.clone();
                self.forget_name(index, &name, &key);
            }
        } else {
            service.create_index = index;
        }
        service.modify_index = index;
        self.by_name.entry(service.name.clone()).or_default().insert(key.clone());
        self.service_indexes.insert(service.name.clone(), index);
        self.services.insert(key, service);
        self.services_index = index;
        self.touch_node(index, node);
    }

    /// The check's node must exist, and its service if it names one.
    pub(crate) fn ensure_check(&mut self, index: u64, mut check: Check) -> Lost {
        let key = (check.node.clone(), check.id.clone());
        if !check.service_id.is_empty()
            && let Some(service) =
                self.services.get(&(check.node.clone(), check.service_id.clone()))
        {
            check.service_name.clone_from(&service.name);
            check.service_tags.clone_from(&service.tags);
        }
        let mut lost = Lost::default();
        if check.status == Status::Critical {
            lost.checks.push(key.clone());
        }
        match self.checks.get(&key) {
            Some(old) if old.is_same(&check) => return lost,
            Some(old) => {
                check.create_index = old.create_index;
                let of = (old.node.clone(), old.service_id.clone());
                if let Some(ids) = self.checks_of.get_mut(&of) {
                    ids.remove(&check.id);
                }
            }
            None => check.create_index = index,
        }
        check.modify_index = index;
        self.touch_for_check(index, &check);
        self.checks_of
            .entry((check.node.clone(), check.service_id.clone()))
            .or_default()
            .insert(check.id.clone());
        self.checks.insert(key, check);
        self.checks_index = index;
        lost
    }

    pub(crate) fn delete_check(&mut self, index: u64, node: &str, id: &str) -> Lost {
        let key = (node.to_owned(), id.to_owned());
        let Some(check) = self.checks.remove(&key) else { return Lost::default() };
        let of = (check.node.clone(), check.service_id.clone());
        if let Some(ids) = self.checks_of.get_mut(&of) {
            ids.remove(id);
            if ids.is_empty() {
                self.checks_of.remove(&of);
            }
        }
        self.touch_for_check(index, &check);
        if check.service_id.is_empty() {
            self.services_index = index;
        }
        self.checks_index = index;
        Lost { checks: vec![key], nodes: Vec::new() }
    }

    pub(crate) fn delete_service(&mut self, index: u64, node: &str, id: &str) -> Lost {
        let key = (node.to_owned(), id.to_owned());
        let Some(name) = self.services.get(&key).map(|s| s.name.clone()) else {
            return Lost::default();
        };
        let mut lost = Lost::default();
        for check in self.checks_of.get(&key).cloned().unwrap_or_default() {
            lost.checks.extend(self.delete_check(index, node, &check).checks);
        }
        self.checks_index = index;
        self.services.remove(&key);
        self.services_index = index;
        self.touch_node(index, node);
        self.forget_name(index, &name, &key);
        lost
    }

    pub(crate) fn delete_node(&mut self, index: u64, node: &str) -> Lost {
        if !self.nodes.contains_key(node) {
            return Lost::default();
        }
        let mut lost = Lost { checks: Vec::new(), nodes: vec![node.to_owned()] };
        let services: Vec<_> = self.services_of_node(node).map(|s| s.id.clone()).collect();
        for id in services {
            lost.checks.extend(self.delete_service(index, node, &id).checks);
        }
        let checks: Vec<_> = self.checks_of_node(node).map(|c| c.id.clone()).collect();
        for id in checks {
            lost.checks.extend(self.delete_check(index, node, &id).checks);
        }
        self.nodes.remove(node);
        self.nodes_index = index;
        self.node_indexes.remove(node);
        self.node_extinction = index;
        lost
    }

    fn touch_for_check(&mut self, index: u64, check: &Check) {
        if check.service_id.is_empty() {
            self.touch_services_of(index, &check.node.clone());
        } else {
            self.service_indexes.insert(check.service_name.clone(), index);
        }
    }

    fn touch_services_of(&mut self, index: u64, node: &str) {
        let names: BTreeSet<_> = self.services_of_node(node).map(|s| s.name.clone()).collect();
        self.service_indexes.extend(names.into_iter().map(|name| (name, index)));
    }

    fn touch_node(&mut self, index: u64, node: &str) {
        self.nodes_index = index;
        self.node_indexes.insert(node.to_owned(), index);
    }

    fn forget_name(&mut self, index: u64, name: &str, key: &Key) {
        let Some(keys) = self.by_name.get_mut(name) else { return };
        keys.remove(key);
        if keys.is_empty() {
            self.by_name.remove(name);
            self.service_indexes.remove(name);
            self.service_extinction = Some(index);
        } else {
            self.service_indexes.insert(name.to_owned(), index);
        }
    }
}
