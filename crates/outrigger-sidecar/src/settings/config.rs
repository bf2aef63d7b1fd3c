//! From settings to what a sidecar is told.

use std::net::{Ipv4Addr, SocketAddr};

use super::{Origin, Setting, Settings};
use crate::{Config, Listen, Place, TlsFiles, Trust};

fn listen<A: Clone>(setting: &Setting<A>) -> Listen<A> {
    Listen { address: setting.value.clone(), is_default: !setting.origin.is_named() }
}

impl Settings {
    /// What a sidecar is told. `port` is where the application listens, when that was found out
    /// since; else it is as set.
    #[must_use]
    pub fn config(&self, port: Option<u16>) -> Config {
        let port = port.or(self.port.value);
        let local = |port| Place::Tcp(SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
        let mut config = Config { service: self.service.value.clone(), ..Config::default() };
        config.application = match &self.socket.value {
            Some(path) => Some(Place::Unix(path.clone())),
            None => port.map(local),
        };
        config.protocol = self.protocol.value;
        config.workers = self.workers.value;
        config.language = self.language.value.clone();
        config.version = self.version.value.clone();
        config.zone = self.zone.value.clone();
        config.tags = self.tag.value.clone();
        config.health = self.health.value.clone();
        config.register = self.register.value;
        config.drain = self.drain.value;
        config.inbound = Some(listen(&self.inbound));
        config.tls = match (&self.tls_cert.value, &self.tls_key.value) {
            (Some(cert), Some(key)) => Some(TlsFiles { cert: cert.clone(), key: key.clone() }),
            _ => None,
        };
        config.advertise = self.advertise.value.map(|(address, port)| match port {
            Some(port) => SocketAddr::new(address, port).to_string(),
            None => address.to_string(),
        });
        config.outbound = listen(&self.outbound);
        config.admin = listen(&self.admin);
        config.probe = self.probe.value.map(Listen::at);
        config.consul = self.registry();
        config.snapshot = self.snapshot.value.clone();
        config.policies = self.policy.value.clone();
        config.endpoints = self.endpoints.value.iter().cloned().collect();
        config.upstreams = self.upstream.value.clone();
        config.unknown = self.unknown.value;
        config.connect = self.connect.value.clone();
        config.websocket = !self.upgrade.value.is_empty();
        config.trust = self.trusted();
        config
    }

    /// The registry's address; `None` for what `CONSUL_HTTP_ADDR` and its relatives say.
    pub(crate) fn registry(&self) -> Option<String> {
        let is_officials = |name: &str| name.starts_with("CONSUL_");
        match (&self.consul.origin, &self.consul.value) {
            (Origin::Variable(name), Some(_)) if is_officials(name) => None,
            (Origin::Default(_), _) => None,
            (_, Some(address)) => Some(address.to_string()),
            (_, None) => Some("none".to_owned()),
        }
    }

    fn trusted(&self) -> Trust {
        let mut trust = Trust::nobody();
        trust.edge = self.edge.value;
        for word in self.trust.value.iter().filter(|_| !self.edge.value) {
            // Each was read before.
            let _known = trust.add(word);
        }
        trust
    }
}
